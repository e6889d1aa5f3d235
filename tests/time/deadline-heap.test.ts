import { expect, test } from "bun:test";
import fc from "fast-check";
import { DeadlineHeap } from "../../lib/time/deadline-heap.ts";

test("DeadlineHeap gives the earliest of all deadlines, for any operations", () => {
  const id = fc.nat(15);
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.record({ id, at: fc.oneof(fc.nat(100), fc.constant(Infinity)) }),
          fc.record({ id, at: fc.constant(undefined) }),
          fc.record({ now: fc.nat(100) }),
        ),
        { maxLength: 100 },
      ),
      (steps) => {
        const heap = new DeadlineHeap(16);
        const model = new Map<number, number>();
        for (const step of steps) {
          if ("now" in step) {
            const due = heap.popDue(step.now);
            const earliest = Math.min(Infinity, ...model.values());
            if (earliest > step.now) expect(due).toBe(-1);
            else expect(model.get(due)).toBe(earliest);
            model.delete(due);
          } else if (step.at === undefined) {
            heap.clear(step.id);
            model.delete(step.id);
          } else {
            heap.set(step.id, step.at);
            if (step.at === Infinity) model.delete(step.id);
            else model.set(step.id, step.at);
          }
          expect(heap.next()).toBe(Math.min(Infinity, ...model.values()));
        }
        for (let i = 0; i < 16; i++) expect(heap.of(i)).toBe(model.get(i) ?? Infinity);
      },
    ),
  );
});
