/**
 * When an engine that had much to do has little: told from how many turns it makes in a stretch of time. The thread never
 * comes back to its runtime, whose own collector of garbage waits for that, so what a load has left is given back then.
 */

/** milliseconds of a stretch */
export const REST_AFTER_MS = 5000;
/** a guest that only keeps its clock, its leases and its connections makes fewer turns in a stretch */
const LITTLE = 250;

export class RestAfterWork {
  #since: number;
  #turns = 0;
  /** there was work, and no rest after it */
  isDue = false;

  constructor(now: number) {
    this.#since = now;
  }

  /** Counts a turn that has ended now; true when it is time to rest. */
  turned(now: number): boolean {
    const isLittle = ++this.#turns <= LITTLE;
    if (!isLittle) this.isDue = true;
    if (now - this.#since < REST_AFTER_MS) return false;
    this.#since = now;
    this.#turns = 0;
    if (!isLittle || !this.isDue) return false;
    this.isDue = false;
    return true;
  }
}
