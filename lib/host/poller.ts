/** How the event loop learns from the system which descriptors are ready: `epoll.ts` and `kqueue.ts`. */

/** Masks of readiness; the numbers are epoll's (epoll_ctl(2)), so that the busiest system needs no translation. */
export const READABLE = 0x1;
export const WRITABLE = 0x4;
export const FAILED = 0x8;
export const HUNG_UP = 0x10;
/** the peer writes no more */
export const PEER_DONE = 0x2000;
/** Asked for together with others: told once whenever there is more, not as long as there is any. */
export const EDGE_TRIGGERED = 0x80000000;

export interface Poller {
  /** 0, or a negative errno; what comes is told with `tag` (32 bits) */
  add(fd: number, events: number, tag: number): number;
  /** As `add`, for one that is there; what is ready already is told again. */
  change(fd: number, events: number, tag: number): number;
  remove(fd: number): void;
  /** Waits up to `timeoutMs` (-1: for ever): how many events there are, or a negative errno. */
  wait(timeoutMs: number): number;
  /** of the i-th event; a descriptor may have several of one wait */
  fdOf(i: number): number;
  tagOf(i: number): number;
  eventsOf(i: number): number;
  close(): void;
}

/** events taken in one wait */
export const BATCH = 256;
