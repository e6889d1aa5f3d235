import { expect, test } from "bun:test";
import fc from "fast-check";
import { FairShare } from "../../lib/storage/fair-share.ts";

/** how many of `capacity` places owners get who want all, one after the other */
const shares = (capacity: number, owners: number): number[] => {
  const places = new FairShare(capacity);
  return Array.from({ length: owners }, (_, owner) => {
    let has = 0;
    while (places.take(owner)) has++;
    return has;
  });
};

test.each([
  [4096, 1, [3072]],
  [4096, 2, [3072, 768]],
  [4096, 3, [3072, 768, 192]],
  [16, 3, [12, 3, 1]],
  [1, 2, [1, 0]],
  [0, 1, [0]],
  [-5, 1, [0]],
  [2.5, 1, [2]],
])("take() of %d places gives %d who come one after the other %j", (capacity, owners, expected) => {
  expect(shares(capacity, owners)).toEqual(expected);
});

test("take() gives two who want all at the same time three sevenths each", () => {
  const places = new FairShare(700);
  const has = [0, 0];
  for (let n = 0; n < 1400; n++) if (places.take(n % 2)) has[n % 2]!++;
  expect(has).toEqual([300, 300]);
});

test("give() makes room for others and for whoever gave", () => {
  const places = new FairShare(16);
  for (let n = 0; n < 12; n++) places.take(0);
  expect(places.take(0)).toBe(false);
  places.give(0);
  expect(places.take(0)).toBe(true);
});

test("however it is taken and given, there is no more than there is, and one who has nothing gets something while two are left", () => {
  const step = fc.tuple(fc.nat(4), fc.boolean());
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 64 }),
      fc.array(step, { maxLength: 300 }),
      (capacity, steps) => {
        const places = new FairShare(capacity);
        const has = new Map<number, number>();
        const sum = () => [...has.values()].reduce((a, b) => a + b, 0);
        for (const [owner, takes] of steps) {
          const count = has.get(owner) ?? 0;
          if (takes) {
            const left = capacity - sum();
            const got = places.take(owner);
            if (count === 0 && left > 0) expect(got).toBe(true);
            if (got) has.set(owner, count + 1);
          } else if (count > 0) {
            places.give(owner);
            has.set(owner, count - 1);
          }
          expect(sum()).toBeLessThanOrEqual(capacity);
        }
      },
    ),
  );
});
