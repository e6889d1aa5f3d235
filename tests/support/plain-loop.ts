/** The loop of the plain host (`plain-host.ts`): the runtime's own. */
import { monotonicMs } from "../../lib/host/clock.ts";
import type { EngineLoop } from "../../lib/daemon/network/engine-host.ts";

/** What happens is put off until the engine's next turn, as a poller would do. */
export class PlainLoop implements EngineLoop {
  onWake: (now: number) => void = () => {};
  /** a turn of the engine that does not wait */
  turn: () => void = () => {};
  #events: (() => void)[] = [];
  #isScheduled = false;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** how long the latest turn would have waited, ms; -1: for ever */
  #wanted = 0;

  tell(event: () => void): void {
    this.#events.push(event);
    this.wake();
  }

  wake(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#isClosed) return;
      const hadEvents = this.#events.length > 0;
      this.turn();
      clearTimeout(this.#timer);
      // what a turn has done shows only in the next one's wait
      if (hadEvents || this.#wanted === 0) this.wake();
      else if (this.#wanted > 0) this.#timer = setTimeout(() => this.wake(), this.#wanted);
    });
  }

  wait(timeoutMs: number): number {
    this.#wanted = timeoutMs;
    this.onWake(monotonicMs());
    const events = this.#events;
    this.#events = [];
    for (const event of events) event();
    return events.length;
  }

  giveWay(): void {}

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }
}
