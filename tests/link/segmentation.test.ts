import { expect, test } from "bun:test";
import fc from "fast-check";
import { Segmenter } from "../../lib/link/segmentation.ts";
import { Scratch } from "../../lib/storage/scratch.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { checksum, hex, join, pattern, text } from "../support/injected-frames.ts";
import { isSound, places, TIMESTAMPS, tcpFrame, type TcpFrame } from "../support/tcp-frames.ts";

const SIZE = 256 * 1024;
const AT = 128 * 1024 + 8;
const [FIN, PSH, ACK, CWR] = [1, 8, 16, 128];

const word = (value: number) => Uint8Array.of(value & 255, value >>> 8);
/** the 12 octets of virtio_net_hdr */
const header = (flags: number, type: number, size: number, start: number, offset: number) =>
  join(Uint8Array.of(flags, type), word(0), word(size), word(start), word(offset), word(0));

/** the frames that come out, or why none do; 0xA5 everywhere before */
function cut(record: Uint8Array): Uint8Array[] | string {
  const octets = new Uint8Array(SIZE).fill(0xa5);
  octets.set(record, AT);
  const scratch = new Scratch(octets, 64, 96 * 1024, () => {});
  const frames: Uint8Array[] = [];
  const segmenter = new Segmenter(octets, sumOctetsOf(octets), scratch);
  const drop = segmenter.onRecord(AT, AT + record.length, (head, headLength, body, length) => {
    frames.push(
      join(octets.subarray(head, head + headLength), octets.subarray(body, body + length)),
    );
  });
  return drop ?? frames;
}

const large = (frame: TcpFrame, size: number, type = frame.ip === 4 ? 1 : 4) => {
  const whole = tcpFrame(frame, true);
  return join(header(1, type, size, places(whole).segment, 16), whole);
};

const frames = fc.record({
  ip: fc.constantFrom<4 | 6>(4, 6),
  seq: fc.integer({ min: 0, max: 0xffffffff }),
  flags: fc.constantFrom(ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR),
  options: fc.constantFrom("", TIMESTAMPS),
  identification: fc.integer({ min: 0, max: 0xffff }),
  dontFragment: fc.boolean(),
  vlan: fc.constantFrom(undefined, "0007"),
  payload: fc.integer({ min: 0, max: 20_000 }).map(pattern),
});

test("onRecord() cuts a segment into sound frames of at most the size, which together are the same octets", () => {
  fc.assert(
    fc.property(frames, fc.integer({ min: 48, max: 9000 }), (frame, size) => {
      const out = cut(large(frame as TcpFrame, size)) as Uint8Array[];
      const { payload } = frame;
      expect(out.length).toBe(Math.max(1, Math.ceil(payload.length / size)));
      let at = 0;
      out.forEach((piece, index) => {
        // each is the frame that a host would have made of it alone
        const isLast = index === out.length - 1;
        const body = payload.subarray(at, at + size);
        const flags = frame.flags & ~(isLast ? 0 : FIN | PSH) & ~(index > 0 ? CWR : 0);
        const expected = tcpFrame({
          ...(frame as TcpFrame),
          seq: frame.seq + at,
          flags,
          identification: (frame.identification + index) & 0xffff,
          payload: body,
        });
        expect(piece.toHex()).toBe(expected.toHex());
        expect(isSound(piece)).toBe(true);
        at += body.length;
      });
    }),
    { numRuns: 200 },
  );
});

test("onRecord() cuts the largest there is", () => {
  const frame: TcpFrame = { ip: 4, payload: pattern(65_495) };
  const out = cut(large(frame, 1460)) as Uint8Array[];
  expect(out.length).toBe(45);
  expect(out.every(isSound)).toBe(true);
  expect(join(...out.map((piece) => piece.subarray(54))).toHex()).toBe(frame.payload!.toHex());
});

test.each([
  ["over IPv4", 4, ""],
  ["over IPv6 with options", 6, TIMESTAMPS],
] as const)("onRecord() completes the checksum of a segment %s", (_name, ip, options) => {
  const frame: TcpFrame = { ip, options, payload: text("odd") };
  const whole = tcpFrame(frame, true);
  expect(cut(join(header(1, 0, 0, places(whole).segment, 16), whole))).toEqual([tcpFrame(frame)]);
});

test("onRecord() writes a UDP checksum that comes to zero as its complement", () => {
  // RFC 768: zero says that there is none. All that is summed up comes to 0xffff.
  const frame = hex`0200000000aa 0200000000bb 0800 4500 001e 0001 4000 40 11 0000 c0a86902 c0a86901 0035 0035 000a 0000 ff8b`;
  const out = cut(join(header(1, 0, 0, 34, 6), frame)) as Uint8Array[];
  expect(out[0]!.subarray(40, 42).toHex()).toBe("ffff");
  expect(checksum(out[0]!.subarray(34))).toBe(0);
});

test("onRecord() hands on what needs nothing as it is", () => {
  const frame = hex`ffffffffffff 0200000000bb 0806 00`;
  expect(cut(join(header(0, 0, 0, 0, 0), frame))).toEqual([frame]);
});

const tcp4 = tcpFrame({ ip: 4, payload: pattern(100) }, true);
const tcp6 = tcpFrame({ ip: 6, payload: pattern(100) }, true);
test.each([
  ["a record shorter than its header", hex`01 01`, "segmentation-headers"],
  ["a checksum outside of the frame", join(header(1, 0, 0, 34, 200), tcp4), "segmentation-headers"],
  ["a UDP datagram to be cut", join(header(1, 3, 50, 34, 6), tcp4), "segmentation-type"],
  ["a size of nothing", join(header(1, 1, 0, 34, 16), tcp4), "segmentation-headers"],
  [
    "a segment to be cut whose checksum is done",
    join(header(0, 1, 50, 34, 16), tcp4),
    "segmentation-headers",
  ],
  [
    "a TCP header within the packet's",
    join(header(1, 1, 50, 20, 16), tcp4),
    "segmentation-headers",
  ],
  ["a TCP header behind the end", join(header(1, 1, 50, 140, 16), tcp4), "segmentation-headers"],
  ["IPv6 that is called IPv4", join(header(1, 1, 50, 54, 16), tcp6), "segmentation-headers"],
  ["IPv4 that is called IPv6", join(header(1, 4, 50, 54, 16), tcp4), "segmentation-headers"],
  [
    "UDP that is called TCP",
    join(header(1, 1, 50, 34, 16), tcp4.with(23, 17)),
    "segmentation-headers",
  ],
  [
    "IPv6 with another header in front of the segment",
    join(header(1, 4, 50, 54, 16), tcp6.with(20, 60)),
    "segmentation-headers",
  ],
  [
    "a TCP header a word behind where it is",
    join(header(1, 1, 50, 38, 16), tcp4),
    "segmentation-headers",
  ],
  [
    "a TCP header of three words",
    join(header(1, 1, 50, 34, 16), tcp4.with(46, 0x30)),
    "segmentation-headers",
  ],
  [
    "a TCP header that is longer than the frame",
    join(header(1, 1, 50, 34, 16), tcp4.slice(0, 60).with(46, 0xf0)),
    "segmentation-headers",
  ],
])("onRecord() refuses %s", (_name, record, why) => {
  expect(cut(record)).toBe(why);
});
