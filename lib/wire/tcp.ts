/** TCP segment (RFC 9293 3.1; options: RFC 7323 window scale and timestamps, RFC 2018 SACK). */
import { fold, pseudoHeaderSum, type SumOctets } from "./checksum.ts";
import { PROTOCOL_TCP } from "./ipv4.ts";
import { i32, u16 } from "./octets.ts";

export const TCP_HEADER_LENGTH = 20;
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
/** RFC 3168 */
export const CWR = 128;
/** where the checksum stands */
export const TCP_CHECKSUM = 16;

export const OPTION_END = 0;
export const OPTION_NOP = 1;
export const OPTION_MSS = 2;
export const OPTION_WINDOW_SCALE = 3;
export const OPTION_SACK_PERMITTED = 4;
export const OPTION_SACK = 5;
export const OPTION_TIMESTAMPS = 8;
/** as many as fit beside other options (RFC 2018 section 3) */
const MAX_SACK_BLOCKS = 4;

export type TcpDrop = "tcp-truncated" | "tcp-header-length" | "tcp-checksum" | "tcp-option";

/** A window onto one segment, to be aimed with `read` again and again; it owns nothing. */
export class TcpView {
  srcPort = 0;
  dstPort = 0;
  /** signed 32-bit numbers, like the timestamps: compare only through `seqLess` and its like */
  seq = 0;
  ack = 0;
  flags = 0;
  /** as on the wire, not scaled */
  window = 0;
  payload = 0;
  end = 0;
  /** 0: the option is absent */
  mss = 0;
  /** -1: absent */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  tsVal = 0;
  tsEcr = 0;
  sackCount = 0;
  readonly sackStarts = new Int32Array(MAX_SACK_BLOCKS);
  readonly sackEnds = new Int32Array(MAX_SACK_BLOCKS);

  get payloadLength(): number {
    return this.end - this.payload;
  }

  /** length in sequence space (RFC 9293 3.4: SYN and FIN count one each) */
  get sequenceLength(): number {
    return this.end - this.payload + ((this.flags & SYN) >>> 1) + (this.flags & FIN);
  }

  /**
   * The only check: aims the view at the segment in [start, end) between two addresses, or says why it cannot be one. `sum`
   * undefined: it has no checksum.
   */
  read(
    buf: Uint8Array,
    start: number,
    end: number,
    src: number,
    dst: number,
    sum: SumOctets | undefined,
  ): TcpDrop | undefined {
    if (end - start < TCP_HEADER_LENGTH) return "tcp-truncated";
    const headerLength = (buf[start + 12]! >>> 4) * 4;
    if (headerLength < TCP_HEADER_LENGTH || start + headerLength > end) return "tcp-header-length";
    if (sum !== undefined) {
      const length = end - start;
      if (fold(pseudoHeaderSum(src, dst, PROTOCOL_TCP, length) + sum(start, length)) !== 0xffff)
        return "tcp-checksum";
    }
    this.srcPort = u16(buf, start);
    this.dstPort = u16(buf, start + 2);
    this.seq = i32(buf, start + 4);
    this.ack = i32(buf, start + 8);
    this.flags = buf[start + 13]! & 0x3f;
    this.window = u16(buf, start + 14);
    this.payload = start + headerLength;
    this.end = end;
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.sackCount = 0;
    if (headerLength === TCP_HEADER_LENGTH) return undefined;
    // RFC 7323 appendix A: the layout every stack uses for a timestamp alone
    if (headerLength === 32 && i32(buf, start + 20) === 0x0101080a) {
      this.hasTimestamps = true;
      this.tsVal = i32(buf, start + 24);
      this.tsEcr = i32(buf, start + 28);
      return undefined;
    }
    return this.#readOptions(buf, start + TCP_HEADER_LENGTH, this.payload);
  }

  #readOptions(buf: Uint8Array, start: number, end: number): TcpDrop | undefined {
    let at = start;
    while (at < end) {
      const kind = buf[at]!;
      if (kind === OPTION_END) return undefined;
      if (kind === OPTION_NOP) {
        at++;
        continue;
      }
      if (at + 1 >= end) return "tcp-option";
      const length = buf[at + 1]!;
      if (length < 2 || at + length > end) return "tcp-option";
      if (kind === OPTION_MSS && length === 4) {
        this.mss = u16(buf, at + 2);
      } else if (kind === OPTION_WINDOW_SCALE && length === 3) {
        // RFC 7323 2.3: larger shifts are used as 14
        this.windowScale = Math.min(buf[at + 2]!, 14);
      } else if (kind === OPTION_SACK_PERMITTED && length === 2) {
        this.sackPermitted = true;
      } else if (kind === OPTION_TIMESTAMPS && length === 10) {
        this.hasTimestamps = true;
        this.tsVal = i32(buf, at + 2);
        this.tsEcr = i32(buf, at + 6);
      } else if (kind === OPTION_SACK && length >= 10 && (length - 2) % 8 === 0) {
        const blocks = Math.min((length - 2) / 8, MAX_SACK_BLOCKS);
        for (let i = 0; i < blocks; i++) {
          this.sackStarts[i] = i32(buf, at + 2 + i * 8);
          this.sackEnds[i] = i32(buf, at + 6 + i * 8);
        }
        this.sackCount = blocks;
      }
      at += length;
    }
    return undefined;
  }
}
