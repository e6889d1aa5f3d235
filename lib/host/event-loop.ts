/** Who is to be told about which descriptor of a poller. */
import { monotonicMs } from "./clock.ts";
import { EINTR, errnoName, libc } from "./libc.ts";
import { systemPoller } from "./system-poller.ts";

export interface EventHandler {
  /** `events` is a mask of READABLE and its kind (`poller.ts`) */
  onEvents(events: number): void;
}

export class EventLoop {
  /** called before each wait, and before the loop closes: for work that is to come after a turn's answers */
  beforeWait: () => void = () => {};
  /** called when a wait is over, before the handlers are: the time is another one by then, which it is told */
  onWake: (now: number) => void = () => {};
  /** when the last wait was over, by the monotonic clock in milliseconds */
  wokenAt = monotonicMs();
  readonly #poller = systemPoller();
  readonly #handlers: (EventHandler | undefined)[] = [];
  /** A number is used again once its descriptor is closed: the tag tells events of before from those of now. */
  readonly #tags: number[] = [];
  /** descriptors that are not listened to for a while */
  #resting: { fd: number; events: number; handler: EventHandler; until: number }[] = [];

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

  /**
   * Does not listen to a descriptor of level-triggered events for some time: what is the matter with it cannot be helped
   * now, and would be told again at once.
   */
  rest(fd: number, events: number, ms: number): void {
    const handler = this.#handlers[fd];
    if (handler === undefined) return;
    this.remove(fd);
    this.#handlers[fd] = handler;
    this.#resting.push({ fd, events, handler, until: monotonicMs() + ms });
  }

  #wakeRested(): void {
    const now = monotonicMs();
    const rested = this.#resting.filter(({ until }) => until <= now);
    this.#resting = this.#resting.filter(({ until }) => until > now);
    for (const { fd, events, handler } of rested) this.add(fd, events, handler);
  }

  #untilRested(): number {
    const now = monotonicMs();
    const until = Math.min(...this.#resting.map((resting) => resting.until));
    return Math.max(0, Math.ceil(until - now));
  }

  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    if (this.#handlers[fd] === undefined) return;
    this.#handlers[fd] = undefined;
    if (this.#resting.length > 0)
      this.#resting = this.#resting.filter((resting) => resting.fd !== fd);
    this.#poller.remove(fd);
  }

  /** The same for a descriptor that is closed at once and has no double anywhere: the system forgets it by itself. */
  forget(fd: number): void {
    this.#handlers[fd] = undefined;
  }

  /** Lets others run first that wait for a processor; returns at once where there are none. */
  giveWay(): void {
    libc.sched_yield();
  }

  /** Waits up to `timeoutMs` (-1: for ever) and tells the handlers; how many events there were. */
  wait(timeoutMs: number): number {
    this.beforeWait();
    const poller = this.#poller;
    let limit = timeoutMs;
    if (this.#resting.length > 0) {
      const rest = this.#untilRested();
      limit = timeoutMs < 0 ? rest : Math.min(timeoutMs, rest);
    }
    const count = poller.wait(limit);
    if (this.#resting.length > 0) this.#wakeRested();
    this.wokenAt = monotonicMs();
    this.onWake(this.wokenAt);
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
    this.beforeWait();
    this.#poller.close();
  }
}
