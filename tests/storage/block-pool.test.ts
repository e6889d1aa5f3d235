import { expect, test } from "bun:test";
import fc from "fast-check";
import { BlockPool } from "../../lib/storage/block-pool.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";

test("take() gives blocks on pages of their own that lie in the memory and do not overlap", () => {
  const memory = new PacketMemory(1 << 20);
  const reserved = memory.reserve(100) + 100;
  const pool = new BlockPool(memory, 8192, 8);
  const blocks = Array.from({ length: 8 }, () => pool.take()).toSorted((a, b) => a - b);
  expect(blocks[0]! % 4096).toBe(0);
  expect(blocks[0]).toBeGreaterThanOrEqual(reserved);
  expect(blocks.map((block) => block - blocks[0]!)).toEqual(
    [0, 1, 2, 3, 4, 5, 6, 7].map((n) => n * 8192),
  );
  expect(memory.reserve(1)).toBeGreaterThanOrEqual(blocks[7]! + 8192);
});

test("take() and give() are a stack of the free blocks, for any operations", () => {
  const CAPACITY = 5;
  const step = fc.oneof(fc.constant("take" as const), fc.nat(CAPACITY - 1));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const pool = new BlockPool(new PacketMemory(1 << 16), 1000, CAPACITY);
      const out: number[] = [];
      /** given back and not taken since, the latest last */
      const given: number[] = [];
      for (const next of steps) {
        if (next !== "take") {
          const block = out.splice(next, 1)[0];
          if (block === undefined) continue;
          pool.give(block);
          given.push(block);
        } else if (out.length === CAPACITY) {
          expect(pool.take()).toBe(-1);
        } else {
          const block = pool.take();
          expect(out).not.toContain(block);
          if (given.length > 0) expect(block).toBe(given.pop()!);
          out.push(block);
        }
        expect(pool.out).toBe(out.length);
      }
    }),
  );
});

test("releaseFree() tells of each free block that has been used since the last time, once", () => {
  const told = (pool: BlockPool) => {
    const blocks: number[] = [];
    pool.releaseFree((offset, length) => {
      expect(length).toBe(8192);
      blocks.push(offset);
    });
    return blocks.toSorted((a, b) => a - b);
  };
  const pool = new BlockPool(new PacketMemory(1 << 20), 8192, 4);
  expect(told(pool)).toEqual([]);
  const [a, b, c] = [pool.take(), pool.take(), pool.take()];
  pool.give(a);
  pool.give(c);
  expect(told(pool)).toEqual([a, c]);
  expect(told(pool)).toEqual([]);
  pool.give(b);
  expect(told(pool)).toEqual([b]);
  pool.give(pool.take());
  expect(told(pool)).toEqual([b]);
});
