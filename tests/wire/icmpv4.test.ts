import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import {
  ADMINISTRATIVELY_PROHIBITED,
  checkIcmp,
  DESTINATION_UNREACHABLE,
  ECHO_REPLY,
  ECHO_REQUEST,
  echoIdentifier,
  emitIcmp,
  HOST_UNREACHABLE,
  icmpRest,
  icmpType,
  PORT_UNREACHABLE,
  TIME_EXCEEDED,
} from "../../lib/wire/icmpv4.ts";
import { bitFlips, dump, emitted, hex, OFFSETS, poisoned } from "../support/octets.ts";

describe.each(OFFSETS)("ICMP at offset %d", (offset) => {
  // 0800+1234+0007+6162+6364+6500 = 14401 → 4402; its complement is bbfd
  const echo = hex(`
    08 00 bbfd                  # echo request
    1234 0007                   # identifier, sequence number
    6162636465                  # an odd number of octets
  `);
  const check = (octets: Uint8Array, length = octets.length) =>
    checkIcmp(offset, offset + length, sumOctetsOf(poisoned(octets, offset)));

  test("the accessors read type, identifier and the second word", () => {
    const buf = poisoned(echo, offset);
    expect([icmpType(buf, offset), echoIdentifier(buf, offset), icmpRest(buf, offset)]).toEqual([
      8, 0x1234, 0x12340007,
    ]);
  });

  test("checkIcmp() takes a message, and refuses it with any one bit changed", () => {
    expect(check(echo)).toBeUndefined();
    for (const octets of bitFlips(echo)) expect(check(octets)).toBe("icmp-checksum");
  });

  test("checkIcmp() refuses 7 octets, and takes 8 (type 8 alone sums up to f7ff)", () => {
    expect(check(hex("0800 f7ff 0000 00"))).toBe("icmp-truncated");
    expect(check(hex("0800 f7ff 0000 0000"))).toBeUndefined();
  });

  test("emitIcmp() writes the header in front of a body that stands there already", () => {
    const octets = emitted(offset, echo.length, (buf) => {
      buf.set(hex("6162636465"), offset + 8);
      emitIcmp(buf, offset, ECHO_REQUEST, 0, 0x12340007, 5, sumOctetsOf(buf));
    });
    expect(dump(octets)).toBe(dump(echo));
  });

  // the message is its header: the complement of the first word is the checksum
  test.each([
    ["an echo reply", ECHO_REPLY, 0, "0000ffff"],
    ["an unreachable host", DESTINATION_UNREACHABLE, HOST_UNREACHABLE, "0301fcfe"],
    ["an unreachable port", DESTINATION_UNREACHABLE, PORT_UNREACHABLE, "0303fcfc"],
    ["a refusal (RFC 1812)", DESTINATION_UNREACHABLE, ADMINISTRATIVELY_PROHIBITED, "030dfcf2"],
    ["an exceeded time to live", TIME_EXCEEDED, 0, "0b00f4ff"],
  ])("emitIcmp() writes the numbers of %s", (_what, type, code, text) => {
    const octets = emitted(offset, 8, (buf) =>
      emitIcmp(buf, offset, type, code, 0, 0, sumOctetsOf(buf)),
    );
    expect(dump(octets)).toBe(`${text}00000000`);
  });

  test("checkIcmp() takes whatever emitIcmp() makes", () => {
    fc.assert(
      fc.property(
        fc.nat(255),
        fc.nat(255),
        fc.nat(0xffffffff),
        fc.uint8Array({ maxLength: 40, size: "max" }),
        (type, code, rest, body) => {
          const octets = emitted(offset, 8 + body.length, (buf) => {
            buf.set(body, offset + 8);
            emitIcmp(buf, offset, type, code, rest, body.length, sumOctetsOf(buf));
          });
          expect(check(octets)).toBeUndefined();
          expect([octets[0], octets[1], icmpRest(octets, 0)]).toEqual([type, code, rest]);
        },
      ),
    );
  });
});
