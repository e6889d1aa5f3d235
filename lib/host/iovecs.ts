/**
 * An array of struct iovec at one place for all calls: an address and a length of 64 bits each. Numbers are written as two
 * halves, since a BigInt for each would be garbage for each packet; lengths stay below 2^32. Whoever gives `at` away keeps the
 * array for as long: an address keeps nothing alive.
 */
import type { Pointer } from "bun:ffi";
import { addressOf } from "./pinned.ts";

export class Iovecs {
  readonly capacity: number;
  readonly at: Pointer;
  readonly #words: Uint32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#words = new Uint32Array(capacity * 4);
    this.at = addressOf(this.#words);
  }

  set(i: number, address: number, length: number): void {
    const words = this.#words;
    words[i * 4] = address;
    words[i * 4 + 1] = address / 0x1_0000_0000;
    words[i * 4 + 2] = length;
  }
}
