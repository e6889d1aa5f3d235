/** Readiness by Linux' epoll(7). */
import { abi, errnoName, libc, openLibrary, orErrno } from "./libc.ts";
import { addressOf } from "./pinned.ts";
import { BATCH, type Poller } from "./poller.ts";

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0x80000;
// struct epoll_event is packed on x86-64 only; the descriptor and the tag are its 64 bits of data
const EVENT_SIZE = process.arch === "x64" ? 12 : 16;
const DATA_AT = process.arch === "x64" ? 4 : 8;

const openCalls = () =>
  openLibrary(abi.libraries, {
    epoll_create1: { args: ["i32"], returns: "i32" },
    epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
    epoll_wait: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
  });

export class EpollPoller implements Poller {
  readonly #calls = openCalls();
  readonly #epoll: number;
  readonly #events = new DataView(new ArrayBuffer(BATCH * EVENT_SIZE));
  readonly #eventsAt = addressOf(this.#events);
  readonly #control = new DataView(new ArrayBuffer(EVENT_SIZE));
  readonly #controlAt = addressOf(this.#control);

  constructor() {
    this.#epoll = orErrno(this.#calls.epoll_create1(EPOLL_CLOEXEC));
    if (this.#epoll < 0)
      throw new Error(`Cannot create an epoll descriptor: ${errnoName(this.#epoll)}`);
  }

  add(fd: number, events: number, tag: number): number {
    return this.#set(EPOLL_CTL_ADD, fd, events, tag);
  }

  change(fd: number, events: number, tag: number): number {
    return this.#set(EPOLL_CTL_MOD, fd, events, tag);
  }

  #set(operation: number, fd: number, events: number, tag: number): number {
    this.#control.setUint32(0, events >>> 0, true);
    this.#control.setInt32(DATA_AT, fd, true);
    this.#control.setInt32(DATA_AT + 4, tag, true);
    return orErrno(this.#calls.epoll_ctl(this.#epoll, operation, fd, this.#controlAt));
  }

  remove(fd: number): void {
    this.#calls.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, this.#controlAt);
  }

  wait(timeoutMs: number): number {
    return orErrno(this.#calls.epoll_wait(this.#epoll, this.#eventsAt, BATCH, timeoutMs));
  }

  fdOf(i: number): number {
    return this.#events.getInt32(i * EVENT_SIZE + DATA_AT, true);
  }

  tagOf(i: number): number {
    return this.#events.getInt32(i * EVENT_SIZE + DATA_AT + 4, true);
  }

  eventsOf(i: number): number {
    return this.#events.getUint32(i * EVENT_SIZE, true);
  }

  close(): void {
    libc.close(this.#epoll);
  }
}
