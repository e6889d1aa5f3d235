/** Ethernet, ARP, IPv4, ICMP, UDP, TCP: each at two offsets of a poisoned buffer. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  ARP_REPLY,
  arpOperation,
  arpSha,
  arpSpa,
  arpTpa,
  checkArp,
  emitArp,
} from "../../lib/wire/arp.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { destinationMac, emitEthernet, etherType, sourceMac } from "../../lib/wire/ethernet.ts";
import { checkIcmp, echoIdentifier, emitIcmp, icmpRest, icmpType } from "../../lib/wire/icmpv4.ts";
import { emitIpv4, Ipv4View, type Ipv4Repr } from "../../lib/wire/ipv4.ts";
import { put16, put32, put48, u16, u32, u48 } from "../../lib/wire/octets.ts";
import { TcpView } from "../../lib/wire/tcp.ts";
import { checkUdp, emitUdp, udpDstPort, udpLength, udpSrcPort } from "../../lib/wire/udp.ts";
import { dump, hex, OFFSETS, poisoned } from "../support/octets.ts";

const at = describe.each(OFFSETS);
const SRC = 0xc0000201; // 192.0.2.1
const DST = 0xc6336402; // 198.51.100.2

at("octets at offset %d", (offset) => {
  test("what is put is read again, and nothing beside it is touched", () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(0xffffffff), fc.nat(2 ** 48 - 1), (a, b, c) => {
        const buf = new Uint8Array(offset + 16).fill(0xa5);
        put16(buf, offset, a);
        put32(buf, offset + 2, b);
        put48(buf, offset + 6, c);
        expect([u16(buf, offset), u32(buf, offset + 2), u48(buf, offset + 6)]).toEqual([a, b, c]);
        expect(buf.slice(offset + 12).every((octet) => octet === 0xa5)).toBe(true);
      }),
    );
  });
});

at("Ethernet at offset %d", (offset) => {
  const frame = hex("ffffffffffff 525555000001 0806");
  test("fields", () => {
    const buf = poisoned(frame, offset);
    expect([destinationMac(buf, offset), sourceMac(buf, offset), etherType(buf, offset)]).toEqual([
      0xffffffffffff, 0x525555000001, 0x0806,
    ]);
  });
  test("emitEthernet() writes all 14 octets and no more", () => {
    const buf = new Uint8Array(offset + 20).fill(0xa5);
    expect(emitEthernet(buf, offset, 0xffffffffffff, 0x525555000001, 0x0806)).toBe(offset + 14);
    expect(dump(buf.slice(offset))).toBe(`${dump(frame)}a5a5a5a5a5a5`);
  });
});

at("ARP at offset %d", (offset) => {
  const reply = hex(`
    0001 0800 06 04 0002          # Ethernet, IPv4, reply
    5a94efe40cdd c0a80502         # sender
    525555000001 c0a8050f         # target
  `);
  test("fields", () => {
    const buf = poisoned(reply, offset);
    expect(checkArp(buf, offset, offset + 28)).toBeUndefined();
    expect([
      arpOperation(buf, offset),
      arpSha(buf, offset),
      arpSpa(buf, offset),
      arpTpa(buf, offset),
    ]).toEqual([ARP_REPLY, 0x5a94efe40cdd, 0xc0a80502, 0xc0a8050f]);
  });
  test("emitArp() writes all 28 octets and no more", () => {
    const buf = new Uint8Array(offset + 30).fill(0xa5);
    expect(emitArp(buf, offset, 2, 0x5a94efe40cdd, 0xc0a80502, 0x525555000001, 0xc0a8050f)).toBe(
      offset + 28,
    );
    expect(dump(buf.slice(offset))).toBe(`${dump(reply)}a5a5`);
  });
  test.each([
    ["one octet short", 27, {}, "arp-truncated"],
    ["another hardware", 28, { 1: 6 }, "arp-form"],
    ["another protocol", 28, { 2: 0x86 }, "arp-form"],
    ["another address length", 28, { 4: 8 }, "arp-form"],
    ["another protocol length", 28, { 5: 16 }, "arp-form"],
  ])("checkArp() refuses %s", (_what, length, changes, drop) => {
    const buf = poisoned(reply, offset);
    for (const [index, octet] of Object.entries(changes)) buf[offset + Number(index)] = octet;
    expect<string | undefined>(checkArp(buf, offset, offset + length)).toBe(drop);
  });
});

at("IPv4 at offset %d", (offset) => {
  // RFC 791 header with every field of its own; checksum worked out by hand below by the sum of RFC 1071
  const header = () => {
    const octets = hex(`
      45 00 0020                  # version 4, 5 words; 32 octets in all
      1234 4000                   # identification; don't fragment
      40 11 0000                  # TTL 64, UDP
      c0000201 c6336402           # 192.0.2.1 to 198.51.100.2
    `);
    // 4500+0020+1234+4000+4011+c000+0201+c633+6402 = 2 a3 9b → 0xc39d after folding; its complement
    const sum = sumOctetsOf(octets)(0, 20);
    put16(octets, 10, ~sum & 0xffff);
    return octets;
  };
  const packet = (changes: Record<number, number> = {}, fix = true) => {
    const octets = new Uint8Array(40).fill(0x77);
    octets.set(header());
    for (const [index, octet] of Object.entries(changes)) octets[Number(index)] = octet;
    if (fix) {
      const length = Math.max(20, (octets[0]! & 15) * 4);
      put16(octets, 10, 0);
      put16(octets, 10, ~sumOctetsOf(octets)(0, Math.min(length, 40)) & 0xffff);
    }
    return octets;
  };
  const read = (octets: Uint8Array, length = octets.length) => {
    const buf = poisoned(octets, offset);
    const view = new Ipv4View();
    return { view, drop: view.read(buf, offset, offset + length, sumOctetsOf(buf)) };
  };

  test("read() takes the fields, and the packet ends where its own length says", () => {
    const { view, drop } = read(packet());
    expect(drop).toBeUndefined();
    expect<object>(Object.assign({}, view)).toEqual({
      start: offset,
      payload: offset + 20,
      end: offset + 32,
      src: SRC,
      dst: DST,
      protocol: 17,
      ttl: 64,
      identification: 0x1234,
      fragmentOffset: 0,
      moreFragments: false,
      dontFragment: true,
    });
  });
  test("read() leaves options out of the payload", () => {
    const { view, drop } = read(packet({ 0: 0x46 }));
    expect(drop).toBeUndefined();
    expect(view.payload).toBe(offset + 24);
  });
  test("read() gives the fragment offset in octets", () => {
    const { view } = read(packet({ 6: 0x20 | 0x1f, 7: 0xff }));
    expect([view.fragmentOffset, view.moreFragments, view.dontFragment]).toEqual([
      0x1fff * 8,
      true,
      false,
    ]);
  });
  test.each<[string, Record<number, number>, number, string]>([
    ["19 octets", {}, 19, "ipv4-truncated"],
    ["version 6", { 0: 0x65 }, 40, "ipv4-version"],
    ["a header of 16 octets", { 0: 0x44 }, 40, "ipv4-header-length"],
    ["a header longer than the frame", { 0: 0x4f }, 40, "ipv4-header-length"],
    ["a length below the header's", { 3: 19 }, 40, "ipv4-total-length"],
    ["a length beyond the frame", { 3: 41 }, 40, "ipv4-total-length"],
  ])("read() refuses %s", (_what, changes, length, reason) => {
    expect<string | undefined>(read(packet(changes), length).drop).toBe(reason);
  });
  test("read() refuses any single octet of the header that is not what was summed", () => {
    for (let index = 0; index < 20; index++) {
      const octets = packet();
      octets[index]! ^= 0x10;
      expect(read(octets).drop).toBeDefined();
    }
  });
  test("emitIpv4() writes what read() takes, all 20 octets of it", () => {
    const repr: fc.Arbitrary<Ipv4Repr> = fc.record({
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
        const buf = new Uint8Array(offset + 80).fill(0xa5);
        expect(emitIpv4(wanted, buf, offset)).toBe(offset + 20);
        const view = new Ipv4View();
        expect(view.read(buf, offset, buf.length, sumOctetsOf(buf))).toBeUndefined();
        expect(view).toMatchObject({
          src: wanted.src,
          dst: wanted.dst,
          protocol: wanted.protocol,
          ttl: wanted.ttl,
          identification: wanted.identification,
          end: offset + 20 + wanted.payloadLength,
          fragmentOffset: (wanted.fragment & 0x1fff) * 8,
        });
        expect(buf[offset + 20]).toBe(0xa5);
      }),
    );
  });
});

at("ICMP at offset %d", (offset) => {
  test("emitIcmp() makes an echo request that checkIcmp() takes; a changed octet is refused", () => {
    const buf = new Uint8Array(offset + 40).fill(0xa5);
    const sum = sumOctetsOf(buf);
    emitIcmp(buf, offset, 8, 0, 0x12340007, 5, sum);
    expect([icmpType(buf, offset), echoIdentifier(buf, offset), icmpRest(buf, offset)]).toEqual([
      8, 0x1234, 0x12340007,
    ]);
    expect(checkIcmp(offset, offset + 13, sum)).toBeUndefined();
    expect(checkIcmp(offset, offset + 7, sum)).toBe("icmp-truncated");
    buf[offset + 9]! ^= 1;
    expect(checkIcmp(offset, offset + 13, sum)).toBe("icmp-checksum");
  });
});

at("UDP at offset %d", (offset) => {
  // 192.0.2.1:1000 → 198.51.100.2:53, payload "hi!": pseudo header ec53 + 03e8 + 0035 + 000b + 6869 + 2100, complement
  const datagram = hex("03e8 0035 000b 0000 686921");
  const make = () => {
    const buf = poisoned(datagram, offset);
    emitUdp(buf, offset, SRC, DST, 1000, 53, 3, sumOctetsOf(buf));
    return buf;
  };
  const check = (buf: Uint8Array, length = 11) =>
    checkUdp(buf, offset, offset + length, SRC, DST, sumOctetsOf(buf));

  test("emitUdp() writes header and checksum, and leaves the payload", () => {
    const buf = make();
    expect([udpSrcPort(buf, offset), udpDstPort(buf, offset), udpLength(buf, offset)]).toEqual([
      1000, 53, 11,
    ]);
    // c000+0201+c633+6402+0011+000b = ec53; +03e8+0035+000b+6869+2100 = 179e4 → 79e5; complement 861a
    expect(dump(buf.slice(offset, offset + 11))).toBe("03e80035000b861a686921");
    expect(check(buf)).toBeUndefined();
  });
  test("checkUdp() takes a datagram without a checksum", () => {
    expect(check(poisoned(datagram, offset))).toBeUndefined();
  });
  test("a checksum that works out as zero is sent as all ones (RFC 768)", () => {
    const buf = new Uint8Array(offset + 10).fill(0);
    put16(buf, offset + 8, 0);
    // the payload that makes the sum 0xffff: found by trying all
    for (let word = 0; word <= 0xffff; word++) {
      put16(buf, offset + 8, word);
      emitUdp(buf, offset, 0, 0, 0, 0, 2, sumOctetsOf(buf));
      expect(u16(buf, offset + 6)).not.toBe(0);
    }
  });
  test.each<[string, Record<number, number>, number, string]>([
    ["7 octets", {}, 7, "udp-truncated"],
    ["a length below 8", { 5: 7 }, 11, "udp-length"],
    ["a length beyond the packet", { 5: 12 }, 11, "udp-length"],
    ["another payload than was summed", { 8: 0x69 }, 11, "udp-checksum"],
    ["another port than was summed", { 1: 0xe9 }, 11, "udp-checksum"],
  ])("checkUdp() refuses %s", (_what, changes, length, drop) => {
    const buf = make();
    for (const [index, octet] of Object.entries(changes)) buf[offset + Number(index)] = octet;
    expect<string | undefined>(check(buf, length)).toBe(drop);
  });
});

at("TCP at offset %d", (offset) => {
  const segment = (header: string, payload = "") => {
    const octets = new Uint8Array([...hex(header), ...hex(payload)]);
    put16(octets, 16, 0);
    const length = octets.length;
    const pseudo = 0xc000 + 0x0201 + 0xc633 + 0x6402 + 6 + length;
    let sum = pseudo + sumOctetsOf(octets)(0, length);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    put16(octets, 16, ~sum & 0xffff);
    return octets;
  };
  const read = (octets: Uint8Array, length = octets.length) => {
    const buf = poisoned(octets, offset);
    const view = new TcpView();
    return { view, drop: view.read(buf, offset, offset + length, SRC, DST, sumOctetsOf(buf)) };
  };
  const FIXED = "9c40 0050 89abcdef 01234567";

  test("read() takes the fields of a segment without options", () => {
    const { view, drop } = read(segment(`${FIXED} 5018 1000 0000 0000`, "616263"));
    expect(drop).toBeUndefined();
    expect(view).toMatchObject({
      srcPort: 40_000,
      dstPort: 80,
      seq: 0x89abcdef,
      ack: 0x01234567,
      flags: 0x18,
      window: 4096,
      payload: offset + 20,
      end: offset + 23,
      payloadLength: 3,
      sequenceLength: 3,
      mss: 0,
      windowScale: -1,
      sackPermitted: false,
      hasTimestamps: false,
      sackCount: 0,
    });
  });
  test("SYN and FIN count one octet each of sequence space", () => {
    expect(read(segment(`${FIXED} 5003 1000 0000 0000`, "61")).view.sequenceLength).toBe(3);
  });
  test("read() takes the options of a Linux SYN", () => {
    const { view } = read(
      segment(`${FIXED} a002 faf0 0000 0000  020405b4 0402 080a 00000064 00000000 01 030307`),
    );
    expect(view).toMatchObject({
      mss: 1460,
      sackPermitted: true,
      hasTimestamps: true,
      tsVal: 100,
      tsEcr: 0,
      windowScale: 7,
    });
  });
  test("read() takes timestamps alone, in the layout of RFC 7323 appendix A", () => {
    const { view } = read(segment(`${FIXED} 8010 0100 0000 0000  0101 080a 000000ff ffffffff`));
    expect(view).toMatchObject({ hasTimestamps: true, tsVal: 255, tsEcr: 0xffffffff });
  });
  test("read() takes SACK blocks", () => {
    const { view } = read(
      segment(`${FIXED} a010 0100 0000 0000  0101 0512 00000001 00000002 80000000 80000001`),
    );
    expect([view.sackCount, view.sackStarts[0]! >>> 0, view.sackEnds[1]! >>> 0]).toEqual([
      2, 1, 0x80000001,
    ]);
  });
  test("a window shift above 14 counts as 14 (RFC 7323 2.3), and unknown options are skipped", () => {
    const { view } = read(segment(`${FIXED} 7002 0100 0000 0000  fe04 abcd 030363 00`));
    expect(view.windowScale).toBe(14);
  });
  test("a view that is used again forgets what it held", () => {
    const view = new TcpView();
    const first = segment(
      `${FIXED} a002 faf0 0000 0000  020405b4 0402 080a 00000064 00000000 01 030307`,
    );
    view.read(first, 0, first.length, SRC, DST, sumOctetsOf(first));
    const second = segment(`${FIXED} 5010 0001 0000 0000`);
    view.read(second, 0, second.length, SRC, DST, sumOctetsOf(second));
    expect(view).toMatchObject({
      mss: 0,
      windowScale: -1,
      sackPermitted: false,
      hasTimestamps: false,
    });
  });
  test.each([
    ["19 octets", segment(`${FIXED} 5010 0001 0000 0000`), 19, "tcp-truncated"],
    ["a header below 20 octets", segment(`${FIXED} 4010 0001 0000 0000`), 20, "tcp-header-length"],
    [
      "a header beyond the segment",
      segment(`${FIXED} 6010 0001 0000 0000`),
      20,
      "tcp-header-length",
    ],
    [
      "an option without its length",
      segment(`${FIXED} 6010 0001 0000 0000  010101 02`),
      24,
      "tcp-option",
    ],
    ["an option of length 0", segment(`${FIXED} 6010 0001 0000 0000  0200 0000`), 24, "tcp-option"],
    [
      "an option beyond the header",
      segment(`${FIXED} 6010 0001 0000 0000  0101 0205`),
      24,
      "tcp-option",
    ],
  ])("read() refuses %s", (_what, octets, length, drop) => {
    expect<string | undefined>(read(octets, length).drop).toBe(drop);
  });
  test("read() refuses a segment with any one bit changed", () => {
    const whole = segment(`${FIXED} 5018 1000 0000 0000`, "616263");
    for (let index = 0; index < whole.length; index++) {
      const changed = whole.slice();
      changed[index]! ^= 4;
      expect(read(changed).drop).toBeDefined();
    }
  });
  test("read() of anything never throws and never looks beyond the end", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (octets) => {
        const buf = poisoned(octets, offset);
        const view = new TcpView();
        // a sum that is always right, so that the options are reached
        const drop = view.read(
          buf,
          offset,
          offset + octets.length,
          0,
          0,
          () => 0xffff - 6 - octets.length,
        );
        if (drop === undefined) expect(view.payload).toBeLessThanOrEqual(view.end);
      }),
      { numRuns: 2000 },
    );
  });
});
