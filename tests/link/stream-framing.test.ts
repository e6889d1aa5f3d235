import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { deframe, QEMU_FRAMING, VPNKIT_FRAMING } from "../../lib/link/stream-framing.ts";
import { hex, join } from "../support/injected-frames.ts";

const LARGEST = 128 * 1024;

/** what deframe makes of octets that stand behind 3 others: frames as hex, octets left over, or why there are none */
function framesOf(framing: typeof QEMU_FRAMING, octets: Uint8Array, maxFrame = LARGEST) {
  const buf = join(hex`a5a5a5`, octets, hex`a5a5a5`);
  const frames: string[] = [];
  const onFrame = (start: number, end: number) => void frames.push(buf.slice(start, end).toHex());
  const rest = deframe(framing, buf, 3, 3 + octets.length, maxFrame, onFrame);
  return { frames, rest: typeof rest === "string" ? rest : 3 + octets.length - rest };
}

const TWO_QEMU = hex`
  00000002 aabb
  00000003 ccddee`;
const TWO_VPNKIT = hex`
  0200 aabb         # the low octet first
  0300 ccddee`;

describe.each([
  ["QEMU_FRAMING", QEMU_FRAMING, TWO_QEMU, 4],
  ["VPNKIT_FRAMING", VPNKIT_FRAMING, TWO_VPNKIT, 2],
] as const)("%s", (_name, framing, two, prefix) => {
  const firstEnd = prefix + 2;

  test("deframe() gives every frame when several come in one read", () => {
    expect(framesOf(framing, two)).toEqual({ frames: ["aabb", "ccddee"], rest: 0 });
  });

  test.each(Array.from({ length: two.length }, (_, cut) => cut))(
    "deframe() keeps what is not whole when the stream is cut after %i octets",
    (cut) => {
      const frames = cut < firstEnd ? [] : ["aabb"];
      const rest = cut < firstEnd ? cut : cut - firstEnd;
      expect(framesOf(framing, two.subarray(0, cut))).toEqual({ frames, rest });
    },
  );

  test("putLength() writes what the first frame begins with", () => {
    const buf = hex`a5a5a5 a5a5a5a5 a5a5a5a5`;
    framing.putLength(buf, 3, 2);
    const untouched = "a5".repeat(8 - prefix);
    expect(buf.toHex()).toBe(`a5a5a5${two.slice(0, prefix).toHex()}${untouched}`);
  });
});

test.each([
  ["an empty frame", QEMU_FRAMING, hex`00000000 00000001 aa`, ["", "aa"], 0],
  ["nothing", QEMU_FRAMING, hex``, [], 0],
  ["a length that promises one octet more", QEMU_FRAMING, hex`00000003 aabb`, [], 6],
  ["a length that promises one octet less", QEMU_FRAMING, hex`00000001 aabb`, ["aa"], 1],
  ["the largest length of 16 bits", VPNKIT_FRAMING, hex`ffff aabb`, [], 4],
  ["a length with a low octet above 0x7f", VPNKIT_FRAMING, hex`ff00 aabb`, [], 4],
] as const)("deframe() takes %s for what it says", (_name, framing, octets, frames, rest) => {
  expect(framesOf(framing, octets)).toEqual({ frames: [...frames], rest });
});

test.each([
  ["as large as allowed", "00020000", 4],
  ["one octet too large", "00020001", "framing-oversize"],
  ["of 4 GiB", "ffffffff", "framing-oversize"],
  ["of the sign bit", "80000000", "framing-oversize"],
] as const)("deframe() judges a frame %s", (_name, length, rest) => {
  expect(framesOf(QEMU_FRAMING, hex`${length}`)).toEqual({ frames: [], rest });
});

test("deframe() gives the frames in front of a length that cannot be one", () => {
  const octets = hex`00000001 aa ffffffff bb`;
  expect(framesOf(QEMU_FRAMING, octets)).toEqual({ frames: ["aa"], rest: "framing-oversize" });
});

test("deframe() gives the same frames however the stream is cut", () => {
  const frame = fc.uint8Array({ maxLength: 40 });
  fc.assert(
    fc.property(
      fc.constantFrom(QEMU_FRAMING, VPNKIT_FRAMING),
      fc.array(frame, { maxLength: 12 }),
      fc.infiniteStream(fc.nat(17)),
      (framing, frames, sizes) => {
        const stream = join(
          ...frames.flatMap((octets) => {
            const prefix = new Uint8Array(framing.prefix);
            framing.putLength(prefix, 0, octets.length);
            return [prefix, octets];
          }),
        );
        const got: string[] = [];
        let waiting = stream.slice(0, 0);
        for (let at = 0; at < stream.length;) {
          const size = 1 + sizes.next().value;
          const buf = join(waiting, stream.subarray(at, at + size));
          at += size;
          const rest = deframe(framing, buf, 0, buf.length, LARGEST, (start, end) =>
            got.push(buf.slice(start, end).toHex()),
          );
          waiting = buf.slice(rest as number);
        }
        expect(waiting).toHaveLength(0);
        expect(got).toEqual(frames.map((octets) => octets.toHex()));
      },
    ),
  );
});
