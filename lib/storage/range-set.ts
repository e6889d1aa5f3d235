const NONE = new Int32Array(0);

/**
 * A bounded set of ranges of 32-bit sequence numbers, kept in order and merged (wrap-safe: all ranges lie within
 * 2^31 of each other). Used for data received out of order and for the blocks a peer has acknowledged selectively.
 */
export class RangeSet {
  starts = NONE;
  ends = NONE;
  count = 0;
  readonly #capacity: number;

  /** Takes memory when it gets its first range: most sets never get one. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  clear(): void {
    this.count = 0;
  }

  /** Adds [start, end). False when it would need more ranges than the capacity; the set is unchanged then. */
  add(start: number, end: number): boolean {
    let s = start | 0;
    let e = end | 0;
    let first = 0;
    while (first < this.count && ((this.ends[first]! - s) | 0) < 0) first++;
    let after = first;
    while (after < this.count && ((this.starts[after]! - e) | 0) <= 0) {
      if (((this.starts[after]! - s) | 0) < 0) s = this.starts[after]!;
      if (((this.ends[after]! - e) | 0) > 0) e = this.ends[after]!;
      after++;
    }
    if (after === first && this.count === this.#capacity) return false;
    if (this.starts === NONE) {
      this.starts = new Int32Array(this.#capacity);
      this.ends = new Int32Array(this.#capacity);
    }
    if (after !== first + 1) {
      this.starts.copyWithin(first + 1, after, this.count);
      this.ends.copyWithin(first + 1, after, this.count);
      this.count += 1 - (after - first);
    }
    this.starts[first] = s;
    this.ends[first] = e;
    return true;
  }

  /** Removes everything before `seq`. */
  trim(seq: number): void {
    let drop = 0;
    while (drop < this.count && ((this.ends[drop]! - seq) | 0) <= 0) drop++;
    if (drop > 0) {
      this.starts.copyWithin(0, drop, this.count);
      this.ends.copyWithin(0, drop, this.count);
      this.count -= drop;
    }
    if (this.count > 0 && ((this.starts[0]! - seq) | 0) < 0) this.starts[0] = seq;
  }

  /** place of the range that holds `seq`, or -1 */
  indexOf(seq: number): number {
    for (let i = 0; i < this.count; i++) {
      if (((this.starts[i]! - seq) | 0) > 0) break;
      if (((this.ends[i]! - seq) | 0) > 0) return i;
    }
    return -1;
  }

  /** end of the range that holds `seq`, or `seq` itself when none does */
  endOf(seq: number): number {
    const index = this.indexOf(seq);
    return index < 0 ? seq | 0 : this.ends[index]!;
  }

  /** start of the first range after `seq`, or `fallback` */
  nextStart(seq: number, fallback: number): number {
    for (let i = 0; i < this.count; i++) {
      if (((this.starts[i]! - seq) | 0) > 0) return this.starts[i]!;
    }
    return fallback | 0;
  }

  /** octets in all ranges */
  get octets(): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) sum += (this.ends[i]! - this.starts[i]!) | 0;
    return sum;
  }
}
