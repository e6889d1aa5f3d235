/** Echo on sockets that hear others too: which packets are whose, from octets and from the kernel's own raw sockets. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { exchangeIdentifier, readEchoArrival } from "../../lib/host/echo-socket.ts";

const ID = 0x1234;
/** an IPv4 header of 192.0.2.7, with options where asked */
const ip = (protocol: number, words = 5) => [
  ...[0x40 | words, 0, 0, 0, 0, 0, 0, 0],
  ...[57, protocol, 0, 0, 192, 0, 2, 7, 127, 0, 0, 1],
  ...Array<number>(Math.max(0, words - 5) * 4).fill(0),
];
const echo = (type: number, id = ID) => [type, 0, 0, 0, id >> 8, id & 0xff, 0, 9, 0xaa];
const error = (type: number, code: number, mtu = 0) => [
  ...[type, code, 0, 0, 0, 0, mtu >> 8, mtu & 0xff],
];
const FROM = 0xc0000207;

test.each<[string, number[], unknown]>([
  ["our reply", [...ip(1), ...echo(0)], { kind: "reply", at: 20, ttl: 57 }],
  ["our reply behind options", [...ip(1, 7), ...echo(0)], { kind: "reply", at: 28, ttl: 57 }],
  ["another's reply", [...ip(1), ...echo(0, 1)], { kind: "foreign" }],
  ["a request", [...ip(1), ...echo(8)], { kind: "foreign" }],
  ["no ICMP", [...ip(17), ...echo(0)], { kind: "foreign" }],
  ["IPv6", [0x60, ...ip(1).slice(1), ...echo(0)], { kind: "foreign" }],
  ["a header length that cannot be", [...ip(1, 4), ...echo(0)], { kind: "foreign" }],
  ["a packet cut short", [...ip(1), ...echo(0).slice(0, 7)], { kind: "foreign" }],
  [
    "time exceeded about ours",
    [...ip(1), ...error(11, 0), ...ip(1), ...echo(8)],
    { kind: "error", at: 48, type: 11, code: 0, info: 0, from: FROM },
  ],
  [
    "fragmentation needed about ours",
    [...ip(1), ...error(3, 4, 1400), ...ip(1), ...echo(8)],
    { kind: "error", at: 48, type: 3, code: 4, info: 1400, from: FROM },
  ],
  [
    "host unreachable about another's",
    [...ip(1), ...error(3, 1), ...ip(1), ...echo(8, 7)],
    { kind: "foreign" },
  ],
  ["an error about UDP", [...ip(1), ...error(3, 3), ...ip(17), ...echo(8)], { kind: "foreign" }],
  ["an error that quotes little", [...ip(1), ...error(3, 3), ...ip(1)], { kind: "foreign" }],
])("%s", (_what, octets, expected) => {
  expect<unknown>(readEchoArrival(Uint8Array.from(octets), 0, octets.length, ID)).toEqual(expected);
});

/** RFC 1071 over a message of even length */
function sumOf(octets: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < octets.length; i += 2) sum += (octets[i]! << 8) | octets[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

test("an exchanged identifier leaves the checksum right, and exchanged back the octets as they were", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      fc.integer({ min: 0, max: 0xffff }),
      (payload, identifier) => {
        const octets = Uint8Array.from([8, 0, 0, 0, ...payload]);
        const sum = ~sumOf(octets) & 0xffff;
        octets[2] = sum >> 8;
        octets[3] = sum & 0xff;
        const before = octets.slice();
        const own = exchangeIdentifier(octets, 0, identifier);
        expect((octets[4]! << 8) | octets[5]!).toBe(identifier);
        expect(sumOf(octets)).toBe(0xffff);
        exchangeIdentifier(octets, 0, own);
        expect(octets).toEqual(before);
      },
    ),
  );
});

describe("readEchoArrival()", () => {
  test("takes any octets", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (octets) => {
        const arrival = readEchoArrival(octets, 0, octets.length, ID);
        if (arrival.kind !== "foreign") expect(arrival.at + 8).toBeLessThanOrEqual(octets.length);
      }),
    );
  });
});
