import { read } from "bun:ffi";
import { expect, test } from "bun:test";
import { addressOf, pinned } from "../../lib/host/pinned.ts";

test("addressOf() stays right when a small array is given a buffer of its own", () => {
  const view = new Uint8Array([1, 2, 3, 4]);
  const at = addressOf(view);
  view.subarray(1)[0] = 9;
  expect([read.u8(at, 0), read.u8(at, 1)]).toEqual([1, 9]);
});

test("pinned() keeps what only its address is used of", () => {
  const addresses = Array.from({ length: 1000 }, (_, i) => pinned(new Int32Array([i])));
  Bun.gc(true);
  // what the collector gave back is given to others now
  const others = Array.from({ length: 5000 }, () => new Int32Array([-1]));
  expect(addresses.map((at) => read.i32(at, 0))).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  expect(others.every((other) => other[0] === -1)).toBe(true);
});
