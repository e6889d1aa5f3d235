import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { simdSumOctets } from "../../lib/wire/checksum-simd.ts";
import { fold, pseudoHeaderSum, sumOctetsOf } from "../../lib/wire/checksum.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { hex, OFFSETS, poisoned } from "../support/octets.ts";

test.each(OFFSETS)(
  "sumOctetsOf() gives the example of RFC 1071 section 3, at offset %d",
  (offset) => {
    const octets = hex("0001 f203 f4f5 f6f7");
    expect(sumOctetsOf(poisoned(octets, offset))(offset, octets.length)).toBe(0xddf2);
  },
);

test("sumOctetsOf() takes a last single octet as the high half of a word", () => {
  expect(sumOctetsOf(hex("0102 03"))(0, 3)).toBe(0x0402);
  expect(sumOctetsOf(hex("ff"))(0, 0)).toBe(0);
});

test.each([
  [0xffff, 0xffff],
  [0x1_0000, 1],
  [0x1_ffff, 1],
  [0xffff_ffff, 0xffff],
  [0, 0],
])("fold(%d) is %d", (sum, folded) => expect(fold(sum)).toBe(folded));

test("pseudoHeaderSum() adds the five fields", () => {
  // 192.0.2.1 → 198.51.100.2, UDP, 20 octets: c000 + 0201 + c633 + 6402 + 0011 + 0014 = 1ec5b → ec5c
  expect(pseudoHeaderSum(0xc0000201, 0xc6336402, 17, 20)).toBe(0xec5c);
});

describe("simdSumOctets()", () => {
  const memory = new PacketMemory(256 * 1024);
  const fast = simdSumOctets(memory.memory);
  const plain = sumOctetsOf(memory.octets);
  const random = (seed: number) => {
    let state = seed;
    for (let i = 0; i < memory.octets.length; i++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      memory.octets[i] = state >>> 16;
    }
  };

  test("agrees with the plain sum for every short length at every alignment", () => {
    random(1);
    for (let length = 0; length <= 200; length++)
      for (let start = 0; start < 17; start++)
        expect([start, length, fast(start, length)]).toEqual([start, length, plain(start, length)]);
  });

  test("agrees for any place and length up to 65535", () => {
    random(2);
    fc.assert(
      fc.property(
        fc.nat(150_000),
        fc.nat(65_535),
        (start, length) => fast(start, length) === plain(start, length),
      ),
      { numRuns: 300 },
    );
  });

  test("agrees where every carry happens: all octets 0xff", () => {
    memory.octets.fill(0xff);
    for (const length of [1, 2, 15, 16, 17, 1460, 65_534, 65_535])
      expect(fast(5, length)).toBe(plain(5, length));
  });
});
