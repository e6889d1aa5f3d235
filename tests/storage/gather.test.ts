import { expect, test } from "bun:test";
import fc from "fast-check";
import { Gather } from "../../lib/storage/gather.ts";

const pieces = (gather: Gather) =>
  Array.from({ length: gather.count }, (_, i) => [gather.starts[i]!, gather.lengths[i]!]);

test.each<[string, [number, number][], [number, number][]]>([
  [
    "pieces that do not touch",
    [
      [100, 10],
      [200, 1],
    ],
    [
      [100, 10],
      [200, 1],
    ],
  ],
  [
    "pieces that touch as one",
    [
      [100, 10],
      [110, 5],
      [115, 1],
    ],
    [[100, 16]],
  ],
  [
    "a piece before another apart: the order counts",
    [
      [110, 5],
      [100, 10],
    ],
    [
      [110, 5],
      [100, 10],
    ],
  ],
  [
    "a piece that touches an earlier one than the last apart",
    [
      [100, 10],
      [200, 1],
      [110, 5],
    ],
    [
      [100, 10],
      [200, 1],
      [110, 5],
    ],
  ],
  [
    "nothing for an empty piece",
    [
      [100, 0],
      [0, 4],
      [9, 0],
      [4, 4],
    ],
    [[0, 8]],
  ],
])("add() keeps %s", (_what, added, kept) => {
  const gather = new Gather(4);
  for (const [start, length] of added) expect(gather.add(start, length)).toBe(true);
  expect(pieces(gather)).toEqual(kept);
});

test("add() refuses one piece too many and changes nothing; what joins the last one still fits", () => {
  const gather = new Gather(2);
  gather.add(100, 10);
  gather.add(200, 1);
  expect([gather.add(300, 1), gather.octets, gather.room]).toEqual([false, 11, 0]);
  expect([gather.add(300, 0), gather.add(201, 4), gather.octets]).toEqual([true, true, 15]);
  expect(pieces(gather)).toEqual([
    [100, 10],
    [200, 5],
  ]);
});

test("a list that is cleared joins nothing to what it held", () => {
  const gather = new Gather(2);
  gather.add(100, 10);
  gather.clear();
  expect([gather.count, gather.octets, gather.room]).toEqual([0, 0, 2]);
  gather.add(110, 5);
  expect(pieces(gather)).toEqual([[110, 5]]);
});

test("the pieces name the octets that were added, in their order, for any pieces", () => {
  const piece = fc.tuple(fc.nat(20), fc.nat(4));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20, size: "max" }), (added) => {
      const gather = new Gather(6);
      const model: number[] = [];
      for (const [start, length] of added)
        if (gather.add(start, length)) for (let n = 0; n < length; n++) model.push(start + n);
      const named = pieces(gather).flatMap(([start, length]) =>
        Array.from({ length: length! }, (_, n) => start! + n),
      );
      expect(named).toEqual(model);
      expect(gather.octets).toBe(model.length);
      expect(gather.room).toBe(6 - gather.count);
    }),
  );
});
