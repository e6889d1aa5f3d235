/** UDP datagram (RFC 768). */
import { fold, pseudoHeaderSum, type SumOctets } from "./checksum.ts";
import { PROTOCOL_UDP } from "./ipv4.ts";
import { put16, u16 } from "./octets.ts";

export const UDP_HEADER_LENGTH = 8;

export type UdpDrop = "udp-truncated" | "udp-length" | "udp-checksum";

export const udpSrcPort = (buf: Uint8Array, at: number): number => u16(buf, at);
export const udpDstPort = (buf: Uint8Array, at: number): number => u16(buf, at + 2);
/** header and payload, octets */
export const udpLength = (buf: Uint8Array, at: number): number => u16(buf, at + 4);

/** The only check: a datagram from `start` whose IP payload ends at `end`. A zero checksum means none was made. */
export function checkUdp(
  buf: Uint8Array,
  start: number,
  end: number,
  src: number,
  dst: number,
  sum: SumOctets,
): UdpDrop | undefined {
  if (end - start < UDP_HEADER_LENGTH) return "udp-truncated";
  const length = udpLength(buf, start);
  if (length < UDP_HEADER_LENGTH || start + length > end) return "udp-length";
  if (u16(buf, start + 6) !== 0) {
    const total = fold(pseudoHeaderSum(src, dst, PROTOCOL_UDP, length) + sum(start, length));
    if (total !== 0xffff) return "udp-checksum";
  }
  return undefined;
}

/** Writes the header in front of a payload that already stands at `at + 8`; the checksum covers it. */
export function emitUdp(
  buf: Uint8Array,
  at: number,
  src: number,
  dst: number,
  srcPort: number,
  dstPort: number,
  payloadLength: number,
  sum: SumOctets,
): void {
  const length = UDP_HEADER_LENGTH + payloadLength;
  put16(buf, at, srcPort);
  put16(buf, at + 2, dstPort);
  put16(buf, at + 4, length);
  put16(buf, at + 6, 0);
  const total = fold(pseudoHeaderSum(src, dst, PROTOCOL_UDP, length) + sum(at, length));
  // RFC 768: an all-zero checksum would say "none", so it is sent as all ones
  put16(buf, at + 6, total === 0xffff ? 0xffff : ~total);
}
