import { expect, test } from "bun:test";
import fc from "fast-check";
import { DeadlineHeap } from "../../lib/time/deadline-heap.ts";

test("popDue() takes out what is due at the very millisecond, and nothing that is due later", () => {
  const heap = new DeadlineHeap(2);
  heap.set(1, 10);
  expect([heap.popDue(9.999), heap.popDue(10), heap.popDue(10)]).toEqual([-1, 1, -1]);
  expect([heap.of(1), heap.next()]).toEqual([Infinity, Infinity]);
});

test("set() moves a deadline in both directions; Infinity clears it", () => {
  const heap = new DeadlineHeap(3);
  heap.set(0, 10);
  heap.set(1, 20);
  heap.set(1, 5);
  expect([heap.next(), heap.of(1)]).toEqual([5, 5]);
  heap.set(1, 30);
  expect([heap.next(), heap.of(1)]).toEqual([10, 30]);
  heap.set(0, Infinity);
  expect([heap.next(), heap.of(0)]).toEqual([30, Infinity]);
});

test("clear() of an id without a deadline does nothing, also when it had one", () => {
  const heap = new DeadlineHeap(3);
  heap.clear(2);
  heap.set(1, 20);
  heap.set(0, 10);
  heap.clear(0);
  heap.clear(0);
  expect([heap.popDue(99), heap.popDue(99)]).toEqual([1, -1]);
});

test("deadlines come out in their order, every id once, for any deadlines of a full heap", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50), { minLength: 1, maxLength: 60, size: "max" }), (deadlines) => {
      const heap = new DeadlineHeap(deadlines.length);
      for (const [id, at] of deadlines.entries()) heap.set(id, at);
      const ids = deadlines.map(() => heap.popDue(50));
      expect(ids.map((id) => deadlines[id]!)).toEqual(deadlines.toSorted((a, b) => a - b));
      expect(new Set(ids).size).toBe(deadlines.length);
    }),
  );
});

test("is a map whose earliest deadline is known, for any operations", () => {
  const CAPACITY = 16;
  const id = fc.nat(CAPACITY - 1);
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ what: fc.constant("set" as const), id, at: fc.nat(100) }) },
    fc.record({ what: fc.constant("clear" as const), id }),
    fc.record({ what: fc.constant("pop" as const), now: fc.nat(100) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
      const heap = new DeadlineHeap(CAPACITY);
      const model = new Map<number, number>();
      const earliest = () => Math.min(Infinity, ...model.values());
      for (const next of steps) {
        if (next.what === "pop") {
          const due = heap.popDue(next.now);
          if (earliest() > next.now) expect(due).toBe(-1);
          else expect(model.get(due)).toBe(earliest());
          model.delete(due);
        } else if (next.what === "clear") {
          heap.clear(next.id);
          model.delete(next.id);
        } else {
          heap.set(next.id, next.at);
          model.set(next.id, next.at);
        }
        expect(heap.next()).toBe(earliest());
      }
      for (let n = 0; n < CAPACITY; n++) expect(heap.of(n)).toBe(model.get(n) ?? Infinity);
    }),
  );
});
