import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Ipv6Upper } from "../../lib/wire/ipv6.ts";
import { hex, OFFSETS, poisoned } from "../support/octets.ts";

/** a packet: what its header says comes next, and that */
const packet = (next: string, behind: string) =>
  hex(`60000000 0000 ${next} ff ${"fe80".padEnd(32, "0")} ${"ff02".padEnd(32, "0")} ${behind}`);

describe.each(OFFSETS)("IPv6 at offset %d", (offset) => {
  const find = (octets: Uint8Array, length = octets.length) => {
    const upper = new Ipv6Upper();
    const drop = upper.find(poisoned(octets, offset), offset, offset + length);
    return drop ?? `${upper.protocol} at ${upper.at - offset}`;
  };

  test.each<[string, string, string, string]>([
    ["ICMPv6", "3a", "86000000", "58 at 40"],
    ["nothing (no next header)", "3b", "", "59 at 40"],
    ["hop-by-hop options", "00", "3a 00 050200000100 86", "58 at 48"],
    ["options of 16 octets", "3c", `11 01 ${"00".repeat(14)}`, "17 at 56"],
    ["a routing header", "2b", "06 00 000000000000", "6 at 48"],
    ["mobility", "87", "3a 00 000000000000", "58 at 48"],
    // RFC 4302 2.2: 4 words of 32 bits, less two
    ["authentication", "33", `3a 04 ${"00".repeat(22)}`, "58 at 64"],
    ["a first fragment", "2c", "3a 00 0001 00000007 86", "58 at 48"],
    ["a fragment's length field, which is reserved", "2c", "3a ff 0001 00000007 86", "58 at 48"],
    ["a later fragment", "2c", "3a 00 0008 00000007", "-1 at 40"],
    ["a payload that nobody may look into (ESP)", "32", "00000000", "50 at 40"],
    ["eight headers", "3c", `${"3c00000000000000".repeat(7)} 3a00000000000000`, "58 at 104"],
    ["nine headers", "3c", "3c00000000000000".repeat(9), "ipv6-header-chain"],
    ["a header that is cut off", "3c", "3a 00 0000000000", "ipv6-header-chain"],
    ["a header longer than the packet", "3c", "3a ff 000000000000", "ipv6-header-chain"],
    ["a chain that goes on in the next fragment", "2c", "3c 00 0001 00000007", "ipv6-header-chain"],
  ])("find() passes %s", (_what, next, behind, expected) => {
    expect<string>(find(packet(next, behind))).toBe(expected);
  });

  test("find() refuses what is no packet", () => {
    expect(find(packet("3a", ""), 39)).toBe("ipv6-truncated");
    const other = packet("3a", "");
    other[0] = 0x45;
    expect(find(other)).toBe("ipv6-version");
  });

  test("find() stays inside of any octets", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom("00", "2b", "2c", "33", "3c"),
        (octets, next) => {
          const whole = packet(next, Buffer.from(octets).toString("hex"));
          const upper = new Ipv6Upper();
          if (upper.find(poisoned(whole, offset), offset, offset + whole.length) === undefined)
            expect(upper.at).toBeLessThanOrEqual(offset + whole.length);
        },
      ),
    );
  });
});
