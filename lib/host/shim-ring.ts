/**
 * The rings between the native library and the engine thread (layout: native/vmn.h), in packet memory: a frame is
 * switched where it was received, and the octets in front of it (the record's header) are its headroom.
 */
import type { PacketMemory } from "../storage/packet-memory.ts";

/** places of the header's words, in 32-bit words */
const HEAD = 0;
const TAIL = 16;
const ARMED = 32;
const DROPPED = 33;
const STATUS = 36;
const RING_HEADER = 192;
const RECORD_HEADER = 8;
const SKIP = 0xffffffff;

const recordSize = (payload: number): number => (RECORD_HEADER + payload + 7) & ~7;

class Ring {
  /** offset in packet memory, for vmn_start */
  readonly start: number;
  /** octets of data, a power of two */
  readonly size: number;
  protected readonly words: Int32Array;
  protected readonly data: number;

  constructor(memory: PacketMemory, size: number) {
    this.start = memory.reserve(RING_HEADER + size);
    this.size = size;
    this.data = this.start + RING_HEADER;
    this.words = new Int32Array(
      memory.memory.buffer,
      this.start,
      (RING_HEADER + size) / Int32Array.BYTES_PER_ELEMENT,
    );
  }

  /** the word of the data at a count of octets */
  protected wordAt(count: number): number {
    return (RING_HEADER + (count & (this.size - 1))) >>> 2;
  }
}

/** Frames from the host's interface; the native library's thread fills it. */
export class ReceiveRing extends Ring {
  #taken = 0;

  /**
   * Hands over up to `limit` payloads, in packet memory, with 8 octets in front that may be overwritten. They stay until
   * `release`. Returns how many there were.
   */
  take(limit: number, onPayload: (start: number, end: number) => void): number {
    const head = Atomics.load(this.words, HEAD);
    let count = 0;
    while (this.#taken !== head && count < limit) {
      const length = this.words[this.wordAt(this.#taken)]! >>> 0;
      const place = this.#taken & (this.size - 1);
      if (length === SKIP) {
        this.#taken = (this.#taken + this.size - place) | 0;
        continue;
      }
      this.#taken = (this.#taken + recordSize(length)) | 0;
      count++;
      const start = this.data + place + RECORD_HEADER;
      onPayload(start, start + length);
    }
    return count;
  }

  /** Gives back the room of all that was taken. */
  release(): void {
    Atomics.store(this.words, TAIL, this.#taken);
  }

  /** Before sleeping: from now on the bell is rung. False: something has come meanwhile, and is to be taken first. */
  arm(): boolean {
    Atomics.store(this.words, ARMED, 1);
    return Atomics.load(this.words, HEAD) === this.#taken;
  }

  /** payloads that found no room */
  get dropped(): number {
    return Atomics.load(this.words, DROPPED) >>> 0;
  }

  /** 0, or why nothing comes any more: a negative errno or vmnet status */
  get status(): number {
    return Atomics.load(this.words, STATUS);
  }
}

/** Frames to the host's interface; `ShimInterface.flush` sends them. */
export class TransmitRing extends Ring {
  #head = 0;

  /**
   * A place in packet memory for a payload of `length` octets, or 0 when the ring is full. What was put there is sent at
   * the next flush.
   */
  put(length: number): number {
    const need = recordSize(length);
    const room = this.size - ((this.#head - Atomics.load(this.words, TAIL)) | 0);
    const toEnd = this.size - (this.#head & (this.size - 1));
    const skipped = need > toEnd ? toEnd : 0;
    if (skipped + need > room) return 0;
    if (skipped > 0) {
      this.words[this.wordAt(this.#head)] = -1;
      this.#head = (this.#head + skipped) | 0;
    }
    this.words[this.wordAt(this.#head)] = length;
    const at = this.data + (this.#head & (this.size - 1)) + RECORD_HEADER;
    this.#head = (this.#head + need) | 0;
    return at;
  }

  /** Lets the native library see what was put. */
  publish(): void {
    Atomics.store(this.words, HEAD, this.#head);
  }
}
