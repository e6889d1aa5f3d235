import { expect, test } from "bun:test";
import fc from "fast-check";
import { RangeSet } from "../../lib/storage/range-set.ts";

const ranges = (set: RangeSet) =>
  Array.from({ length: set.count }, (_, i) => [set.starts[i]! >>> 0, set.ends[i]! >>> 0]);

const withRanges = (capacity: number, ...added: [number, number][]) => {
  const set = new RangeSet(capacity);
  for (const [start, end] of added) expect(set.add(start, end)).toBe(true);
  return set;
};

test.each<[string, [number, number], [number, number][]]>([
  [
    "before all",
    [1, 5],
    [
      [1, 5],
      [10, 20],
      [30, 40],
    ],
  ],
  [
    "between two",
    [22, 28],
    [
      [10, 20],
      [22, 28],
      [30, 40],
    ],
  ],
  [
    "behind all",
    [50, 60],
    [
      [10, 20],
      [30, 40],
      [50, 60],
    ],
  ],
  [
    "at a start",
    [5, 10],
    [
      [5, 20],
      [30, 40],
    ],
  ],
  [
    "at an end",
    [20, 25],
    [
      [10, 25],
      [30, 40],
    ],
  ],
  ["that fills a gap", [20, 30], [[10, 40]]],
  [
    "that is there already",
    [12, 18],
    [
      [10, 20],
      [30, 40],
    ],
  ],
  ["over all", [5, 50], [[5, 50]]],
  ["over the end of one and the start of another", [15, 35], [[10, 40]]],
])("add() merges a range %s", (_what, range, merged) =>
  expect(ranges(withRanges(4, [10, 20], [30, 40], range))).toEqual(merged),
);

test("add() keeps order across the wrap", () => {
  const set = withRanges(4, [5, 9], [0xfffffff0, 0xfffffff8], [0xfffffffc, 2]);
  expect(ranges(set)).toEqual([
    [0xfffffff0, 0xfffffff8],
    [0xfffffffc, 2],
    [5, 9],
  ]);
  expect(set.octets).toBe(8 + 6 + 4);
});

test("clear() empties the set", () => {
  const set = withRanges(2, [1, 2], [3, 4]);
  set.clear();
  expect([set.count, set.octets, set.endOf(1)]).toEqual([0, 0, 1]);
});

test("is a bounded set of numbers, for any additions and trims around the wrap", () => {
  const CAPACITY = 4;
  const [FIRST, LAST] = [-40, 60];
  const step = fc.record({
    what: fc.constantFrom("add", "add", "add", "trim"),
    at: fc.integer({ min: FIRST, max: 40 }),
    length: fc.integer({ min: 1, max: 12 }),
  });
  /** where a run of numbers begins */
  const starts = (model: Set<number>) => [...model].filter((n) => !model.has(n - 1));
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40, size: "max" }),
      fc.constantFrom(0, 0x7fffffff, 0x80000000, 12_345),
      (steps, origin) => {
        const set = new RangeSet(CAPACITY);
        let model = new Set<number>();
        for (const { what, at, length } of steps) {
          if (what === "add") {
            const wanted = new Set(model);
            for (let n = at; n < at + length; n++) wanted.add(n);
            const fits = starts(wanted).length <= CAPACITY;
            expect(set.add((origin + at) >>> 0, (origin + at + length) >>> 0)).toBe(fits);
            if (fits) model = wanted;
          } else {
            set.trim((origin + at) >>> 0);
            model = new Set([...model].filter((n) => n >= at));
          }
          expect(set.count).toBe(starts(model).length);
          expect(set.octets).toBe(model.size);
        }
        const fallback = (origin + 999) | 0;
        for (let n = FIRST; n < LAST; n++) {
          let end = n;
          while (model.has(end)) end++;
          expect(set.endOf((origin + n) >>> 0)).toBe((origin + end) | 0);
          const next = Math.min(...starts(model).filter((start) => start > n));
          expect(set.nextStart((origin + n) >>> 0, fallback)).toBe(
            next === Infinity ? fallback : (origin + next) | 0,
          );
        }
      },
    ),
  );
});
