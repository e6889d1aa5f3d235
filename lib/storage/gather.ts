/**
 * An ordered list of (offset, length) pieces of packet memory, for one vectored write. Pieces that touch are merged.
 * Bounded: `add` answers false when the list is full.
 */
export class Gather {
  readonly starts: Int32Array;
  readonly lengths: Int32Array;
  /** pieces in the list */
  count = 0;
  /** octets in all pieces */
  octets = 0;

  constructor(capacity: number) {
    this.starts = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
  }

  add(start: number, length: number): boolean {
    if (length === 0) return true;
    const last = this.count - 1;
    const lastEnd = last < 0 ? -1 : this.starts[last]! + this.lengths[last]!;
    if (lastEnd === start) {
      this.lengths[last]! += length;
    } else {
      if (this.count === this.starts.length) return false;
      this.starts[this.count] = start;
      this.lengths[this.count++] = length;
    }
    this.octets += length;
    return true;
  }

  /** free pieces */
  get room(): number {
    return this.starts.length - this.count;
  }

  clear(): void {
    this.count = 0;
    this.octets = 0;
  }
}
