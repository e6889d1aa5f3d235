/** The two ends of a capture: what is put into the ring on one side is in the file on the other, whole frames only. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CaptureFile } from "../../lib/host/capture-file.ts";
import { CaptureReader, FrameCapture } from "../../lib/host/frame-capture.ts";

let folder: string;
let said: string[];
const say = (line: string) => void said.push(line);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-capture-"));
  said = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** first octet and length of each frame of a file */
function framesOf(path: string): [number, number][] {
  const octets = readFileSync(path);
  const frames: [number, number][] = [];
  for (let at = 24; at < octets.length;) {
    const length = octets.readUInt32LE(at + 8);
    expect(octets.readUInt32LE(at + 12)).toBe(length);
    frames.push([octets[at + 16]!, length]);
    at += 16 + length;
    expect(at).toBeLessThanOrEqual(octets.length);
  }
  return frames;
}

test("frames of three pieces come into the file, over and over the end of the ring", async () => {
  const path = join(folder, "capture");
  const file = new CaptureFile(path, { error: say, warn: say });
  const octets = new Uint8Array(70_000);
  const capture = new FrameCapture(file.buffer, octets, () => file.wake());
  const reader = new CaptureReader(file.buffer);
  const one = new Uint8Array(1);
  const expected: [number, number][] = [];
  for (let n = 0; n < 300; n++) {
    octets[0] = n & 255;
    const body = (n * 7919) % 65_000;
    capture.add(0, 14, 14, body, 100, n);
    expected.push([n & 255, 14 + body + n]);
    while (n % 20 === 0 && reader.read(one) > 0) await Bun.sleep(1);
  }
  await file.close();
  expect(reader.leftOut).toBe(0);
  expect(framesOf(path)).toEqual(expected);
  expect(said).toEqual([]);
});

test("what has no room is left out and counted; what is there stays whole", async () => {
  const path = join(folder, "capture");
  const file = new CaptureFile(path, { error: say, warn: say });
  const capture = new FrameCapture(file.buffer, new Uint8Array(70_000), () => {});
  // nobody reads before the turn of the event loop ends
  for (let n = 0; n < 100; n++) capture.add(0, 60_000, 0, 0, 0, 0);
  const { leftOut } = new CaptureReader(file.buffer);
  expect(leftOut).toBeGreaterThan(0);
  await file.close();
  expect(framesOf(path)).toHaveLength(100 - leftOut);
  expect(said).toEqual([expect.stringContaining(`lacks ${leftOut} frames`)]);
});

test("a file that cannot be made is told in a sentence", () => {
  expect(() => new CaptureFile(join(folder, "no", "capture"), { error: say, warn: say })).toThrow(
    /^Cannot write .*capture: ENOENT/,
  );
});
