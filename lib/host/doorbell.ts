/** An eventfd by which one thread wakes another that sleeps in an EventLoop. */
import { EPOLLIN, errnoName, libc, orErrno, SOCK_CLOEXEC, SOCK_NONBLOCK } from "./libc.ts";
import type { EventLoop } from "./event-loop.ts";
import { pinned } from "./pinned.ts";

const ONE_AT = pinned(new BigUint64Array([1n]));
const COUNT_AT = pinned(new BigUint64Array(1));

export class Doorbell {
  readonly fd: number;

  /** fd: of the other thread's doorbell; undefined: a new one */
  constructor(fd?: number) {
    this.fd = fd ?? orErrno(libc.eventfd(0, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (this.fd < 0) throw new Error(`Cannot create an eventfd: ${errnoName(this.fd)}`);
  }

  ring(): void {
    libc.write(this.fd, ONE_AT, 8);
  }

  /** A ring ends the loop's wait; there is nothing more to it. */
  watch(loop: EventLoop): void {
    loop.add(this.fd, EPOLLIN, { onEvents: () => void libc.read(this.fd, COUNT_AT, 8) });
  }

  close(): void {
    libc.close(this.fd);
  }
}
