/** The cache's bounds; what is kept how long is tested through the responder. */
import { expect, test } from "bun:test";
import { ReplyCache } from "../../../lib/service/dns/cache.ts";

test("holds 4096 replies, and gives up those that were not used for longest", () => {
  const cache = new ReplyCache();
  for (let i = 0; i < 4096; i++) cache.put(`${i}`, new Uint8Array(20), [], 60, 0);
  cache.get("0", 0);
  cache.put("new", new Uint8Array(20), [], 60, 0);
  expect(cache.size).toBe(4096);
  expect([cache.get("0", 0), cache.get("new", 0)].map(Boolean)).toEqual([true, true]);
  expect(cache.get("1", 0)).toBeUndefined();
});

test("holds four megabytes", () => {
  const cache = new ReplyCache();
  for (let i = 0; i < 100; i++) cache.put(`${i}`, new Uint8Array(65535), [], 60, 0);
  expect(cache.size).toBe(Math.floor((4 * 1024 * 1024) / 65535));
  for (let i = 0; i < 100; i++) cache.put("same", new Uint8Array(65535), [], 60, 0);
  expect(cache.size).toBe(Math.floor((4 * 1024 * 1024) / 65535));
});

test("gives nothing back when its time is over", () => {
  const cache = new ReplyCache();
  cache.put("a", new Uint8Array(20), [], 5, 1000);
  expect(cache.get("a", 5999)).toBeDefined();
  expect(cache.get("a", 6000)).toBeUndefined();
  expect(cache.size).toBe(0);
  cache.put("b", new Uint8Array(20), [], 0, 1000);
  expect(cache.size).toBe(0);
});
