/** RFC 2131 3.1, step 4: the server commits a binding to persistent storage, and answers then. */
import { expect, test } from "bun:test";
import { KeptPromises } from "../../../lib/service/dhcp/kept-promises.ts";

test("an answer waits for the state that it tells of, in the order of its coming", () => {
  const promises = new KeptPromises<string>();
  promises.wait("a");
  promises.wait("b");
  const first = promises.told();
  promises.wait("c");
  const second = promises.told();
  expect(promises.stored(first)).toEqual(["a", "b"]);
  expect(promises.stored(first)).toEqual([]);
  expect(promises.stored(second)).toEqual(["c"]);
});

test("a later state holds all that was told before", () => {
  const promises = new KeptPromises<string>();
  promises.wait("a");
  promises.told();
  promises.wait("b");
  expect(promises.stored(promises.told())).toEqual(["a", "b"]);
});

test("there is room for 256, and again when they have gone", () => {
  const promises = new KeptPromises<number>();
  for (let n = 0; n < 256; n++) expect(promises.wait(n)).toBe(true);
  expect(promises.wait(256)).toBe(false);
  expect(promises.stored(promises.told())).toHaveLength(256);
  expect(promises.wait(257)).toBe(true);
});
