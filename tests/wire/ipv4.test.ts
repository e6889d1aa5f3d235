import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { DONT_FRAGMENT, emitIpv4, Ipv4View, PROTOCOL_UDP } from "../../lib/wire/ipv4.ts";
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

describe.each(OFFSETS)("IPv4 at offset %d", (offset) => {
  // 4500+0020+1234+4000+4011+c000+0201+c633+6402 = 2c39b → c39d; its complement is 3c62
  const header = hex(`
    45 00 0020                  # version 4, 5 words; 32 octets in all
    1234 4000                   # identification; don't fragment
    40 11 3c62                  # TTL 64, UDP
    c0000201 c6336402           # 192.0.2.1 to 198.51.100.2
  `);
  /** the header, 12 octets of payload and 8 of link padding */
  const packet = new Uint8Array([...header, ...hex("11".repeat(12) + "00".repeat(8))]);

  const read = (octets: Uint8Array, length = octets.length) => {
    const buf = poisoned(octets, offset);
    const view = new Ipv4View();
    return { view, drop: view.read(buf, offset, offset + length, sumOctetsOf(buf)) };
  };

  test("read() takes the fields, and the packet ends where its own length says", () => {
    const { view, drop } = read(packet);
    expect(drop).toBeUndefined();
    expect(view).toMatchObject({
      start: offset,
      payload: offset + 20,
      end: offset + 32,
      src: 0xc0000201,
      dst: 0xc6336402,
      protocol: 17,
      ttl: 64,
      identification: 0x1234,
      fragmentOffset: 0,
      moreFragments: false,
      dontFragment: true,
    });
  });

  test.each<[string, Changes, object]>([
    // the first word grows by 0100, and the option's 1111 is summed too: 3c62 - 0100 - 1111
    [
      "options are not payload",
      { 0: 0x46, 10: 0x2a, 11: 0x51, 22: 0, 23: 0 },
      { payload: offset + 24, end: offset + 32 },
    ],
    // 4000 becomes 3fff: 3c62 + 1
    [
      "a fragment's offset is in octets",
      { 6: 0x3f, 7: 0xff, 11: 0x63 },
      { fragmentOffset: 65_528, moreFragments: true, dontFragment: false },
    ],
    // 0020 becomes 0014: 3c62 + c
    ["a packet may be empty", { 3: 20, 11: 0x6e }, { payload: offset + 20, end: offset + 20 }],
    // 0020 becomes 0028: 3c62 - 8
    ["a packet may fill the frame", { 3: 40, 11: 0x5a }, { end: offset + 40 }],
  ])("read(): %s", (_what, changes, fields) => {
    const { view, drop } = read(changed(packet, changes));
    expect(drop).toBeUndefined();
    expect(view).toMatchObject(fields);
  });

  test("read() takes a frame of nothing but a header, with options or without", () => {
    expect(read(changed(packet, { 3: 20, 11: 0x6e }), 20).drop).toBeUndefined();
    // the first word grows by 0100, the length shrinks by 8, the option's 1111 1111 is summed too:
    // 3c62 - 0100 + 0008 - 2222
    const withOption = changed(packet, { 0: 0x46, 3: 24, 10: 0x19, 11: 0x48 });
    expect(read(withOption, 24).drop).toBeUndefined();
  });

  test.each<[string, Changes, number, string]>([
    ["19 octets", {}, 19, "ipv4-truncated"],
    ["version 6", { 0: 0x65 }, 40, "ipv4-version"],
    ["a header of 16 octets", { 0: 0x44 }, 40, "ipv4-header-length"],
    ["a header longer than the frame", { 0: 0x4b }, 40, "ipv4-header-length"],
    ["a length below 20 octets", { 3: 19 }, 40, "ipv4-total-length"],
    ["a length below that of a header with options", { 0: 0x46, 3: 23 }, 40, "ipv4-total-length"],
    ["a length beyond the frame", { 3: 41 }, 40, "ipv4-total-length"],
    ["a wrong checksum", { 11: 0x63 }, 40, "ipv4-checksum"],
  ])("read() refuses %s", (_what, changes, length, drop) =>
    expect<string | undefined>(read(changed(packet, changes), length).drop).toBe(drop),
  );

  test("read() refuses a header with any one bit changed", () => {
    for (const octets of bitFlips(header))
      expect(read(new Uint8Array([...octets, ...packet.slice(20)])).drop).toBeDefined();
  });

  test("emitIpv4() writes all 20 octets and returns the offset behind them", () => {
    const repr = {
      src: 0xc0000201,
      dst: 0xc6336402,
      protocol: PROTOCOL_UDP,
      ttl: 64,
      identification: 0x1234,
      fragment: DONT_FRAGMENT,
      payloadLength: 12,
    };
    const octets = emitted(offset, 20, (buf) =>
      expect(emitIpv4(repr, buf, offset)).toBe(offset + 20),
    );
    expect(dump(octets)).toBe(dump(header));
  });

  test("read() takes whatever emitIpv4() makes", () => {
    const repr = fc.record({
      src: fc.nat(0xffffffff),
      dst: fc.nat(0xffffffff),
      protocol: fc.nat(255),
      ttl: fc.nat(255),
      identification: fc.nat(0xffff),
      fragment: fc.nat(0x7fff),
      payloadLength: fc.nat(44),
    });
    fc.assert(
      fc.property(repr, (wanted) => {
        const { fragment, payloadLength, ...same } = wanted;
        const octets = emitted(offset, 20, (buf) => emitIpv4(wanted, buf, offset));
        const { view, drop } = read(new Uint8Array([...octets, ...new Uint8Array(44)]));
        expect(drop).toBeUndefined();
        expect(view).toMatchObject({
          ...same,
          end: offset + 20 + payloadLength,
          fragmentOffset: (fragment % 0x2000) * 8,
          moreFragments: (fragment & 0x2000) > 0,
          dontFragment: (fragment & 0x4000) > 0,
        });
      }),
    );
  });
});
