import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fold, sumOctetsOf } from "../../lib/wire/checksum.ts";
import { ACK, FIN, PSH, RST, SYN, TcpView } from "../../lib/wire/tcp.ts";
import { bitFlips, changed, hex, OFFSETS, poisoned, type Changes } from "../support/octets.ts";

const SRC = 0xc0000201; // 192.0.2.1
const DST = 0xc6336402; // 198.51.100.2
/** ports 40000 and 80, sequence and acknowledgement number */
const FIXED = "9c40 0050 89abcdef 01234567";
const SYN_OF_LINUX = `${FIXED} a002 faf0 0000 0000
  020405b4                      # MSS 1460
  0402                          # SACK permitted
  080a 00000064 00000000        # timestamps
  01 030307                     # window scale 7`;

/** A segment from SRC to DST with the checksum put in; the sums themselves are proven in checksum.test.ts. */
function segment(text: string): Uint8Array {
  const octets = hex(text);
  // c000 + 0201 + c633 + 6402 + 0006 = 1ec3c
  const sum = fold(0x1ec3c + octets.length + sumOctetsOf(octets)(0, octets.length));
  return changed(octets, { 16: ~sum >>> 8, 17: ~sum });
}

describe.each(OFFSETS)("TCP at offset %d", (offset) => {
  const read = (octets: Uint8Array, length = octets.length, view = new TcpView()) => {
    const buf = poisoned(octets, offset);
    return { view, drop: view.read(buf, offset, offset + length, SRC, DST, sumOctetsOf(buf)) };
  };
  const NOTHING_SAID = {
    mss: 0,
    windowScale: -1,
    sackPermitted: false,
    hasTimestamps: false,
    sackCount: 0,
  };
  // pseudo header c000+0201+c633+6402+0006+0017 = 1ec53; 9c40+0050+89ab+cdef+0123+4567+5018+1000+6162+6300 = 35f2e;
  // together 54b81 → 4b86; the complement is b479
  const push = hex(`${FIXED} 5018 1000 b479 0000  616263`);

  test("read() takes the fields of a segment without options", () => {
    const { view, drop } = read(push);
    expect(drop).toBeUndefined();
    expect(view).toMatchObject({
      srcPort: 40_000,
      dstPort: 80,
      seq: 0x89abcdef | 0,
      ack: 0x01234567,
      flags: 0x18,
      window: 4096,
      payload: offset + 20,
      end: offset + 23,
      payloadLength: 3,
      sequenceLength: 3,
      ...NOTHING_SAID,
    });
  });

  test("read() refuses a segment with any one bit changed", () => {
    for (const octets of bitFlips(push)) expect(read(octets).drop).toBeDefined();
  });

  test.each([
    ["no flags", "5000", 0, 1],
    ["FIN", "5001", FIN, 2],
    ["SYN", "5002", SYN, 2],
    ["SYN and FIN", "5003", SYN | FIN, 3],
    ["RST", "5004", RST, 1],
    ["PSH and ACK", "5018", PSH | ACK, 1],
    ["URG", "5020", 0x20, 1],
    ["reserved bits and those of ECN, which are left out", "5fd0", ACK, 1],
  ])("read() takes %s; SYN and FIN count in sequence space", (_what, bits, flags, length) =>
    expect(read(segment(`${FIXED} ${bits} 1000 0000 0000  61`)).view).toMatchObject({
      flags,
      sequenceLength: length,
    }),
  );

  test.each<[string, string, object]>([
    [
      "those of a Linux SYN",
      SYN_OF_LINUX,
      {
        mss: 1460,
        sackPermitted: true,
        hasTimestamps: true,
        tsVal: 100,
        tsEcr: 0,
        windowScale: 7,
      },
    ],
    [
      "timestamps alone (RFC 7323 appendix A)",
      `${FIXED} 8010 0100 0000 0000  0101 080a 000000ff fffffffe`,
      {
        ...NOTHING_SAID,
        hasTimestamps: true,
        tsVal: 255,
        tsEcr: -2,
      },
    ],
    [
      "timestamps alone, laid out otherwise",
      `${FIXED} 8010 0100 0000 0000  080a 000000ff fffffffe 0101`,
      {
        ...NOTHING_SAID,
        hasTimestamps: true,
        tsVal: 255,
        tsEcr: -2,
      },
    ],
    [
      "timestamps and, behind them, SACK",
      `${FIXED} b010 0100 0000 0000
        0101 080a 000000ff fffffffe  0101 050a 00000001 00000002`,
      { hasTimestamps: true, tsVal: 255, sackCount: 1 },
    ],
    [
      "a window shift of 14",
      `${FIXED} 6002 0100 0000 0000  03030e 00`,
      { ...NOTHING_SAID, windowScale: 14 },
    ],
    [
      "a larger shift as 14 (RFC 7323 2.3)",
      `${FIXED} 6002 0100 0000 0000  03030f 00`,
      { windowScale: 14 },
    ],
    ["a window shift of 0", `${FIXED} 6002 0100 0000 0000  030300 00`, { windowScale: 0 }],
    [
      "an unknown one by skipping it",
      `${FIXED} 7002 0100 0000 0000  fe04 0402  020405b4`,
      { ...NOTHING_SAID, mss: 1460 },
    ],
    [
      "the end of options as their end",
      `${FIXED} 7002 0100 0000 0000  00 0402 01  020405b4`,
      NOTHING_SAID,
    ],
    [
      "what stands behind the end as nothing, even when it is malformed",
      `${FIXED} 6002 0100 0000 0000  00 02ff00`,
      NOTHING_SAID,
    ],
    [
      "MSS of a wrong length as unknown",
      `${FIXED} 7002 0100 0000 0000  0203 05  0402 010101`,
      { ...NOTHING_SAID, sackPermitted: true },
    ],
    [
      "window scale of a wrong length as unknown",
      `${FIXED} 6002 0100 0000 0000  0304 0707`,
      NOTHING_SAID,
    ],
    [
      "SACK permitted of a wrong length as unknown",
      `${FIXED} 6002 0100 0000 0000  0403 07 01`,
      NOTHING_SAID,
    ],
    [
      "timestamps of a wrong length as unknown",
      `${FIXED} 7010 0100 0000 0000  0806 000000ff 0101`,
      NOTHING_SAID,
    ],
    ["SACK without a block as unknown", `${FIXED} 6010 0100 0000 0000  0502 0101`, NOTHING_SAID],
    [
      "SACK with half a block as unknown",
      `${FIXED} 9010 0100 0000 0000  050e 00000001 00000002 00000003 0101`,
      NOTHING_SAID,
    ],
  ])("read() takes options: %s", (_what, text, fields) => {
    const { view, drop } = read(segment(text));
    expect(drop).toBeUndefined();
    expect(view).toMatchObject(fields);
  });

  test("read() takes as many SACK blocks as fit, four", () => {
    const { view, drop } = read(
      segment(`${FIXED} e010 0100 0000 0000  0101 0522
        00000001 00000002  00000003 00000004  7fffffff 80000000  fffffffe ffffffff`),
    );
    expect(drop).toBeUndefined();
    expect(view.sackCount).toBe(4);
    expect([...view.sackStarts].map((seq) => seq >>> 0)).toEqual([1, 3, 0x7fffffff, 0xfffffffe]);
    expect([...view.sackEnds].map((seq) => seq >>> 0)).toEqual([2, 4, 0x80000000, 0xffffffff]);
  });

  test("read() forgets the options of the segment before", () => {
    const { view } = read(segment(SYN_OF_LINUX));
    read(segment(`${FIXED} 8010 0100 0000 0000  0101 050a 00000001 00000002`), 32, view);
    expect(view).toMatchObject({ ...NOTHING_SAID, sackCount: 1 });
    read(push, push.length, view);
    expect(view).toMatchObject(NOTHING_SAID);
  });

  test.each<[string, string, Changes, number, string]>([
    ["19 octets", "5010 0001 0000 0000", {}, 19, "tcp-truncated"],
    ["a header below 20 octets", "4010 0001 0000 0000", {}, 20, "tcp-header-length"],
    ["a header beyond the segment", "6010 0001 0000 0000", {}, 20, "tcp-header-length"],
    ["a wrong checksum", "5010 0001 0000 0000", { 15: 2 }, 20, "tcp-checksum"],
    ["an option without its length", "6010 0001 0000 0000  010101 02", {}, 24, "tcp-option"],
    ["an option of length 0", "6010 0001 0000 0000  0200 0000", {}, 24, "tcp-option"],
    ["an unknown option of length 1", "6010 0001 0000 0000  fe01 0000", {}, 24, "tcp-option"],
    ["an option beyond the header", "6010 0001 0000 0000  0101 0203", {}, 24, "tcp-option"],
    [
      "an option that goes on in the payload",
      "6010 0001 0000 0000  0101 0204 05b4",
      {},
      26,
      "tcp-option",
    ],
  ])("read() refuses %s", (_what, text, changes, length, drop) =>
    expect<string | undefined>(
      read(changed(segment(`${FIXED} ${text}`), changes), length).drop,
    ).toBe(drop),
  );

  test("read() without a sum takes whatever stands in the checksum's place", () => {
    const buf = changed(push, { 16: push[16]! ^ 1 });
    const view = new TcpView();
    expect(view.read(buf, 0, buf.length, SRC, DST, sumOctetsOf(buf))).toBe("tcp-checksum");
    expect(view.read(buf, 0, buf.length, SRC, DST, undefined)).toBeUndefined();
  });

  test("read() refuses other addresses than were summed", () => {
    const buf = poisoned(push, offset);
    const [sum, view] = [sumOctetsOf(buf), new TcpView()];
    expect(view.read(buf, offset, offset + 23, SRC + 1, DST, sum)).toBe("tcp-checksum");
    expect(view.read(buf, offset, offset + 23, SRC, DST + 1, sum)).toBe("tcp-checksum");
  });

  test("read() gives the same for whatever options, wherever they stand and whatever is behind them", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40, size: "max" }),
        fc.uint8Array({ maxLength: 8 }),
        (options, payload) => {
          const words = options.length >> 2;
          const text = `${FIXED} ${(5 + words).toString(16)}010 0100 0000 0000`;
          const octets = segment(
            text + Buffer.from([...options.slice(0, words * 4), ...payload]).toString("hex"),
          );
          const here = read(octets);
          const view = new TcpView();
          // an exact buffer: a read beyond the end is undefined instead of 0xA5
          const drop = view.read(octets, 0, octets.length, SRC, DST, sumOctetsOf(octets));
          expect(view.payloadLength).toBe(payload.length);
          expect(here.drop).toBe(drop);
          view.payload += offset;
          view.end += offset;
          expect(here.view).toEqual(view);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
