/** A pipe by which one thread wakes another that sleeps in an EventLoop. */
import { openPipe } from "./descriptors.ts";
import { errnoName, libc } from "./libc.ts";
import type { EventLoop } from "./event-loop.ts";
import { pinned } from "./pinned.ts";
import { READABLE } from "./poller.ts";

const RING_AT = pinned(new Uint8Array(1));
const RINGS = 4096;
const RINGS_AT = pinned(new Uint8Array(RINGS));

export class Doorbell {
  /** what the sleeping thread watches */
  readonly fd: number;
  readonly #button: number;

  constructor() {
    const pipe = openPipe();
    if (typeof pipe === "number") throw new Error(`Cannot create a pipe: ${errnoName(pipe)}`);
    this.fd = pipe.from;
    this.#button = pipe.to;
  }

  /** A pipe that is full rings already. */
  ring(): void {
    libc.write(this.#button, RING_AT, 1);
  }

  close(): void {
    libc.close(this.#button);
    libc.close(this.fd);
  }
}

/** In the thread that sleeps: a ring of the doorbell with this descriptor ends the loop's wait, and does nothing more. */
export function watchDoorbell(fd: number, loop: EventLoop): void {
  loop.add(fd, READABLE, { onEvents: () => void libc.read(fd, RINGS_AT, RINGS) });
}
