import { expect, test } from "bun:test";
import { Counters } from "../../lib/trace/counters.ts";

test("count() adds one, or as many as it is told, to the word's own count", () => {
  const counters = new Counters();
  counters.count("udp-checksum");
  counters.count("udp-checksum");
  counters.count("frames", 5);
  counters.count("frames", 7);
  counters.count("nothing", 0);
  expect(counters.values).toEqual({ "udp-checksum": 2, frames: 12, nothing: 0 });
});

test("two Counters do not share what they count", () => {
  new Counters().count("frames");
  expect(new Counters().values).toEqual({});
});
