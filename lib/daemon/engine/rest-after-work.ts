/**
 * When an engine that had much to do has little: told from how long its turns take in a stretch of time. The thread never
 * comes back to its runtime, whose own collector of garbage waits for that, so what a load has left is given back then. To
 * collect garbage needs much of the program that is not needed afterwards, some of it for seconds, in other threads; so there
 * is a second rest for that.
 */

/** milliseconds of a stretch */
export const REST_AFTER_MS = 5000;
/** milliseconds of work in a stretch; a guest that only keeps its clock, its leases and its connections makes for less than one */
const LITTLE_MS = 4;
/** stretches with little to do, from the first rest to the second */
const UNTIL_SECOND = 3;

export type Rest = "first" | "second";

export class RestAfterWork {
  #since: number;
  #workMs = 0;
  /** stretches with little to do until the second rest; 0: none is due */
  #left = 0;

  constructor(now: number) {
    this.#since = now;
  }

  /** there was work, and not all rest after it */
  get isDue(): boolean {
    return this.#left > 0;
  }

  /** Counts a turn that has ended now and took so long without its wait; which rest it is time for. */
  turned(now: number, workMs: number): Rest | undefined {
    this.#workMs += workMs;
    const isLittle = this.#workMs <= LITTLE_MS;
    if (!isLittle) this.#left = 1 + UNTIL_SECOND;
    if (now - this.#since < REST_AFTER_MS) return undefined;
    this.#since = now;
    this.#workMs = 0;
    if (!isLittle || this.#left === 0) return undefined;
    this.#left--;
    if (this.#left === 0) return "second";
    return this.#left === UNTIL_SECOND ? "first" : undefined;
  }
}
