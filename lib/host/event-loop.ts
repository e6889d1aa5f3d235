/** One epoll descriptor and who is to be told about each of its descriptors. */
import { EINTR, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLET, errnoName, libc, orErrno } from "./libc.ts";
import { addressOf } from "./pinned.ts";

export interface EventHandler {
  /** `events` is the EPOLL* mask */
  onEvents(events: number): void;
}

const BATCH = 256;
// struct epoll_event is packed on x86-64 only
const EVENT_SIZE = process.arch === "x64" ? 12 : 16;
const DATA_AT = process.arch === "x64" ? 4 : 8;

export class EventLoop {
  readonly #epoll: number;
  readonly #handlers: (EventHandler | undefined)[] = [];
  readonly #events = new DataView(new ArrayBuffer(BATCH * EVENT_SIZE));
  readonly #eventsAt = addressOf(this.#events);
  readonly #control = new DataView(new ArrayBuffer(EVENT_SIZE));
  readonly #controlAt = addressOf(this.#control);

  constructor() {
    this.#epoll = orErrno(libc.epoll_create1(0x80000));
    if (this.#epoll < 0)
      throw new Error(`Cannot create an epoll descriptor: ${errnoName(this.#epoll)}`);
  }

  /** Registers a descriptor once, for level- or (EPOLLET) edge-triggered events. */
  add(fd: number, events: number, handler: EventHandler): void {
    this.#handlers[fd] = handler;
    this.#control.setUint32(0, events >>> 0, true);
    this.#control.setInt32(DATA_AT, fd, true);
    const result = orErrno(libc.epoll_ctl(this.#epoll, EPOLL_CTL_ADD, fd, this.#controlAt));
    if (result < 0) throw new Error(`Cannot watch descriptor ${fd}: ${errnoName(result)}`);
  }

  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    if (this.#handlers[fd] === undefined) return;
    this.#handlers[fd] = undefined;
    libc.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, this.#controlAt);
  }

  /** Waits up to `timeoutMs` (-1: for ever) and tells the handlers; how many were told. */
  wait(timeoutMs: number): number {
    const count = orErrno(libc.epoll_wait(this.#epoll, this.#eventsAt, BATCH, timeoutMs));
    if (count < 0) {
      if (count === -EINTR) return 0;
      throw new Error(`Cannot wait for events: ${errnoName(count)}`);
    }
    for (let i = 0; i < count; i++) {
      const fd = this.#events.getInt32(i * EVENT_SIZE + DATA_AT, true);
      // a handler of this batch may have closed the descriptor of a later event
      this.#handlers[fd]?.onEvents(this.#events.getUint32(i * EVENT_SIZE, true));
    }
    return count;
  }

  close(): void {
    libc.close(this.#epoll);
  }
}

export const EDGE_TRIGGERED = EPOLLET;
