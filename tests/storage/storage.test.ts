import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BlockPool } from "../../lib/storage/block-pool.ts";
import { Gather } from "../../lib/storage/gather.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { RangeSet } from "../../lib/storage/range-set.ts";
import { Scratch } from "../../lib/storage/scratch.ts";
import { TupleTable } from "../../lib/storage/tuple-table.ts";

describe("PacketMemory", () => {
  test("reserve() gives regions that do not overlap, aligned, and says when there is no room", () => {
    const memory = new PacketMemory(200_000);
    const regions = [100, 4096, 1, 65_536].map((size) => ({
      at: memory.reserve(size, 4096),
      size,
    }));
    for (const [i, { at }] of regions.entries()) {
      expect(at % 4096).toBe(0);
      if (i > 0) expect(at).toBeGreaterThanOrEqual(regions[i - 1]!.at + regions[i - 1]!.size);
    }
    expect(() => memory.reserve(memory.unreserved + 1)).toThrow(RangeError);
  });
});

describe("BlockPool", () => {
  test("hands out every block once, says -1 when all are out, and the last one back first", () => {
    const pool = new BlockPool(new PacketMemory(1 << 20), 4096, 8);
    const blocks = Array.from({ length: 8 }, () => pool.take());
    expect(new Set(blocks).size).toBe(8);
    expect(pool.take()).toBe(-1);
    expect(pool.out).toBe(8);
    pool.give(blocks[3]!);
    pool.give(blocks[5]!);
    expect([pool.take(), pool.take(), pool.take()]).toEqual([blocks[5]!, blocks[3]!, -1]);
  });
});

describe("Gather", () => {
  test("add() joins pieces that touch, counts octets, and refuses more than it holds", () => {
    const gather = new Gather(2);
    expect([
      gather.add(100, 10),
      gather.add(110, 5),
      gather.add(200, 1),
      gather.add(300, 1),
    ]).toEqual([true, true, true, false]);
    expect([gather.count, gather.octets, gather.room]).toEqual([2, 16, 0]);
    expect([gather.lengths[0], gather.lengths[1]]).toEqual([15, 1]);
    expect(gather.add(201, 4)).toBe(true);
    gather.clear();
    expect([gather.count, gather.octets, gather.room]).toEqual([0, 0, 2]);
  });
});

describe("Scratch", () => {
  test("take() never hands out a place twice between resets, and asks for a flush when it is full", () => {
    let flushes = 0;
    const scratch = new Scratch(new Uint8Array(2048), 1000, 64, () => flushes++);
    expect([scratch.take(1), scratch.take(9), scratch.take(8)]).toEqual([1000, 1008, 1024]);
    scratch.trim(1025);
    expect(scratch.take(8)).toBe(1032);
    expect(flushes).toBe(0);
    expect(scratch.take(32)).toBe(1000);
    expect(flushes).toBe(1);
    scratch.reset();
    expect(scratch.take(8)).toBe(1000);
  });
});

/** sequence numbers around the wrap, relative to it */
const place = fc.integer({ min: -300, max: 300 });

describe("RangeSet", () => {
  test("is a set of numbers, for any additions and trims around the wrap", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom("add", "trim"), place, fc.integer({ min: 1, max: 60 })), {
          maxLength: 40,
        }),
        fc.constantFrom(0, 0x7fffffff, 0x80000000, 12_345),
        (steps, origin) => {
          const ranges = new RangeSet(64);
          const model = new Set<number>();
          for (const [step, at, length] of steps) {
            if (step === "add") {
              ranges.add((origin + at) >>> 0, (origin + at + length) >>> 0);
              for (let n = at; n < at + length; n++) model.add(n);
            } else {
              ranges.trim((origin + at) | 0);
              for (const n of model) if (n < at) model.delete(n);
            }
          }
          expect(ranges.octets).toBe(model.size);
          for (let i = 1; i < ranges.count; i++)
            expect((ranges.starts[i]! - ranges.ends[i - 1]!) | 0).toBeGreaterThan(0);
          for (let n = -300; n < 360; n++) {
            let end = n;
            while (model.has(end)) end++;
            expect(ranges.endOf((origin + n) | 0)).toBe((origin + end) | 0);
            let next = n + 1;
            while (next < 400 && !(model.has(next) && !model.has(next - 1))) next++;
            const fallback = (origin + 999) | 0;
            expect(ranges.nextStart((origin + n) | 0, fallback)).toBe(
              next < 400 ? (origin + next) | 0 : fallback,
            );
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("add() refuses one range too many and leaves the set as it was; one that joins others still fits", () => {
    const ranges = new RangeSet(2);
    expect([ranges.add(0, 10), ranges.add(20, 30), ranges.add(40, 50)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(ranges.octets).toBe(20);
    expect(ranges.add(10, 20)).toBe(true);
    expect([ranges.count, ranges.octets]).toEqual([1, 30]);
  });
});

describe("TupleTable", () => {
  test("is a map with a bound, for any operations", () => {
    const key = fc.tuple(
      fc.integer({ min: 0, max: 3 }),
      fc.constantFrom(0, 0xffffffff),
      fc.integer({ min: 0, max: 5 }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom("set", "delete"), key, fc.nat(1000)), { maxLength: 200 }),
        fc.integer(),
        (steps, seed) => {
          const table = new TupleTable(16, seed);
          const model = new Map<string, number>();
          for (const [step, [a, b, c], value] of steps) {
            const name = `${a} ${b} ${c}`;
            if (step === "set") {
              const fits = model.has(name) || model.size < 16;
              expect(table.set(a, b, c, value)).toBe(fits);
              if (fits) model.set(name, value);
            } else {
              expect(table.delete(a, b, c)).toBe(model.delete(name));
            }
            expect(table.size).toBe(model.size);
          }
          for (let a = 0; a < 4; a++)
            for (const b of [0, 0xffffffff])
              for (let c = 0; c < 6; c++)
                expect(table.get(a, b, c)).toBe(model.get(`${a} ${b} ${c}`) ?? -1);
        },
      ),
    );
  });
});
