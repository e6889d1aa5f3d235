/**
 * Readiness by Darwin's kqueue(2). Numbers and struct kevent are those of xnu's bsd/sys/event.h. Reading and writing are
 * filters of their own: a descriptor may have an event of each in one wait.
 */
import { errnoName, libc, openLibrary, orErrno } from "./libc.ts";
import { addressOf } from "./pinned.ts";
import {
  BATCH,
  EDGE_TRIGGERED,
  FAILED,
  HUNG_UP,
  PEER_DONE,
  READABLE,
  WRITABLE,
  type Poller,
} from "./poller.ts";

const EVFILT_READ = -1;
const EVFILT_WRITE = -2;
const EV_ADD = 0x1;
const EV_DELETE = 0x2;
const EV_CLEAR = 0x20;
const EV_ERROR = 0x4000;
const EV_EOF = 0x8000;

// struct kevent: ident 0, filter 8, flags 10, fflags 12, data 16, udata 24
export const KEVENT_SIZE = 32;
const MS = 1_000_000;

const openCalls = (libraries: readonly string[]) =>
  openLibrary(libraries, {
    kqueue: { args: [], returns: "i32" },
    kevent: { args: ["i32", "ptr", "i32", "ptr", "i32", "ptr"], returns: "i32" },
  });

/** Writes a change; `tag` goes along as udata. */
export function putChange(
  view: DataView,
  at: number,
  fd: number,
  filter: number,
  flags: number,
  tag: number,
): void {
  view.setUint32(at, fd, true);
  view.setUint32(at + 4, 0, true);
  view.setInt16(at + 8, filter, true);
  view.setUint16(at + 10, flags, true);
  view.setUint32(at + 12, 0, true);
  view.setBigUint64(at + 16, 0n, true);
  view.setInt32(at + 24, tag, true);
  view.setInt32(at + 28, 0, true);
}

/**
 * Our mask for an event. EV_EOF of the reading filter is an end of what the peer writes, of the writing filter that
 * nothing can be written any more; fflags then is the socket's error.
 */
export function readiness(view: DataView, at: number): number {
  const flags = view.getUint16(at + 10, true);
  const isRead = view.getInt16(at + 8, true) === EVFILT_READ;
  let events = isRead ? READABLE : WRITABLE;
  if (flags & EV_EOF) {
    events |= isRead ? PEER_DONE : HUNG_UP;
    if (view.getUint32(at + 12, true) !== 0) events |= FAILED;
  }
  return flags & EV_ERROR ? events | FAILED : events;
}

export class KqueuePoller implements Poller {
  readonly #calls: ReturnType<typeof openCalls>;
  readonly #queue: number;
  /** filters of a descriptor that are in the queue */
  readonly #filters: number[][] = [];
  readonly #events = new DataView(new ArrayBuffer(BATCH * KEVENT_SIZE));
  readonly #eventsAt = addressOf(this.#events);
  readonly #changes = new DataView(new ArrayBuffer(2 * KEVENT_SIZE));
  readonly #changesAt = addressOf(this.#changes);
  /** struct timespec: seconds, nanoseconds, of which the low halves are all that is written: a BigInt would be garbage */
  readonly #timeout = new Uint32Array(4);
  readonly #timeoutAt = addressOf(this.#timeout);

  constructor(libraries: readonly string[]) {
    this.#calls = openCalls(libraries);
    this.#queue = orErrno(this.#calls.kqueue());
    if (this.#queue < 0) throw new Error(`Cannot create a kqueue: ${errnoName(this.#queue)}`);
  }

  add(fd: number, events: number, tag: number): number {
    const filters: number[] = [];
    if (events & READABLE) filters.push(EVFILT_READ);
    if (events & WRITABLE) filters.push(EVFILT_WRITE);
    this.#filters[fd] = filters;
    return this.#change(fd, filters, events & EDGE_TRIGGERED ? EV_ADD | EV_CLEAR : EV_ADD, tag);
  }

  change(fd: number, events: number, tag: number): number {
    const had = this.#filters[fd] ?? [];
    const result = this.add(fd, events, tag);
    const dropped = had.filter((filter) => !this.#filters[fd]!.includes(filter));
    if (dropped.length > 0) this.#change(fd, dropped, EV_DELETE, 0);
    return result;
  }

  remove(fd: number): void {
    this.#change(fd, this.#filters[fd] ?? [], EV_DELETE, 0);
    this.#filters[fd] = [];
  }

  #change(fd: number, filters: readonly number[], flags: number, tag: number): number {
    filters.forEach((filter, i) =>
      putChange(this.#changes, i * KEVENT_SIZE, fd, filter, flags, tag),
    );
    return orErrno(this.#calls.kevent(this.#queue, this.#changesAt, filters.length, null, 0, null));
  }

  wait(timeoutMs: number): number {
    const whole = Math.floor(timeoutMs / 1000);
    this.#timeout[0] = whole;
    this.#timeout[2] = (timeoutMs - whole * 1000) * MS;
    const limit = timeoutMs < 0 ? null : this.#timeoutAt;
    return orErrno(this.#calls.kevent(this.#queue, null, 0, this.#eventsAt, BATCH, limit));
  }

  fdOf(i: number): number {
    return this.#events.getUint32(i * KEVENT_SIZE, true);
  }

  tagOf(i: number): number {
    return this.#events.getInt32(i * KEVENT_SIZE + 24, true);
  }

  eventsOf(i: number): number {
    return readiness(this.#events, i * KEVENT_SIZE);
  }

  close(): void {
    libc.close(this.#queue);
  }
}
