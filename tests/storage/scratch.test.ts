import { expect, test } from "bun:test";
import fc from "fast-check";
import { Scratch } from "../../lib/storage/scratch.ts";

const START = 1000;
const SIZE = 64;

test("take() gives one piece behind the other, aligned to 8, and flushes only when the region is full", () => {
  let flushes = 0;
  const octets = new Uint8Array(2048);
  const scratch = new Scratch(octets, START, SIZE, () => flushes++);
  expect(scratch.octets).toBe(octets);
  expect([scratch.take(1), scratch.take(9), scratch.take(40)]).toEqual([1000, 1008, 1024]);
  expect(flushes).toBe(0);
  expect([scratch.take(1), flushes]).toEqual([1000, 1]);
  scratch.reset();
  expect([scratch.take(8), flushes]).toEqual([1000, 1]);
});

test("trim() gives back what the last piece does not need", () => {
  const scratch = new Scratch(new Uint8Array(2048), START, SIZE, () => {
    throw new Error("there was room");
  });
  scratch.take(8);
  const at = scratch.take(56);
  scratch.trim(at + 9);
  expect(scratch.take(40)).toBe(at + 16);
});

test("pieces lie in the region and do not overlap before the next flush or reset, for any operations", () => {
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 40 }), keep: fc.nat(40) }),
    fc.constant("reset" as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      /** one past the last octet that is in use */
      let used = START;
      let needed = 0;
      const scratch = new Scratch(new Uint8Array(2048), START, SIZE, () => {
        expect(Math.ceil(used / 8) * 8 + needed).toBeGreaterThan(START + SIZE);
        used = START;
      });
      for (const next of steps) {
        if (next === "reset") {
          scratch.reset();
          used = START;
        } else {
          needed = next.take;
          const at = scratch.take(needed);
          expect(at % 8).toBe(0);
          expect(at).toBeGreaterThanOrEqual(used);
          expect(at + needed).toBeLessThanOrEqual(START + SIZE);
          used = at + Math.min(next.keep, needed);
          scratch.trim(used);
        }
      }
    }),
  );
});
