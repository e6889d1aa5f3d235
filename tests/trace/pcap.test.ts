/** Against draft-ietf-opsawg-pcap: figure 1, the file header; figure 2, the packet record. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  pcapFileHeader,
  PCAP_RECORD_HEADER_LENGTH,
  writePcapRecordHeader,
} from "../../lib/trace/pcap.ts";
import { dump, emitted, hex, OFFSETS } from "../support/octets.ts";

test("pcapFileHeader() says nanoseconds, version 2.4, 256 KiB at most, Ethernet, little-endian", () => {
  const header = hex(`
    4d3cb2a1            # 0xa1b23c4d: seconds and nanoseconds
    0200 0400           # version 2.4
    00000000 00000000   # reserved
    00000400            # 262,144 octets are kept of a packet
    01000000            # LINKTYPE_ETHERNET, no frame check sequence
  `);
  expect(dump(pcapFileHeader())).toBe(dump(header));
});

const record = (offset: number, timeMs: number, length: number) =>
  emitted(offset, PCAP_RECORD_HEADER_LENGTH, (buf) =>
    writePcapRecordHeader(new DataView(buf.buffer), offset, timeMs, length),
  );

test.each(OFFSETS)("writePcapRecordHeader() writes 16 octets at offset %d", (offset) => {
  const header = hex(`
    00f15365            # 1,700,000,000 = 0x6553f100 seconds
    a053ee0e            # 250,500,000 = 0xeee53a0 nanoseconds
    ea050000            # 1514 octets here
    ea050000            # and on the wire
  `);
  expect(dump(record(offset, 1_700_000_000_250.5, 1514))).toBe(dump(header));
});

test.each([
  [0, 0, 0],
  [0.5, 0, 500_000],
  [999.75, 0, 999_750_000],
  [1000, 1, 0],
  [4_294_967_295_000, 0xffffffff, 0],
])("writePcapRecordHeader() splits %d ms into %d s and %d ns", (timeMs, seconds, nanoseconds) => {
  const view = new DataView(record(0, timeMs, 60).buffer);
  expect([view.getUint32(0, true), view.getUint32(4, true)]).toEqual([seconds, nanoseconds]);
});

test("writePcapRecordHeader() never writes a whole second of nanoseconds, and loses none", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), (timeMs) => {
      const view = new DataView(record(0, timeMs, 60).buffer);
      const [seconds, nanoseconds] = [view.getUint32(0, true), view.getUint32(4, true)];
      expect(nanoseconds).toBeLessThan(1e9);
      expect(Math.abs(seconds * 1000 + nanoseconds / 1e6 - timeMs)).toBeLessThan(0.001);
    }),
  );
});
