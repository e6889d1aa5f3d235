import type { PacketMemory } from "./packet-memory.ts";

/** Equal blocks of packet memory with a free list: take and give back in O(1), never more than `capacity` out. */
export class BlockPool {
  readonly blockSize: number;
  readonly capacity: number;
  readonly #first: number;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(memory: PacketMemory, blockSize: number, capacity: number) {
    this.blockSize = blockSize;
    this.capacity = capacity;
    this.#first = memory.reserve(blockSize * capacity, 4096);
    this.#free = new Int32Array(capacity);
    for (let i = 0; i < capacity; i++) this.#free[i] = capacity - 1 - i;
    this.#freeCount = capacity;
  }

  /** offset of a block, or -1 when all are out; the most recently returned block comes first (its pages are warm) */
  take(): number {
    if (this.#freeCount === 0) return -1;
    return this.#first + this.#free[--this.#freeCount]! * this.blockSize;
  }

  give(offset: number): void {
    this.#free[this.#freeCount++] = (offset - this.#first) / this.blockSize;
  }

  get out(): number {
    return this.capacity - this.#freeCount;
  }
}
