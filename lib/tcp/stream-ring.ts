import type { BlockPool } from "../storage/block-pool.ts";
import type { Gather } from "../storage/gather.ts";
import { seqAdd, seqDistance } from "./sequence.ts";

/** Small rings for the many quiet connections, large ones for the few that move bulk data. */
export interface RingPools {
  octets: Uint8Array;
  small: BlockPool;
  large: BlockPool;
}

/**
 * A block of packet memory in which each octet of a byte stream has its place by its sequence number.
 * It keeps no positions itself: callers say which sequence range they mean, never wider than `size`.
 * Starts small; `grow` moves it to a large block.
 */
export class StreamRing {
  size = 0;
  #base = -1;
  readonly #pools: RingPools;

  constructor(pools: RingPools) {
    this.#pools = pools;
  }

  /** False when no block is free. */
  open(): boolean {
    this.#base = this.#pools.small.take();
    this.size = this.#base < 0 ? 0 : this.#pools.small.blockSize;
    return this.#base >= 0;
  }

  close(): void {
    if (this.#base < 0) return;
    (this.isLarge ? this.#pools.large : this.#pools.small).give(this.#base);
    this.#base = -1;
    this.size = 0;
  }

  get isLarge(): boolean {
    return this.size === this.#pools.large.blockSize;
  }

  /** Moves to a large block, keeping the octets of [from, to). False when none is free. */
  grow(from: number, to: number): boolean {
    const base = this.#pools.large.take();
    if (base < 0) return false;
    const { octets, small, large } = this.#pools;
    const oldBase = this.#base;
    const oldSize = this.size;
    let seq = from;
    let left = seqDistance(from, to);
    while (left > 0) {
      const at = seq & (oldSize - 1);
      const newAt = seq & (large.blockSize - 1);
      const length = Math.min(left, oldSize - at, large.blockSize - newAt);
      octets.copyWithin(base + newAt, oldBase + at, oldBase + at + length);
      seq = seqAdd(seq, length);
      left -= length;
    }
    small.give(oldBase);
    this.#base = base;
    this.size = large.blockSize;
    return true;
  }

  /** offset in packet memory of the octet with this sequence number */
  at(seq: number): number {
    return this.#base + (seq & (this.size - 1));
  }

  /** octets from `seq` to where the ring wraps */
  contiguous(seq: number): number {
    return this.size - (seq & (this.size - 1));
  }

  /** Copies `length` octets of packet memory from `start` to their place at `seq`. */
  store(seq: number, start: number, length: number): void {
    const first = Math.min(length, this.contiguous(seq));
    const { octets } = this.#pools;
    octets.copyWithin(this.at(seq), start, start + first);
    if (first < length) octets.copyWithin(this.#base, start + first, start + length);
  }

  /** Lists the pieces of [seq, seq + length). False when the list is full. */
  list(seq: number, length: number, into: Gather): boolean {
    const first = Math.min(length, this.contiguous(seq));
    return into.add(this.at(seq), first) && into.add(this.#base, length - first);
  }
}
