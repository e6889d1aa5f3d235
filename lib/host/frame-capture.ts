/**
 * Frames on their way to a capture file: the engine's thread puts them into a ring that it shares with the main thread, and
 * never waits for the disk. Frames for which there is no room are left out of the capture, and counted.
 */
import { PCAP_RECORD_HEADER_LENGTH, writePcapRecordHeader } from "../trace/pcap.ts";
import { unixMs } from "./clock.ts";

const CONTROL_OCTETS = 64;
/** a power of two, for the positions wrap at 2^32 */
const RING_SIZE = 4 << 20;
/** places of the control words: octets put in and taken out since the beginning, frames left out, and whether the reader sleeps */
const PUT = 0;
const TAKEN = 1;
const LEFT_OUT = 2;
const SLEEPS = 3;

export const captureBuffer = (): SharedArrayBuffer =>
  new SharedArrayBuffer(CONTROL_OCTETS + RING_SIZE);

/** The engine's end. */
export class FrameCapture {
  readonly #control: Int32Array;
  readonly #ring: Uint8Array;
  readonly #octets: Uint8Array;
  readonly #record = new Uint8Array(PCAP_RECORD_HEADER_LENGTH);
  readonly #header = new DataView(this.#record.buffer);
  readonly #wake: () => void;
  #put: number;

  /** octets: packet memory. `wake` has the reader take what is there. */
  constructor(buffer: SharedArrayBuffer, octets: Uint8Array, wake: () => void) {
    this.#control = new Int32Array(buffer, 0, CONTROL_OCTETS / 4);
    this.#ring = new Uint8Array(buffer, CONTROL_OCTETS);
    this.#octets = octets;
    this.#wake = wake;
    this.#put = Atomics.load(this.#control, PUT);
  }

  /** Takes in one frame, given in up to three pieces of packet memory. */
  add(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): void {
    const length = headLength + length1 + length2;
    const used = (this.#put - Atomics.load(this.#control, TAKEN)) >>> 0;
    if (used + PCAP_RECORD_HEADER_LENGTH + length > RING_SIZE) {
      Atomics.add(this.#control, LEFT_OUT, 1);
      return;
    }
    writePcapRecordHeader(this.#header, 0, unixMs(), length);
    this.#copy(this.#record, 0, PCAP_RECORD_HEADER_LENGTH);
    this.#copy(this.#octets, head, headLength);
    this.#copy(this.#octets, body1, length1);
    this.#copy(this.#octets, body2, length2);
    Atomics.store(this.#control, PUT, this.#put);
    if (Atomics.exchange(this.#control, SLEEPS, 0) === 1) this.#wake();
  }

  #copy(from: Uint8Array, start: number, length: number): void {
    const at = (this.#put >>> 0) % RING_SIZE;
    const first = Math.min(length, RING_SIZE - at);
    this.#ring.set(from.subarray(start, start + first), at);
    if (first < length) this.#ring.set(from.subarray(start + first, start + length), 0);
    this.#put = (this.#put + length) | 0;
  }
}

/** The main thread's end. */
export class CaptureReader {
  readonly #control: Int32Array;
  readonly #ring: Uint8Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#control = new Int32Array(buffer, 0, CONTROL_OCTETS / 4);
    this.#ring = new Uint8Array(buffer, CONTROL_OCTETS);
  }

  /** frames that were left out since the beginning */
  get leftOut(): number {
    return Atomics.load(this.#control, LEFT_OUT);
  }

  /** Copies as many octets as there are and fit, which need not be whole records; how many. */
  read(into: Uint8Array): number {
    const taken = Atomics.load(this.#control, TAKEN);
    const there = (Atomics.load(this.#control, PUT) - taken) >>> 0;
    const length = Math.min(there, into.length);
    const at = (taken >>> 0) % RING_SIZE;
    const first = Math.min(length, RING_SIZE - at);
    into.set(this.#ring.subarray(at, at + first));
    into.set(this.#ring.subarray(0, length - first), first);
    return length;
  }

  /** Gives the place of octets that were read. */
  take(length: number): void {
    Atomics.store(this.#control, TAKEN, (Atomics.load(this.#control, TAKEN) + length) | 0);
  }

  /** Asks to be woken by the next frame; false: there is one already. */
  sleep(): boolean {
    Atomics.store(this.#control, SLEEPS, 1);
    if (Atomics.load(this.#control, PUT) === Atomics.load(this.#control, TAKEN)) return true;
    Atomics.store(this.#control, SLEEPS, 0);
    return false;
  }
}
