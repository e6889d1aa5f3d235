import { expect, test } from "bun:test";
import fc from "fast-check";
import { Coalescer } from "../../lib/link/coalescing.ts";
import { Segmenter } from "../../lib/link/segmentation.ts";
import { Scratch } from "../../lib/storage/scratch.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { hex, join, patch, pattern } from "../support/injected-frames.ts";
import { places, resummed, TIMESTAMPS, tcpFrame, type TcpFrame } from "../support/tcp-frames.ts";

const RECORDS = 1 << 20;
const SCRATCH = 3 << 20;
const [FIN, SYN, PSH, ACK] = [1, 2, 8, 16];

interface Joined {
  /** virtio header and frame of each record */
  records: Uint8Array[];
  /** what the host makes of them */
  frames: Uint8Array[];
}

/** Joins frames that have come together, and cuts them again. */
function through(frames: readonly Uint8Array[], room = Infinity): Joined & { lost: number } {
  const octets = new Uint8Array(4 << 20).fill(0xa5);
  const sum = sumOctetsOf(octets);
  const taken: [number, number][] = [];
  let next = RECORDS;
  let lost = 0;
  const coalescer = new Coalescer(octets, sum, (length, count) => {
    if (taken.length >= room) {
      lost += count;
      return 0;
    }
    taken.push([next, next + length]);
    next += length + 8;
    return taken.at(-1)![0];
  });
  let at = 64;
  for (const frame of frames) {
    octets.set(frame, at);
    coalescer.add(at, at + frame.length);
    at += frame.length + 4;
  }
  coalescer.flush();
  const scratch = new Scratch(octets, SCRATCH, 1 << 20, () => {});
  const segmenter = new Segmenter(octets, sum, scratch);
  const out: Uint8Array[] = [];
  const records = taken.map(([start, end]) => octets.slice(start, end));
  for (const [start, end] of taken)
    expect(
      segmenter.onRecord(start, end, (head, headLength, body, length) =>
        out.push(
          join(octets.subarray(head, head + headLength), octets.subarray(body, body + length)),
        ),
      ),
    ).toBeUndefined();
  return { records, frames: out, lost };
}

/** `count` segments of `size` octets that follow each other */
const train = (count: number, size: number, more: Partial<TcpFrame> = {}): Uint8Array[] =>
  Array.from({ length: count }, (_, i) =>
    tcpFrame({
      ip: 4,
      ...more,
      seq: (more.seq ?? 100) + i * size,
      identification: ((more.identification ?? 9) + i) & 0xffff,
      payload: pattern(size),
    }),
  );

const texts = (frames: readonly Uint8Array[]) => frames.map((frame) => frame.toHex());

test.each([
  ["over IPv4", {}],
  ["over IPv6", { ip: 6 }],
  ["with timestamps", { options: TIMESTAMPS }],
  ["whose numbers wrap", { seq: 0xfffff000, identification: 0xfff8, dontFragment: false }],
] as const)(
  "segments %s that follow each other become one, and cut again are the same",
  (_name, more) => {
    const frames = train(20, 1448, more);
    const { records, frames: again } = through(frames);
    expect(records.length).toBe(1);
    expect(texts(again)).toEqual(texts(frames));
  },
);

test("a train has 64 frames at most", () => {
  const frames = train(70, 100);
  const { records, frames: again } = through(frames);
  expect(records.length).toBe(2);
  expect(texts(again)).toEqual(texts(frames));
});

test("a train is no longer than a packet may be", () => {
  const frames = train(60, 1448);
  const { records, frames: again } = through(frames);
  expect(records.map(({ length }) => length <= 12 + 14 + 65535)).toEqual([true, true]);
  expect(texts(again)).toEqual(texts(frames));
});

/** frames 1 and 2 of three that would follow each other, with something else said by the second and third */
const broken = (more: Partial<TcpFrame>): Uint8Array[] => {
  const [first] = train(1, 1000);
  return [first!, ...train(2, 1000, { seq: 1100, identification: 10, ...more })];
};
/** three that would follow each other, but for what is changed in the second */
const second = (change: (frame: Uint8Array) => Uint8Array, more: Partial<TcpFrame> = {}) =>
  train(3, 1000, more).map((frame, i) => (i === 1 ? resummed(change(frame)) : frame));
const apart: [string, Uint8Array[], number][] = [
  ["another acknowledgement", broken({ ack: 8 }), 2],
  ["another window", broken({ window: 501 }), 2],
  ["other options", broken({ options: TIMESTAMPS }), 2],
  ["another time to live", broken({ ttl: 63 }), 2],
  ["a gap", broken({ seq: 1101 }), 2],
  ["the same octets again", broken({ seq: 100 }), 2],
  [
    "an identification that does not follow, where it counts",
    [
      ...train(1, 1000, { dontFragment: false }),
      ...train(1, 1000, { seq: 1100, identification: 11, dontFragment: false }),
    ],
    2,
  ],
  [
    "a larger segment than the first",
    [...train(1, 1000), ...train(1, 1200, { seq: 1100, identification: 10 })],
    2,
  ],
  [
    "FIN",
    [...train(2, 1000), ...train(1, 1000, { seq: 2100, identification: 11, flags: FIN | ACK })],
    2,
  ],
  ["SYN", [...train(2, 1000), ...train(1, 10, { seq: 2100, flags: SYN })], 2],
  [
    "a pure acknowledgement between",
    [...train(1, 1000), tcpFrame({ ip: 4, seq: 1100 }), ...train(1, 1000, { seq: 1100 })],
    3,
  ],
  [
    "a segment that is pushed ends it",
    [
      ...train(1, 1000),
      ...train(1, 1000, { seq: 1100, flags: ACK | PSH }),
      ...train(2, 1000, { seq: 2100 }),
    ],
    2,
  ],
  [
    "a shorter segment ends it",
    [...train(2, 1000), ...train(1, 500, { seq: 2100 }), ...train(1, 500, { seq: 2600 })],
    2,
  ],
  [
    "a broken TCP checksum",
    train(3, 1000).map((frame, i) => (i === 1 ? patch(frame, 80, 0xff) : frame)),
    3,
  ],
  [
    "a broken checksum of the first",
    train(3, 1000).map((frame, i) => (i === 0 ? patch(frame, 80, 0xff) : frame)),
    2,
  ],
  [
    "a broken IPv4 checksum",
    train(3, 1000).map((frame, i) => (i === 1 ? patch(frame, 24, 0xff) : frame)),
    3,
  ],
  [
    "options of other values",
    [
      ...train(1, 1000, { options: TIMESTAMPS }),
      ...train(1, 1000, { seq: 1100, options: TIMESTAMPS.replace(/2$/, "3") }),
    ],
    2,
  ],
  [
    "another connection whose numbers go on",
    [...train(1, 1000), ...train(1, 1000, { seq: 1100, port: 4001 })],
    2,
  ],
  ["another address", second((frame) => patch(frame, 29, 0x99)), 3],
  ["another card", second((frame) => patch(frame, 11, 0xcc)), 3],
  ["another class of service", second((frame) => patch(frame, 15, 0x10)), 3],
  [
    "a fragment with right checksums",
    train(3, 1000).map((frame) => resummed(patch(frame, 20, 0x20))),
    3,
  ],
  ["another hop limit of IPv6", second((frame) => patch(frame, 21, 9), { ip: 6 }), 3],
  ["another flow label of IPv6", second((frame) => patch(frame, 17, 9), { ip: 6 }), 3],
  [
    "a packet that says it is shorter than its frame",
    train(3, 1000).map((frame) => resummed(patch(frame, 16, 0, 200))),
    3,
  ],
  [
    "a TCP header of three words with right checksums",
    [0, 1008, 2016].map((seq, i) =>
      resummed(
        patch(tcpFrame({ ip: 4, seq, identification: i, payload: pattern(1000) }), 46, 0x30),
      ),
    ),
    3,
  ],
  ["padding behind the packet", train(3, 1000).map((frame) => join(frame, hex`0000`)), 3],
  ["a fragment", train(3, 1000).map((frame) => patch(frame, 20, 0x20)), 3],
  ["a tag of a VLAN", train(3, 1000, { vlan: "0007" }), 3],
  ["frames that are cut off", train(3, 1000).map((frame) => frame.slice(0, 50)), 3],
  ["a TCP header of three words", train(3, 1000).map((frame) => patch(frame, 46, 0x30)), 3],
];
test.each(apart)("%s: nothing is joined that does not belong together", (_name, frames, count) => {
  const { records } = through(frames);
  expect(records.length).toBe(count);
  // the octets of all frames, whether they are right or not
  const sent = records.flatMap((record) => (record[1] === 0 ? [record.slice(12)] : []));
  for (const frame of sent) expect(texts(frames)).toContain(frame.toHex());
});

test("frames for which there is no room are lost, and counted one by one", () => {
  expect(through(train(5, 1000), 0)).toMatchObject({ lost: 5, frames: [] });
});

const step = fc.record({
  port: fc.integer({ min: 1, max: 12 }),
  ip: fc.constantFrom<4 | 6>(4, 6),
  count: fc.integer({ min: 1, max: 6 }),
  size: fc.constantFrom(1, 2, 99, 1000, 1448),
  last: fc.constantFrom(ACK, ACK, ACK | PSH, ACK | FIN | PSH),
  options: fc.constantFrom("", TIMESTAMPS),
  dontFragment: fc.boolean(),
  skip: fc.constantFrom(0, 0, 0, 1),
});

test("whatever comes: connections keep their order, and every frame arrives as it was sent", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const sequence = new Map<string, number>();
      let identification = 65_500;
      const frames = steps.flatMap(({ count, size, last, skip, ...more }) =>
        Array.from({ length: count }, (_, i) => {
          const key = `${more.ip} ${more.port}`;
          const seq = (sequence.get(key) ?? 0xffff0000) + skip;
          sequence.set(key, (seq + size) >>> 0);
          identification = (identification + 1) & 0xffff;
          const flags = i === count - 1 ? last : ACK;
          return tcpFrame({ ...more, seq, identification, flags, payload: pattern(size) });
        }),
      );
      const { frames: again } = through(frames);
      expect(again.length).toBe(frames.length);
      for (const [key, sent] of byConnection(frames))
        expect(byConnection(again).get(key)).toEqual(sent);
    }),
    { numRuns: 200 },
  );
});

/** frames of each connection in their order; an identification that means nothing is left out (RFC 6864 section 4.1) */
function byConnection(frames: readonly Uint8Array[]): Map<string, string[]> {
  const all = Map.groupBy(frames, (frame) => {
    const { packet, segment } = places(frame);
    return `${frame[packet]! >>> 4} ${frame[segment]! * 256 + frame[segment + 1]!}`;
  });
  const plain = (frame: Uint8Array) => {
    const isFixed = frame[14] === 0x45 && (frame[20]! & 0x40) !== 0;
    return (isFixed ? patch(patch(frame, 18, 0, 0), 24, 0, 0) : frame).toHex();
  };
  return new Map([...all].map(([key, list]) => [key, list.map(plain)]));
}
