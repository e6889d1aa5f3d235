/** Who is to be told about which descriptor of a poller. */
import { EINTR, errnoName } from "./libc.ts";
import { systemPoller } from "./system-poller.ts";

export interface EventHandler {
  /** `events` is a mask of READABLE and its kind (`poller.ts`) */
  onEvents(events: number): void;
}

export class EventLoop {
  /** called when a wait is over, before the handlers are: the time is another one by then */
  onWake: () => void = () => {};
  readonly #poller = systemPoller();
  readonly #handlers: (EventHandler | undefined)[] = [];
  /** A number is used again once its descriptor is closed: the tag tells events of before from those of now. */
  readonly #tags: number[] = [];

  /** Registers a descriptor once, for level- or (EDGE_TRIGGERED) edge-triggered events. */
  add(fd: number, events: number, handler: EventHandler): void {
    this.#handlers[fd] = handler;
    const tag = ((this.#tags[fd] ?? 0) + 1) | 0;
    this.#tags[fd] = tag;
    const result = this.#poller.add(fd, events, tag);
    if (result < 0) throw new Error(`Cannot watch descriptor ${fd}: ${errnoName(result)}`);
  }

  /** From now on its handler is told of these events, and of those that are there already. */
  change(fd: number, events: number): void {
    const result = this.#poller.change(fd, events, this.#tags[fd]!);
    if (result < 0) throw new Error(`Cannot watch descriptor ${fd}: ${errnoName(result)}`);
  }

  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    if (this.#handlers[fd] === undefined) return;
    this.#handlers[fd] = undefined;
    this.#poller.remove(fd);
  }

  /** Waits up to `timeoutMs` (-1: for ever) and tells the handlers; how many events there were. */
  wait(timeoutMs: number): number {
    const poller = this.#poller;
    const count = poller.wait(timeoutMs);
    this.onWake();
    if (count < 0) {
      if (count === -EINTR) return 0;
      throw new Error(`Cannot wait for events: ${errnoName(count)}`);
    }
    for (let i = 0; i < count; i++) {
      const fd = poller.fdOf(i);
      // a handler of this batch may have closed the descriptor of a later event, and another have taken its number
      if (this.#tags[fd] === poller.tagOf(i)) this.#handlers[fd]?.onEvents(poller.eventsOf(i));
    }
    return count;
  }

  close(): void {
    this.#poller.close();
  }
}
