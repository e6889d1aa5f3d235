/** A capture file that grows by the frames it is given. A file that cannot be written any more ends the capture, not the network. */
import { closeSync, openSync, writeSync } from "node:fs";
import { PCAP_RECORD_HEADER_LENGTH, pcapFileHeader, writePcapRecordHeader } from "../trace/pcap.ts";
import { unixMs } from "./clock.ts";

export class FrameCapture {
  readonly #octets: Uint8Array;
  readonly #header = new DataView(new ArrayBuffer(PCAP_RECORD_HEADER_LENGTH));
  #fd: number;

  /** Throws the system's error when the file cannot be made. */
  constructor(path: string, octets: Uint8Array) {
    this.#octets = octets;
    this.#fd = openSync(path, "w", 0o600);
    writeSync(this.#fd, pcapFileHeader());
  }

  /** Writes one frame, given in up to three pieces of packet memory. */
  add(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): void {
    if (this.#fd < 0) return;
    writePcapRecordHeader(this.#header, 0, unixMs(), headLength + length1 + length2);
    try {
      writeSync(this.#fd, this.#header);
      writeSync(this.#fd, this.#octets, head, headLength);
      if (length1 > 0) writeSync(this.#fd, this.#octets, body1, length1);
      if (length2 > 0) writeSync(this.#fd, this.#octets, body2, length2);
    } catch {
      this.close();
    }
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}
