import type { PacketMemory } from "./packet-memory.ts";

/** of memory, on Apple's ARM */
const LARGEST_PAGE = 16384;

/** Equal blocks of packet memory with a free list: take and give back in O(1), never more than `capacity` out. */
export class BlockPool {
  readonly blockSize: number;
  readonly capacity: number;
  readonly #first: number;
  readonly #free: Int32Array;
  #freeCount: number;
  /** as many at the bottom of the free list have not been used since their pages were given back */
  #clean: number;

  constructor(memory: PacketMemory, blockSize: number, capacity: number) {
    this.blockSize = blockSize;
    this.capacity = capacity;
    this.#first = memory.reserve(blockSize * capacity, LARGEST_PAGE);
    this.#free = new Int32Array(capacity);
    for (let i = 0; i < capacity; i++) this.#free[i] = capacity - 1 - i;
    this.#freeCount = capacity;
    this.#clean = capacity;
  }

  /** offset of a block, or -1 when all are out; the most recently returned block comes first (its pages are warm) */
  take(): number {
    if (this.#freeCount === 0) return -1;
    const left = --this.#freeCount;
    if (left < this.#clean) this.#clean = left;
    return this.#first + this.#free[left]! * this.blockSize;
  }

  give(offset: number): void {
    this.#free[this.#freeCount++] = (offset - this.#first) / this.blockSize;
  }

  /** Tells of each block that has been used and is free now, by offset and length; nobody needs what it holds. */
  releaseFree(release: (offset: number, length: number) => void): void {
    for (; this.#clean < this.#freeCount; this.#clean++)
      release(this.#first + this.#free[this.#clean]! * this.blockSize, this.blockSize);
  }

  get out(): number {
    return this.capacity - this.#freeCount;
  }
}
