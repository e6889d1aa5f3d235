/** IPv4 packet (RFC 791; checksum RFC 1071). */
import { fold, type SumOctets, wordsOf } from "./checksum.ts";
import { put16, put32, u16, u32 } from "./octets.ts";

export const IPV4_HEADER_LENGTH = 20;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
/** version 4, five words of header, no type of service */
const FIRST_WORD = 0x4500;

export type Ipv4Drop =
  | "ipv4-truncated"
  | "ipv4-version"
  | "ipv4-header-length"
  | "ipv4-total-length"
  | "ipv4-checksum";

/** A window onto one packet, to be aimed with `read` again and again; it owns nothing. */
export class Ipv4View {
  start = 0;
  /** offset of the payload, behind the options */
  payload = 0;
  /** end of the packet by its own total length (link padding is left out) */
  end = 0;
  src = 0;
  dst = 0;
  protocol = 0;
  ttl = 0;
  identification = 0;
  /** octets */
  fragmentOffset = 0;
  moreFragments = false;
  /** put together of fragments, elsewhere than where it came in: it stays there for less than a turn */
  isReassembled = false;
  /** it came in a frame to a group or to all; set by whoever has seen the frame */
  toGroup = false;
  dontFragment = false;

  /** The only check: aims the view at the packet in [start, end), or says why it cannot be one. */
  read(buf: Uint8Array, start: number, end: number, sum: SumOctets): Ipv4Drop | undefined {
    if (end - start < IPV4_HEADER_LENGTH) return "ipv4-truncated";
    const first = buf[start]!;
    if (first >>> 4 !== 4) return "ipv4-version";
    const headerLength = (first & 15) * 4;
    if (headerLength < IPV4_HEADER_LENGTH || start + headerLength > end)
      return "ipv4-header-length";
    const totalLength = u16(buf, start + 2);
    if (totalLength < headerLength || start + totalLength > end) return "ipv4-total-length";
    if (sum(start, headerLength) !== 0xffff) return "ipv4-checksum";
    const fragment = u16(buf, start + 6);
    this.start = start;
    this.payload = start + headerLength;
    this.end = start + totalLength;
    this.identification = u16(buf, start + 4);
    this.fragmentOffset = (fragment & 0x1fff) * 8;
    this.moreFragments = (fragment & MORE_FRAGMENTS) !== 0;
    this.isReassembled = false;
    this.dontFragment = (fragment & DONT_FRAGMENT) !== 0;
    this.ttl = buf[start + 8]!;
    this.protocol = buf[start + 9]!;
    this.src = u32(buf, start + 12);
    this.dst = u32(buf, start + 16);
    return undefined;
  }
}

/** Values of a packet to be made. */
export interface Ipv4Repr {
  src: number;
  dst: number;
  protocol: number;
  ttl: number;
  identification: number;
  /** flags and fragment offset as they stand in the header (offset in units of 8 octets) */
  fragment: number;
  payloadLength: number;
}

/** Writes a header without options, checksum included, and returns the offset behind it. */
export function emitIpv4(repr: Ipv4Repr, buf: Uint8Array, at: number): number {
  const { src, dst, identification, fragment } = repr;
  const totalLength = IPV4_HEADER_LENGTH + repr.payloadLength;
  const ttlAndProtocol = (repr.ttl << 8) | repr.protocol;
  put16(buf, at, FIRST_WORD);
  put16(buf, at + 2, totalLength);
  put16(buf, at + 4, identification);
  put16(buf, at + 6, fragment);
  put16(buf, at + 8, ttlAndProtocol);
  const sum = FIRST_WORD + totalLength + identification + fragment + ttlAndProtocol;
  put16(buf, at + 10, ~fold(sum + wordsOf(src) + wordsOf(dst)));
  put32(buf, at + 12, src);
  put32(buf, at + 16, dst);
  return at + IPV4_HEADER_LENGTH;
}
