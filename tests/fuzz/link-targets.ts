/**
 * The way between the host's interface and the guests: segments that are cut and joined, and the rings that carry them, each
 * against the plainest other end that the layout (native/vmn.h) allows.
 */
import { ReceiveRing, TransmitRing } from "../../lib/host/shim-ring.ts";
import { Coalescer } from "../../lib/link/coalescing.ts";
import { Segmenter } from "../../lib/link/segmentation.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { Scratch } from "../../lib/storage/scratch.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { join, pattern } from "../support/injected-frames.ts";
import { TIMESTAMPS, tcpFrame } from "../support/tcp-frames.ts";
import type { Dice, Target } from "./dice.ts";

const RECORDS = 1 << 20;
const SCRATCH = 3 << 20;
const SIZE = 4 << 20;
/** poison beside a record */
const AROUND = 1000;

/** Trains of segments of some connections, in which one or the other frame is mangled. */
function makeTrain(dice: Dice): Uint8Array[] {
  const seq = [0xffff_f000, 5, 0x7fff_fff0];
  return Array.from({ length: 1 + dice.below(80) }, () => {
    const port = dice.below(seq.length);
    const size = dice.pick([0, 1, 100, 100, 100, 1448]);
    const frame = tcpFrame({
      ip: port === 1 ? 6 : 4,
      port: 4000 + port,
      seq: seq[port]!,
      flags: dice.pick([16, 16, 16, 16, 24, 17, 2]),
      options: port === 2 ? TIMESTAMPS : "",
      payload: pattern(size),
    });
    seq[port] = (seq[port]! + size) % 2 ** 32;
    return dice.chance(0.1) ? dice.mangle(frame, [frame]) : frame;
  }).filter(({ length }) => length >= 14);
}

/** Which may not be fragmented has no identification that counts (RFC 6864 4.1), and with it another header checksum. */
function withoutIdentification(frame: Uint8Array): string {
  const out = frame.slice();
  const mayNot = (out[20]! & 0x40) !== 0;
  if (out[12] === 8 && out[13] === 0 && out.length >= 34 && mayNot) {
    out.fill(0, 18, 20);
    out.fill(0, 24, 26);
  }
  return out.toHex();
}

const JOINING: Target = {
  name: "joining and cutting of segments",
  unit: "trains",
  batch: 1,
  round(dice) {
    const octets = memory.fill(0xa5);
    const sum = sumOctetsOf(octets);
    const records: [number, number][] = [];
    let next = RECORDS;
    const coalescer = new Coalescer(octets, sum, (length) => {
      records.push([next, next + length]);
      next += length + 8;
      return next - length - 8;
    });
    const frames = makeTrain(dice);
    let at = 64;
    for (const frame of frames) {
      octets.set(frame, at);
      coalescer.add(at, at + frame.length);
      at += frame.length;
      if (dice.chance(0.05)) coalescer.flush();
    }
    coalescer.flush();
    const out: string[] = [];
    const segmenter = new Segmenter(octets, sum, new Scratch(octets, SCRATCH, 1 << 20, () => {}));
    for (const [start, end] of records) {
      const drop = segmenter.onRecord(start, end, (head, headLength, body, length) => {
        const pieces = [
          octets.subarray(head, head + headLength),
          octets.subarray(body, body + length),
        ];
        out.push(withoutIdentification(join(...pieces)));
      });
      if (drop !== undefined) throw new Error(`a record of ours is none: ${drop}`);
    }
    const wanted = frames.map(withoutIdentification);
    if (JSON.stringify(out.toSorted()) !== JSON.stringify(wanted.toSorted()))
      throw new Error(`${frames.length} frames went in, ${out.length} came out, or others`);
  },
};
const memory = new Uint8Array(SIZE);

const CUTTING: Target = {
  name: "records of the host's interface",
  unit: "records",
  batch: 1,
  round(dice) {
    const ip = dice.pick([4, 6] as const);
    const frame = tcpFrame(
      { ip, payload: dice.octets(dice.below(5000)), vlan: dice.pick([undefined, "0007"]) as never },
      true,
    );
    const segment = (frame[12] === 0x81 ? 18 : 14) + (ip === 4 ? 20 : 40);
    const header = Uint8Array.of(
      1,
      ip === 4 ? 1 : 4,
      0,
      0,
      dice.octet(),
      dice.below(6),
      segment,
      0,
      16,
      0,
      0,
      0,
    );
    const right = join(header, frame);
    const record = dice.chance(0.2) ? right : dice.mangle(right, [right]);
    const [first, second] = [
      [0, 0xa5],
      [8, 0x5a],
    ].map(([offset, poison]) => {
      const octets = memory;
      const start = RECORDS + offset!;
      const end = start + record.length;
      octets.fill(poison!, start - AROUND, end + AROUND);
      octets.set(record, start);
      const scratch = new Scratch(octets, SCRATCH, 1 << 20, () => {});
      const frames: string[] = [];
      const segmenter = new Segmenter(octets, sumOctetsOf(octets), scratch);
      const drop = segmenter.onRecord(start, end, (head, headLength, body, length) => {
        if (length > 0 && (body < start || body + length > end))
          throw new Error("a piece outside of its record");
        frames.push(
          join(
            octets.subarray(head, head + headLength),
            octets.subarray(body, body + length),
          ).toHex(),
        );
      });
      if (octets[start - 1] !== poison || octets[end] !== poison)
        throw new Error("something was written beside the record");
      return JSON.stringify([drop, frames]);
    });
    if (first !== second)
      throw new Error(`${record.toHex()} is cut in two ways: ${first} and ${second}`);
  },
};

/** words of a ring's header, and what a record is, as native/vmn.h has them */
const [HEAD, TAIL, DATA] = [0, 64, 192];
const SKIP = 0xffff_ffff;
const RING = 4096;
const sizeOf = (payload: number) => (8 + payload + 7) & ~7;

/** A ring of ours against another end. */
class RingTarget implements Target {
  readonly name = "rings of the native library";
  readonly unit = "records";
  readonly batch = 64;
  readonly #memory = new PacketMemory(1 << 20);
  readonly #view = new DataView(this.#memory.memory.buffer);
  readonly #receive = new ReceiveRing(this.#memory, RING);
  readonly #transmit = new TransmitRing(this.#memory, RING);
  #head = 0;
  #tail = 0;
  #received: Uint8Array[] = [];
  #sent: Uint8Array[] = [];

  round(dice: Dice): void {
    for (let n = 0; n < this.batch; n++) {
      this.#produce(dice);
      if (dice.chance(0.6)) this.#take(dice);
      this.#put(dice);
      if (dice.chance(0.6)) this.#consume(dice);
    }
  }

  #word(ring: { start: number }, at: number, value?: number): number {
    if (value !== undefined) this.#view.setUint32(ring.start + at, value, true);
    return this.#view.getUint32(ring.start + at, true);
  }

  /** The other end of the receive ring. */
  #produce(dice: Dice): void {
    const payload = dice.octets(dice.pick([0, 1, 7, 8, 60, dice.below(1600)]));
    const ring = this.#receive;
    const room = RING - ((this.#head - this.#word(ring, TAIL)) >>> 0);
    const toEnd = RING - (this.#head % RING);
    const need = sizeOf(payload.length);
    const skipped = need > toEnd ? toEnd : 0;
    if (skipped + need > room) return;
    if (skipped > 0) this.#word(ring, DATA + (this.#head % RING), SKIP);
    this.#head = (this.#head + skipped) >>> 0;
    const at = DATA + (this.#head % RING);
    this.#word(ring, at, payload.length);
    this.#memory.octets.set(payload, ring.start + at + 8);
    this.#head = (this.#head + need) >>> 0;
    this.#word(ring, HEAD, this.#head);
    this.#received.push(payload);
  }

  #take(dice: Dice): void {
    const { octets } = this.#memory;
    this.#receive.take(dice.below(20), (start, end) => {
      const wanted = this.#received.shift();
      if (wanted === undefined || Buffer.compare(octets.subarray(start, end), wanted) !== 0)
        throw new Error("another record was received");
      // what lies in front may be written over
      octets.fill(0xa5, start - 8, start);
    });
    this.#receive.release();
  }

  #put(dice: Dice): void {
    const payload = dice.octets(dice.pick([14, 60, dice.below(1600)]));
    const at = this.#transmit.put(payload.length);
    if (at === 0) return;
    this.#memory.octets.set(payload, at);
    this.#transmit.publish();
    this.#sent.push(payload);
  }

  /** The other end of the transmit ring. */
  #consume(dice: Dice): void {
    const ring = this.#transmit;
    const head = this.#word(ring, HEAD);
    for (let left = dice.below(20); left > 0 && this.#tail !== head; left--) {
      const at = DATA + (this.#tail % RING);
      const length = this.#word(ring, at);
      if (length === SKIP) {
        this.#tail = (this.#tail + RING - (this.#tail % RING)) >>> 0;
        continue;
      }
      const from = ring.start + at + 8;
      const wanted = this.#sent.shift();
      const got = this.#memory.octets.subarray(from, from + length);
      if (wanted === undefined || Buffer.compare(got, wanted) !== 0)
        throw new Error("another record was sent");
      this.#tail = (this.#tail + sizeOf(length)) >>> 0;
    }
    this.#word(ring, TAIL, this.#tail);
  }
}

export const linkTargets = (): Target[] => [JOINING, CUTTING, new RingTarget()];
