/**
 * Hash table from three unsigned 32-bit words (an address pair and a port pair) to a small integer.
 * Open addressing with linear probing and backward-shift deletion, on typed arrays: no allocation after
 * construction. Costs O(1) on average. `capacity` is a hard limit on entries.
 */
export class TupleTable {
  readonly capacity: number;
  size = 0;
  readonly #mask: number;
  readonly #keys: Int32Array;
  /** value + 1; 0 marks a free slot */
  readonly #values: Int32Array;
  readonly #seed: number;

  /** seed: a random number, so that a guest cannot aim at one bucket */
  constructor(capacity: number, seed: number) {
    this.capacity = capacity;
    let slots = 16;
    while (slots < capacity * 2) slots *= 2;
    this.#mask = slots - 1;
    this.#keys = new Int32Array(slots * 3);
    this.#values = new Int32Array(slots);
    this.#seed = seed | 0;
  }

  #hash(a: number, b: number, c: number): number {
    let h = this.#seed ^ a;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) ^ b;
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) ^ c;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    return (h ^ (h >>> 15)) & this.#mask;
  }

  #find(a: number, b: number, c: number): number {
    const keys = this.#keys;
    let slot = this.#hash(a, b, c);
    while (this.#values[slot] !== 0) {
      const k = slot * 3;
      if (keys[k] === (a | 0) && keys[k + 1] === (b | 0) && keys[k + 2] === (c | 0)) return slot;
      slot = (slot + 1) & this.#mask;
    }
    return -1 - slot;
  }

  /** the value, or -1 */
  get(a: number, b: number, c: number): number {
    const slot = this.#find(a, b, c);
    return slot < 0 ? -1 : this.#values[slot]! - 1;
  }

  /** false when the table is full and the key is new */
  set(a: number, b: number, c: number, value: number): boolean {
    let slot = this.#find(a, b, c);
    if (slot < 0) {
      if (this.size === this.capacity) return false;
      slot = -1 - slot;
      const k = slot * 3;
      this.#keys[k] = a;
      this.#keys[k + 1] = b;
      this.#keys[k + 2] = c;
      this.size++;
    }
    this.#values[slot] = value + 1;
    return true;
  }

  /** true when the key was there */
  delete(a: number, b: number, c: number): boolean {
    let hole = this.#find(a, b, c);
    if (hole < 0) return false;
    const keys = this.#keys;
    let slot = hole;
    for (;;) {
      slot = (slot + 1) & this.#mask;
      if (this.#values[slot] === 0) break;
      const home = this.#hash(keys[slot * 3]!, keys[slot * 3 + 1]!, keys[slot * 3 + 2]!);
      // move the entry back only if its home is not between the hole and where it stands now
      if (((slot - home) & this.#mask) >= ((slot - hole) & this.#mask)) {
        keys.copyWithin(hole * 3, slot * 3, slot * 3 + 3);
        this.#values[hole] = this.#values[slot]!;
        hole = slot;
      }
    }
    this.#values[hole] = 0;
    this.size--;
    return true;
  }
}
