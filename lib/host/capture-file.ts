/**
 * A pcap file that grows by what an engine puts into a ring. However slow its disk is nothing else waits for it; when the
 * disk is full the file ends with a whole frame, and goes on when there is room.
 */
import { closeSync, constants, ftruncateSync, openSync, write, writeSync } from "node:fs";
import type { Log } from "../trace/log.ts";
import { PCAP_RECORD_HEADER_LENGTH, pcapFileHeader } from "../trace/pcap.ts";
import { sleep } from "./clock.ts";
import { orFileFailure } from "./file-failure.ts";
import { captureBuffer, CaptureReader } from "./frame-capture.ts";

/** octets of one write; a record is shorter */
const BATCH = 256 * 1024;
/** a pipe that is full, a disk that is full */
const FULL_PIPE_MS = 5;
const FULL_DISK_MS = 500;
/** what is not written by then, at the end, is left out */
const END_MS = 5000;

/** appending: where a file was cut the next record begins; a pipe that nobody reads must not hold up the process */
const FLAGS =
  constants.O_WRONLY |
  constants.O_CREAT |
  constants.O_TRUNC |
  constants.O_APPEND |
  constants.O_NONBLOCK;

export class CaptureFile {
  /** what the engine's `FrameCapture` is made of */
  readonly buffer = captureBuffer();
  readonly #reader = new CaptureReader(this.buffer);
  readonly #path: string;
  readonly #log: Log;
  readonly #fd: number;
  readonly #batch = new Uint8Array(BATCH);
  #size = 0;
  #isHeldUp = false;
  #hasEnded = false;
  #work: Promise<void>;

  /** Throws a sentence when the file cannot be made. */
  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    this.#fd = orFileFailure("write", path, () => openSync(path, FLAGS, 0o600));
    orFileFailure("write", path, () => {
      this.#size = writeSync(this.#fd, pcapFileHeader());
    });
    this.#work = this.#writeAll();
  }

  /** There are frames in the ring. */
  wake(): void {
    this.#work = this.#work.then(() => this.#writeAll());
  }

  /** Writes what is in the ring, until it is empty. */
  async #writeAll(): Promise<void> {
    while (!this.#hasEnded) {
      const length = wholeRecords(this.#batch, this.#reader.read(this.#batch));
      if (length > 0) {
        await this.#writeRecords(length);
        this.#reader.take(length);
      } else if (this.#reader.sleep()) return;
    }
  }

  async #writeRecords(length: number): Promise<void> {
    for (let at = 0; at < length && !this.#hasEnded;) {
      const written = await this.#write(this.#batch.subarray(at, length));
      if (typeof written === "number") {
        at += written;
        this.#size += written;
        this.#goesOn();
        continue;
      }
      if (written.code === "EAGAIN") await sleep(FULL_PIPE_MS);
      else if (written.code === "EPIPE") this.#end("nobody reads it any more");
      else {
        this.#heldUp(written);
        at = this.#cutAt(at);
        await sleep(FULL_DISK_MS);
      }
    }
  }

  /** How many octets were taken, or why none. */
  #write(octets: Uint8Array): Promise<number | (Error & { code?: string })> {
    return new Promise((resolve) => {
      write(this.#fd, octets, 0, octets.length, null, (error, written) =>
        resolve(error === null ? written : error),
      );
    });
  }

  /** Cuts off a record whose beginning alone was taken, so that what is there can be read; where to go on in the batch. */
  #cutAt(at: number): number {
    const whole = wholeRecords(this.#batch, at);
    try {
      ftruncateSync(this.#fd, this.#size - (at - whole));
    } catch {
      // a pipe
      return at;
    }
    this.#size -= at - whole;
    return whole;
  }

  #heldUp(error: Error): void {
    if (this.#isHeldUp) return;
    this.#isHeldUp = true;
    try {
      orFileFailure("write", this.#path, () => {
        throw error;
      });
    } catch (told) {
      this.#log.warn(`${(told as Error).message}; the capture goes on when that is possible`);
    }
  }

  #goesOn(): void {
    if (!this.#isHeldUp) return;
    this.#isHeldUp = false;
    this.#log.warn(`the capture in ${this.#path} goes on frames-left-out=${this.#reader.leftOut}`);
  }

  #end(why: string): void {
    this.#hasEnded = true;
    this.#log.warn(`the capture in ${this.#path} ends: ${why}`);
  }

  /** Writes what is still in the ring, if the disk takes it in time. */
  async close(): Promise<void> {
    this.wake();
    const over = new AbortController();
    await Promise.race([this.#work, sleep(END_MS, over.signal)]);
    over.abort();
    this.#hasEnded = true;
    await Promise.race([this.#work, sleep(FULL_DISK_MS)]);
    closeSync(this.#fd);
    const { leftOut } = this.#reader;
    if (leftOut > 0)
      this.#log.warn(
        `the capture in ${this.#path} lacks ${leftOut} frames, for which its disk was too slow`,
      );
  }
}

/** How many of the first `length` octets, which begin with a record, are whole records. */
function wholeRecords(octets: Uint8Array, length: number): number {
  const view = new DataView(octets.buffer);
  let end = 0;
  for (;;) {
    if (end + PCAP_RECORD_HEADER_LENGTH > length) return end;
    const next = end + PCAP_RECORD_HEADER_LENGTH + view.getUint32(end + 8, true);
    if (next > length) return end;
    end = next;
  }
}
