/** Everything random in a fuzzer, by one seed, so that a round can be run again. */
import { mulberry } from "../support/mulberry.ts";

/** values at which arithmetic goes wrong */
const EDGES = [
  0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 19, 20, 31, 32, 63, 64, 127, 128, 129, 192, 253, 254, 255,
];

export class Dice {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = mulberry(seed);
  }

  /** 0 ≤ n < below */
  below(below: number): number {
    return Math.floor(this.#random() * below);
  }

  chance(of: number): boolean {
    return this.#random() < of;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  octet(): number {
    return this.chance(0.5) ? this.pick(EDGES) : this.below(256);
  }

  octets(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.octet());
  }

  /** what was right, with one field or a few octets changed, cut off, added, doubled, or taken from another */
  mangle(octets: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
    let out = octets.slice();
    for (let changes = 1 + (this.chance(0.3) ? this.below(6) : 0); changes > 0; changes--) {
      const at = this.below(out.length + 1);
      switch (this.below(7)) {
        case 0:
        case 1:
          out = out.slice();
          if (at < out.length) out[at] = this.octet();
          break;
        case 2:
          if (at < out.length) out[at] = out[at]! ^ (1 << this.below(8));
          break;
        case 3:
          // a length or a number of two octets
          if (at + 2 <= out.length) out.set([this.octet(), this.octet()], at);
          break;
        case 4:
          out = out.slice(0, at);
          break;
        case 5:
          out = new Uint8Array([
            ...out.subarray(0, at),
            ...this.octets(this.below(9)),
            ...out.subarray(at),
          ]);
          break;
        case 6: {
          const other = this.pick(others);
          out = new Uint8Array([
            ...out.subarray(0, at),
            ...other.subarray(this.below(other.length + 1)),
          ]);
        }
      }
    }
    return out;
  }
}

/** Something that takes in whatever comes; a round throws when it must not. */
export interface Target {
  name: string;
  /** what a round takes in, and how many of them */
  unit: string;
  batch: number;
  round(dice: Dice): void | Promise<void>;
  close?(): void | Promise<void>;
}
