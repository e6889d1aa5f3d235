import { expect, test } from "bun:test";
import fc from "fast-check";
import { TupleTable } from "../../lib/storage/tuple-table.ts";

test.each([
  ["the first word", [2, 2, 3]],
  ["the second word", [1, 3, 3]],
  ["the third word", [1, 2, 4]],
  ["the order of words", [2, 1, 3]],
  ["nothing at all: zeros", [0, 0, 0]],
] as const)("get() tells keys apart by %s", (_what, [a, b, c]) => {
  const table = new TupleTable(4, 0);
  table.set(1, 2, 3, 7);
  expect([table.get(1, 2, 3), table.get(a, b, c), table.delete(a, b, c)]).toEqual([7, -1, false]);
});

test("a word is the same word signed and unsigned", () => {
  const table = new TupleTable(4, 0);
  table.set(0xffffffff, 0x80000000, -3, 0);
  expect(table.get(-1, -0x80000000, 0xfffffffd)).toBe(0);
  expect(table.delete(-1, 0x80000000, 0xfffffffd)).toBe(true);
});

test("set() refuses a new key when the table is full; a known key is still given its value", () => {
  const table = new TupleTable(1, 0);
  expect([table.set(1, 2, 3, 4), table.set(1, 2, 4, 5), table.set(1, 2, 3, 6)]).toEqual([
    true,
    false,
    true,
  ]);
  expect([table.get(1, 2, 3), table.get(1, 2, 4), table.size]).toEqual([6, -1, 1]);
});

test("a full table finds every key and, emptied in another order, holds none", () => {
  const CAPACITY = 1000;
  const table = new TupleTable(CAPACITY, 0x5eed);
  for (let n = 0; n < CAPACITY; n++) table.set(0xc0a80502, n << 16, n, n);
  for (let n = 0; n < CAPACITY; n++) expect(table.get(0xc0a80502, n << 16, n)).toBe(n);
  // 7 and 1000 have no common divisor, so every key has its turn
  for (let i = 0; i < CAPACITY; i++) {
    const n = (i * 7) % CAPACITY;
    expect(table.delete(0xc0a80502, n << 16, n)).toBe(true);
    expect(table.get(0xc0a80502, n << 16, n)).toBe(-1);
  }
  expect(table.size).toBe(0);
});

test("is a map with a bound, for any operations", () => {
  const CAPACITY = 16;
  const key = fc.tuple(fc.nat(3), fc.constantFrom(0, 0xffffffff), fc.nat(3));
  const step = fc.record({
    what: fc.constantFrom("set", "set", "delete"),
    key,
    value: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), fc.integer(), (steps, seed) => {
      const table = new TupleTable(CAPACITY, seed);
      const model = new Map<string, number>();
      for (const { what, key: words, value } of steps) {
        const name = words.join(" ");
        if (what === "set") {
          const fits = model.has(name) || model.size < CAPACITY;
          expect(table.set(...words, value)).toBe(fits);
          if (fits) model.set(name, value);
        } else {
          expect(table.delete(...words)).toBe(model.delete(name));
        }
        expect(table.size).toBe(model.size);
      }
      for (let a = 0; a < 4; a++)
        for (const b of [0, 0xffffffff])
          for (let c = 0; c < 4; c++)
            expect(table.get(a, b, c)).toBe(model.get(`${a} ${b} ${c}`) ?? -1);
    }),
  );
});
