/** SOCKS 5 messages (RFC 1928), octet by octet, at an offset in memory full of something else. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  answerSocksGreeting,
  emitSocksReply,
  parseSocksRequest,
  SOCKS_MESSAGE_LIMIT,
  SOCKS_REPLY,
  socksGreetingLength,
  socksRequestLength,
  type SocksReply,
} from "../../lib/wire/socks5.ts";

const AT = 7;
const placed = (hex: string) => {
  const octets = new Uint8Array(600).fill(0xa5);
  octets.set(Uint8Array.fromHex(hex.replaceAll(" ", "")), AT);
  return octets;
};
const sizeOf = (hex: string) => hex.replaceAll(" ", "").length / 2;

describe("greeting", () => {
  test.each([
    ["", 2],
    ["05", 2],
    ["05 01", 3],
    ["05 00", 2],
    ["05 ff", 257],
    ["04", 0],
    ["04 01", 0],
    ["47", 0],
  ])("%s: %i octets", (hex, length) => {
    expect(socksGreetingLength(placed(hex), AT, sizeOf(hex))).toBe(length);
  });
  test.each([
    ["05 01 00", "0500"],
    ["05 03 02 01 00", "0500"],
    ["05 01 02", "05ff"],
    ["05 00", "05ff"],
    // what stands behind the greeting is none of its methods
    ["05 01 02 00", "05ff"],
  ])("%s is answered by %s", (hex, answer) => {
    const octets = placed(hex);
    const length = socksGreetingLength(octets, AT, 2);
    expect(answerSocksGreeting(octets, AT, length, 400)).toBe(answer === "0500");
    expect(octets.slice(400, 403).toHex()).toBe(`${answer}a5`);
  });
});

describe("request", () => {
  const NAME = `05 01 00 03 04 612e6263 0050`;
  test.each([
    ["", 5],
    ["05 01 00 01", 5],
    ["05 01 00 01 0a", 10],
    ["05 01 00 03 04", 11],
    ["05 01 00 03 ff", SOCKS_MESSAGE_LIMIT],
    ["05 01 00 04 20", 22],
    ["05 01 00 02 00", 5],
    ["04", 0],
  ])("%s: %i octets", (hex, length) => {
    expect(socksRequestLength(placed(hex), AT, sizeOf(hex))).toBe(length);
  });
  test.each([
    ["05 01 00 01 c0a86801 1f90", { kind: "address", address: 0xc0a86801, port: 8080 }],
    [NAME, { kind: "name", name: "a.bc", port: 80 }],
    ["05 01 77 01 c0a86801 0001", { kind: "address", address: 0xc0a86801, port: 1 }],
    ["05 02 00 01 c0a86801 1f90", { kind: "refuse", reply: "no-such-command" }],
    ["05 03 00 01 c0a86801 1f90", { kind: "refuse", reply: "no-such-command" }],
    [`05 01 00 04 ${"00".repeat(15)}01 0050`, { kind: "refuse", reply: "no-such-address-type" }],
    ["05 01 00 02 00", { kind: "refuse", reply: "no-such-address-type" }],
    ["05 01 00 03 03 3a3a31 0050", { kind: "refuse", reply: "no-such-address-type" }],
    ["05 01 00 01 c0a86801 0000", { kind: "refuse", reply: "not-allowed" }],
    ["05 01 00 03 00 0050", { kind: "refuse", reply: "host-unreachable" }],
    ["05 01 00 03 02 610a 0050", { kind: "refuse", reply: "host-unreachable" }],
    ["05 01 00 03 02 6100 0050", { kind: "refuse", reply: "host-unreachable" }],
    ["05 01 00 03 02 c3a9 0050", { kind: "refuse", reply: "host-unreachable" }],
  ])("%s", (hex, expected) => {
    expect(parseSocksRequest(placed(hex), AT, sizeOf(hex))).toEqual(expected as never);
  });
});

test.each(Object.entries(SOCKS_REPLY) as [SocksReply, number][])("reply %s", (reply, code) => {
  const octets = placed("");
  emitSocksReply(octets, AT, reply);
  expect(octets.slice(AT, AT + 11).toHex()).toBe(`050${code}0001000000000000a5`);
});

test("whatever octets come, lengths stay within the limit and nothing throws (property)", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300, size: "max" }), (noise) => {
      const octets = new Uint8Array(600).fill(0xa5);
      octets.set([5, ...noise], AT);
      for (let have = 0; have <= noise.length; have++) {
        for (const length of [
          socksGreetingLength(octets, AT, have),
          socksRequestLength(octets, AT, have),
        ])
          expect(length).toBeLessThanOrEqual(SOCKS_MESSAGE_LIMIT);
      }
      const length = socksRequestLength(octets, AT, 5);
      expect(["address", "name", "refuse"]).toContain(parseSocksRequest(octets, AT, length).kind);
    }),
  );
});
