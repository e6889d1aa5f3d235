import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { simdSumOctets } from "../../lib/wire/checksum-simd.ts";
import { fold, pseudoHeaderSum, sumOctetsOf } from "../../lib/wire/checksum.ts";
import { hex, OFFSETS, poisoned } from "../support/octets.ts";

const memory = new PacketMemory(256 * 1024);
const plain = sumOctetsOf(memory.octets);
const fast = simdSumOctets(memory.memory);

describe.each([
  ["sumOctetsOf()", plain],
  ["simdSumOctets()", fast],
])("%s", (_name, sum) => {
  describe.each(OFFSETS)("at offset %d", (offset) => {
    test.each([
      ["the example of RFC 1071 section 3", "0001 f203 f4f5 f6f7", 0xddf2],
      ["nothing", "", 0],
      ["one octet, the high half of a word", "ff", 0xff00],
      ["an odd length", "0102 03", 0x0402],
      ["a sum that is folded once", "8000 8001", 2],
      ["a sum that is folded twice", `${"ffff".repeat(16)} 0001 fffe 0001`, 1],
      ["17 octets: a step of 16 and one more", `${"0001".repeat(8)} 02`, 0x0208],
    ])("sums up %s", (_what, text, value) => {
      const octets = hex(text);
      memory.octets.set(poisoned(octets, offset));
      expect(sum(offset, octets.length)).toBe(value);
    });
  });

  test("does not overflow with 65,535 octets of 0xff, for -0 is what ones-complement adds them up to", () => {
    memory.octets.fill(0xff);
    expect(sum(5, 65_534)).toBe(0xffff);
    expect(sum(5, 65_535)).toBe(0xff00);
  });
});

describe("simdSumOctets()", () => {
  const fillAtRandom = (seed: number) => {
    let state = seed;
    for (let i = 0; i < memory.octets.length; i++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      memory.octets[i] = state >>> 16;
    }
  };

  test("agrees with the plain sum for every short length at every alignment", () => {
    fillAtRandom(1);
    const differing: [number, number][] = [];
    for (let length = 0; length <= 200; length++)
      for (let start = 0; start < 17; start++)
        if (fast(start, length) !== plain(start, length)) differing.push([start, length]);
    expect(differing).toEqual([]);
  });

  test("agrees for any place and length up to 65535", () => {
    fillAtRandom(2);
    fc.assert(
      fc.property(
        fc.nat(150_000),
        fc.nat(65_535),
        (start, length) => fast(start, length) === plain(start, length),
      ),
      { numRuns: 300 },
    );
  });

  test("reads up to the last octet of the memory and not beyond", () => {
    const { length } = memory.octets;
    memory.octets.fill(0).fill(0x12, length - 1);
    expect(fast(length - 33, 33)).toBe(0x1200);
    expect(() => fast(length - 32, 33)).toThrow(WebAssembly.RuntimeError);
  });
});

test.each([
  [0, 0],
  [0xffff, 0xffff],
  [0x1_0000, 1],
  [0x1_fffe, 0xffff],
  [0x1_ffff, 1],
  [0xffff_0001, 1],
  [0xffff_ffff, 0xffff],
])("fold(%d) is %d", (sum, folded) => expect(fold(sum)).toBe(folded));

test.each([
  // c000 + 0201 + c633 + 6402 + 0011 + 0014 = 1ec5b
  ["each half of both addresses, protocol, length", 0xc0000201, 0xc6336402, 17, 20, 0xec5c],
  // ffff + ffff + ffff + ffff + 0006 + ffff = 50001
  ["the largest values", 0xffffffff, 0xffffffff, 6, 0xffff, 0x0006],
])("pseudoHeaderSum() adds %s", (_what, src, dst, protocol, length, sum) =>
  expect(pseudoHeaderSum(src, dst, protocol, length)).toBe(sum),
);
