/** What streams of a guest may have under way while it exchanges messages. */
import { beforeEach, describe, expect, test } from "bun:test";
import {
  octetsOfEach,
  Pace,
  RightOfWay,
  segmentsOfEach,
  TO_GUEST,
} from "../../lib/stack/right-of-way.ts";

const GUEST = 0x0a00000b;
let way: RightOfWay;
let now: number;
beforeEach(() => {
  way = new RightOfWay();
  now = 1000;
});
const segments = (pace: Pace, guest = GUEST) =>
  segmentsOfEach(TO_GUEST, way.streams(now, guest), way.yields(now, guest, pace));

/** a conversation that has become a stream, and has nobody beside it any more */
function stream(guest = GUEST): Pace {
  const pace = new Pace();
  way.onOctets(now, guest, pace, 100_000);
  return pace;
}
/** messages with no pause between them, as many as make an exchange */
function exchange(pace: Pace, messages = 4): void {
  for (let i = 0; i < messages; i++) way.onOctets(now, GUEST, pace, 100);
}

test("a stream that is alone has 400 segments, from its first octets on", () => {
  const pace = new Pace();
  exchange(pace);
  expect(segments(pace)).toBe(400);
  way.onOctets(now, GUEST, pace, 100_000);
  expect(segments(pace)).toBe(400);
});

test("each of several has 176, until the others have said nothing for an interval", () => {
  const [one, other] = [stream(), stream()];
  expect([one, other].map((pace) => segments(pace))).toEqual([176, 176]);
  now += 10;
  way.onOctets(now, GUEST, one, 100_000);
  expect(segments(one)).toBe(176);
  now += 10;
  way.onOctets(now, GUEST, one, 100_000);
  expect(segments(one)).toBe(400);
});

describe("beside a conversation in messages", () => {
  test("a stream has 8 segments, until 50 ms after the last message", () => {
    const pace = stream();
    exchange(new Pace());
    expect(segments(pace)).toBe(8);
    now += 49;
    expect(segments(pace)).toBe(8);
    now += 1;
    expect(segments(pace)).toBe(400);
  });

  test.each([
    [2, 4],
    [3, 4],
    [8, 4],
  ])("%d streams have %d segments each", (count, each) => {
    const streams = Array.from({ length: count }, () => stream());
    exchange(new Pace());
    expect(streams.map((pace) => segments(pace))).toEqual(streams.map(() => each));
  });

  test("a stream is as it was for messages that stand alone", () => {
    const [pace, other] = [stream(), new Pace()];
    for (let i = 0; i < 9; i++) {
      exchange(other, 3);
      expect(segments(pace)).toBe(400);
      now += 50;
    }
    for (const each of [400, 400, 400, 8, 8]) {
      exchange(other, 1);
      expect(segments(pace)).toBe(each);
      now += 49;
    }
  });

  test("streams that have ended are counted no longer", () => {
    const pace = stream();
    stream();
    for (let i = 0; i < 2; i++) {
      now += 10;
      way.onOctets(now, GUEST, pace, 100_000);
      exchange(new Pace());
    }
    expect(segments(pace)).toBe(8);
  });

  test("a conversation that yields to the other one is not yielded to by itself", () => {
    const [one, other] = [new Pace(), new Pace()];
    exchange(one);
    now += 30;
    exchange(other);
    exchange(one);
    expect(segments(one)).toBe(8);
    now += 49;
    exchange(one);
    expect(segments(one)).toBe(8);
    now += 1;
    exchange(one);
    expect(segments(one)).toBe(400);
  });

  test("the streams of another guest are as they were", () => {
    const pace = stream(GUEST + 1);
    exchange(new Pace());
    expect(segments(pace, GUEST + 1)).toBe(400);
  });
});

test("8192 octets in 10 ms are messages, and one more is a stream", () => {
  const [pace, other] = [stream(), new Pace()];
  for (let i = 0; i < 4; i++) {
    way.onOctets(now, GUEST, other, 8192);
    now += 10;
  }
  expect(segments(pace)).toBe(8);
  way.onOctets(now, GUEST, other, 8193);
  now += 50;
  exchange(other);
  expect(segments(pace)).toBe(400);
});

test("a stream that rests for a second may send messages again", () => {
  const [pace, other] = [stream(), stream()];
  now += 999;
  exchange(other);
  expect(segments(pace)).toBe(400);
  now += 1;
  exchange(other);
  expect(segments(pace)).toBe(8);
});

test.each([
  [1, 2 * 1024 * 1024],
  [4, 512 * 1024],
  [8, 256 * 1024],
  [100, 256 * 1024],
])("%i streams from a guest that shares its memory have %i octets each", (streams, octets) => {
  expect(octetsOfEach(streams, true)).toBe(octets);
  expect(octetsOfEach(streams, false)).toBe(1 << 30);
});
