import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { checkUdp, emitUdp, udpDstPort, udpLength, udpSrcPort } from "../../lib/wire/udp.ts";
import {
  bitFlips,
  changed,
  dump,
  emitted,
  hex,
  OFFSETS,
  poisoned,
  type Changes,
} from "../support/octets.ts";

const SRC = 0xc0000201; // 192.0.2.1
const DST = 0xc6336402; // 198.51.100.2

describe.each(OFFSETS)("UDP at offset %d", (offset) => {
  // pseudo header c000+0201+c633+6402+0011+000b = 1ec52 → ec53;
  // ec53+03e8+0035+000b+6869+2100 = 179e4 → 79e5; its complement is 861a
  const datagram = hex("03e8 0035 000b 861a 686921");
  const check = (octets: Uint8Array, length = octets.length, src = SRC, dst = DST) => {
    const buf = poisoned(octets, offset);
    return checkUdp(buf, offset, offset + length, src, dst, sumOctetsOf(buf));
  };

  test("the accessors read ports and length", () => {
    const buf = poisoned(datagram, offset);
    expect([udpSrcPort(buf, offset), udpDstPort(buf, offset), udpLength(buf, offset)]).toEqual([
      1000, 53, 11,
    ]);
  });

  test.each<[string, Changes, number, string | undefined]>([
    ["takes a datagram", {}, 11, undefined],
    ["takes a datagram without a checksum", { 6: 0, 7: 0 }, 11, undefined],
    ["takes a datagram with octets behind it", {}, 14, undefined],
    ["refuses 7 octets", {}, 7, "udp-truncated"],
    ["refuses a length below 8", { 5: 7 }, 11, "udp-length"],
    ["refuses a length beyond the packet", { 5: 12 }, 11, "udp-length"],
    [
      "refuses a length beyond the packet, also without a checksum",
      { 4: 1, 6: 0, 7: 0 },
      11,
      "udp-length",
    ],
    ["refuses another payload than was summed", { 8: 0x69 }, 11, "udp-checksum"],
    ["refuses another port than was summed", { 1: 0xe9 }, 11, "udp-checksum"],
  ])("checkUdp() %s", (_what, changes, length, drop) =>
    expect<string | undefined>(check(changed(datagram, changes), length)).toBe(drop),
  );

  test("checkUdp() refuses other addresses than were summed", () => {
    expect(check(datagram, 11, SRC + 1)).toBe("udp-checksum");
    expect(check(datagram, 11, SRC, DST + 0x10000)).toBe("udp-checksum");
  });

  test("checkUdp() refuses a datagram with any one bit changed", () => {
    for (const octets of bitFlips(datagram)) expect(check(octets)).toBeDefined();
  });

  test("emitUdp() writes the header in front of a payload that stands there already", () => {
    const octets = emitted(offset, 11, (buf) => {
      buf.set(hex("686921"), offset + 8);
      emitUdp(buf, offset, SRC, DST, 1000, 53, 3, sumOctetsOf(buf));
    });
    expect(dump(octets)).toBe(dump(datagram));
  });

  // between 0.0.0.0:0 and itself, 2 octets of payload: 0011 + 000a + 000a = 0025 without the payload
  test.each([
    ["ffd9", "0001"],
    ["ffda", "ffff"], // RFC 768: zero is sent as all ones
    ["ffdb", "fffe"],
  ])("emitUdp() with the payload %s has the checksum %s", (payload, checksum) => {
    const octets = emitted(offset, 10, (buf) => {
      buf.set(hex(payload), offset + 8);
      emitUdp(buf, offset, 0, 0, 0, 0, 2, sumOctetsOf(buf));
    });
    expect(dump(octets)).toBe(`00000000000a${checksum}${payload}`);
    expect(check(octets, 10, 0, 0)).toBeUndefined();
  });

  test("checkUdp() takes whatever emitUdp() makes", () => {
    const port = fc.nat(0xffff);
    const address = fc.nat(0xffffffff);
    fc.assert(
      fc.property(
        address,
        address,
        port,
        port,
        fc.uint8Array({ maxLength: 40, size: "max" }),
        (src, dst, from, to, payload) => {
          const octets = emitted(offset, 8 + payload.length, (buf) => {
            buf.set(payload, offset + 8);
            emitUdp(buf, offset, src, dst, from, to, payload.length, sumOctetsOf(buf));
          });
          expect(check(octets, octets.length, src, dst)).toBeUndefined();
          expect([udpSrcPort(octets, 0), udpDstPort(octets, 0)]).toEqual([from, to]);
        },
      ),
    );
  });
});
