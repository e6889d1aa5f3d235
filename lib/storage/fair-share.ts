/**
 * Places that several take from, so that nobody can have all of them: whoever has some gets one more while it has fewer than
 * three times as many as are left. One alone gets three quarters; two that want everything get three sevenths each, and so
 * on: there is always something left for the next. O(1).
 */
export class FairShare {
  readonly capacity: number;
  #taken = 0;
  readonly #of = new Map<number, number>();

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** False: this one has its share, or all are taken. */
  take(owner: number): boolean {
    const has = this.#of.get(owner) ?? 0;
    const left = this.capacity - this.#taken;
    if (left < 1 || has >= GREED * left) return false;
    this.#of.set(owner, has + 1);
    this.#taken++;
    return true;
  }

  give(owner: number): void {
    const has = this.#of.get(owner)! - 1;
    if (has === 0) this.#of.delete(owner);
    else this.#of.set(owner, has);
    this.#taken--;
  }
}

const GREED = 3;
