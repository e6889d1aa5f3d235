/**
 * Room for headers and datagrams that live until the ports are flushed: taken piece by piece from one region, given
 * back all at once.
 */
export class Scratch {
  readonly octets: Uint8Array;
  readonly #start: number;
  readonly #size: number;
  readonly #flush: () => void;
  #next: number;

  /** `flush` must write out everything that refers to the region; it is called when the region is full */
  constructor(octets: Uint8Array, start: number, size: number, flush: () => void) {
    this.octets = octets;
    this.#start = start;
    this.#size = size;
    this.#flush = flush;
    this.#next = start;
  }

  /** Offset of `size` octets, aligned to 8; size is far below the region's. */
  take(size: number): number {
    const rounded = (size + 7) & ~7;
    if (this.#next + rounded > this.#start + this.#size) {
      this.#flush();
      this.#next = this.#start;
    }
    const at = this.#next;
    this.#next += rounded;
    return at;
  }

  /** Gives the end of the last piece back, from `end` on. */
  trim(end: number): void {
    this.#next = (end + 7) & ~7;
  }

  /** Everything is written out: all room is free again. */
  reset(): void {
    this.#next = this.#start;
  }
}
