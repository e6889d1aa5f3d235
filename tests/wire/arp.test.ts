import { describe, expect, test } from "bun:test";
import {
  ARP_REPLY,
  arpOperation,
  arpSha,
  arpSpa,
  arpTpa,
  checkArp,
  emitArp,
} from "../../lib/wire/arp.ts";
import { changed, dump, emitted, hex, OFFSETS, poisoned, type Changes } from "../support/octets.ts";

describe.each(OFFSETS)("ARP at offset %d", (offset) => {
  const reply = hex(`
    0001 0800 06 04 0002          # Ethernet, IPv4, reply
    5a94efe40cdd c0a80502         # sender: 192.168.5.2
    525555000001 c0a8050f         # target: 192.168.5.15
  `);

  test("the accessors read operation, sender and target", () => {
    const buf = poisoned(reply, offset);
    expect([
      arpOperation(buf, offset),
      arpSha(buf, offset),
      arpSpa(buf, offset),
      arpTpa(buf, offset),
    ]).toEqual([ARP_REPLY, 0x5a94efe40cdd, 0xc0a80502, 0xc0a8050f]);
  });

  test("emitArp() writes all 28 octets and returns the offset behind them", () => {
    const octets = emitted(offset, 28, (buf) =>
      expect(
        emitArp(buf, offset, ARP_REPLY, 0x5a94efe40cdd, 0xc0a80502, 0x525555000001, 0xc0a8050f),
      ).toBe(offset + 28),
    );
    expect(dump(octets)).toBe(dump(reply));
  });

  test.each<[string, number, Changes, string | undefined]>([
    ["takes a packet", 28, {}, undefined],
    ["takes a packet with link padding", 46, {}, undefined],
    ["refuses one octet less", 27, {}, "arp-truncated"],
    ["refuses nothing at all", 0, {}, "arp-truncated"],
    ["refuses another hardware", 28, { 1: 6 }, "arp-form"],
    ["refuses another protocol", 28, { 2: 0x86 }, "arp-form"],
    ["refuses another hardware address length", 28, { 4: 8 }, "arp-form"],
    ["refuses another protocol address length", 28, { 5: 16 }, "arp-form"],
  ])("checkArp() %s", (_what, length, changes, drop) => {
    const buf = poisoned(changed(reply, changes), offset);
    expect<string | undefined>(checkArp(buf, offset, offset + length)).toBe(drop);
  });
});
