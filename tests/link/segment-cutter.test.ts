import { expect, test } from "bun:test";
import fc from "fast-check";
import { SegmentCutter } from "../../lib/link/segment-cutter.ts";
import { Scratch } from "../../lib/storage/scratch.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { join, pattern } from "../support/injected-frames.ts";
import { isSound, places, TIMESTAMPS, tcpFrame, type TcpFrame } from "../support/tcp-frames.ts";

const SIZE = 256 * 1024;
const FRAME = 128 * 1024;
const FIRST = FRAME + 1024;
const SECOND = FIRST + 48 * 1024;

/** the frames of a segment whose payload stands in two places, the first piece so long; 0xA5 everywhere before */
function cut(frame: TcpFrame, first: number, size: number): Uint8Array[] {
  const octets = new Uint8Array(SIZE).fill(0xa5);
  const whole = tcpFrame(frame, true);
  const payload = frame.payload!;
  const { packet, segment } = places(whole);
  const headLength = whole.length - payload.length;
  octets.set(whole.subarray(0, headLength), FRAME);
  octets.set(payload.subarray(0, first), FIRST);
  octets.set(payload.subarray(first), SECOND);
  const scratch = new Scratch(octets, 64, 96 * 1024, () => {});
  const frames: Uint8Array[] = [];
  const count = new SegmentCutter(octets, sumOctetsOf(octets), scratch).cut(
    FRAME,
    FRAME + packet,
    FRAME + segment,
    FRAME + headLength,
    FIRST,
    first,
    SECOND,
    payload.length - first,
    size,
    (...pieces) => {
      const piece = (at: number) => octets.slice(pieces[at]!, pieces[at]! + pieces[at + 1]!);
      frames.push(join(piece(0), piece(2), piece(4)));
    },
  );
  expect(count).toBe(frames.length);
  return frames;
}

test("cut() makes the same sound frames of a payload in two pieces as of one in a single piece", () => {
  const cases = fc.record({
    ip: fc.constantFrom<4 | 6>(4, 6),
    seq: fc.integer({ min: 0, max: 0xffffffff }),
    identification: fc.integer({ min: 0, max: 0xffff }),
    options: fc.constantFrom("", TIMESTAMPS),
    vlan: fc.constantFrom(undefined, "0007"),
    length: fc.integer({ min: 0, max: 20_000 }),
    split: fc.nat(20_000),
    size: fc.integer({ min: 1, max: 9000 }),
  });
  fc.assert(
    fc.property(cases, ({ length, split, size, ...fields }) => {
      const frame = { ...fields, payload: pattern(length) } as TcpFrame;
      const atLeast = Math.max(size, Math.ceil(length / 100));
      const inTwo = cut(frame, Math.min(split, length), atLeast);
      expect(inTwo.every(isSound)).toBe(true);
      expect(inTwo.map((piece) => piece.toHex())).toEqual(
        cut(frame, length, atLeast).map((piece) => piece.toHex()),
      );
    }),
    { numRuns: 200 },
  );
});
