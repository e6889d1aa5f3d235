import { describe, expect, test } from "bun:test";
import {
  destinationMac,
  emitEthernet,
  ETHERTYPE_ARP,
  etherType,
  sourceMac,
} from "../../lib/wire/ethernet.ts";
import { dump, emitted, hex, OFFSETS, poisoned } from "../support/octets.ts";

describe.each(OFFSETS)("Ethernet at offset %d", (offset) => {
  const header = hex("5a94efe40cdd 525555000001 0806");

  test("the accessors read destination, source and type", () => {
    const buf = poisoned(header, offset);
    expect([destinationMac(buf, offset), sourceMac(buf, offset), etherType(buf, offset)]).toEqual([
      0x5a94efe40cdd, 0x525555000001, 0x0806,
    ]);
  });

  test("emitEthernet() writes all 14 octets and returns the offset behind them", () => {
    const octets = emitted(offset, 14, (buf) =>
      expect(emitEthernet(buf, offset, 0x5a94efe40cdd, 0x525555000001, ETHERTYPE_ARP)).toBe(
        offset + 14,
      ),
    );
    expect(dump(octets)).toBe(dump(header));
  });
});
