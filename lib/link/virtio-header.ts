/**
 * struct virtio_net_hdr of 12 octets (OASIS virtio 1.2, section 5.1.6), little-endian: what stands in front of a frame where
 * the host leaves checksums and the cutting of large TCP segments to us, or we to the host.
 */
import { ETHERNET_HEADER_LENGTH, ETHERTYPE_IPV4, etherType } from "../wire/ethernet.ts";
import { IPV4_HEADER_LENGTH, PROTOCOL_TCP } from "../wire/ipv4.ts";
import { u16 } from "../wire/octets.ts";
import { TCP_CHECKSUM, TCP_HEADER_LENGTH } from "../wire/tcp.ts";

export const VIRTIO_HEADER_LENGTH = 12;

/** flags: the checksum from `csumStart` on is to be completed; its place holds the sum of the pseudo header */
export const NEEDS_CHECKSUM = 1;
/** flags: the checksum is right */
export const CHECKSUM_IS_RIGHT = 2;

/** types: into what the frame is to be cut */
export const WHOLE = 0;
export const TCP_OVER_IPV4 = 1;
export const TCP_OVER_IPV6 = 4;
/** a bit beside the type: the segment says that congestion was met (RFC 3168) */
const WITH_ECN = 0x80;

/** offsets are counted from the frame's first octet */
export interface VirtioHeader {
  flags: number;
  type: number;
  headerLength: number;
  segmentSize: number;
  checksumStart: number;
  checksumOffset: number;
}

const word = (buf: Uint8Array, at: number): number => buf[at]! | (buf[at + 1]! << 8);

function putWord(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value;
  buf[at + 1] = value >>> 8;
}

export const flagsOf = (buf: Uint8Array, at: number): number => buf[at]!;
export const typeOf = (buf: Uint8Array, at: number): number => buf[at + 1]! & ~WITH_ECN;
export const segmentSizeOf = (buf: Uint8Array, at: number): number => word(buf, at + 4);
export const checksumStartOf = (buf: Uint8Array, at: number): number => word(buf, at + 6);
export const checksumOffsetOf = (buf: Uint8Array, at: number): number => word(buf, at + 8);

/** TCP over IPv4 without options, in its frame */
export const TCP_START = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH;
const FRAGMENT_BITS = 0x3fff;

/** The frame at `frame` is an unfragmented TCP segment over IPv4 without options, as far as its first octets say. */
export const isPlainTcp = (buf: Uint8Array, frame: number): boolean =>
  etherType(buf, frame) === ETHERTYPE_IPV4 &&
  buf[frame + ETHERNET_HEADER_LENGTH] === 0x45 &&
  (u16(buf, frame + ETHERNET_HEADER_LENGTH + 6) & FRAGMENT_BITS) === 0 &&
  buf[frame + ETHERNET_HEADER_LENGTH + 9] === PROTOCOL_TCP;

/** Nothing but TCP's checksum is missing in the record [start, end), a header and its frame. */
export const lacksTcpChecksum = (buf: Uint8Array, start: number, end: number): boolean =>
  (flagsOf(buf, start) & NEEDS_CHECKSUM) !== 0 &&
  end - start >= VIRTIO_HEADER_LENGTH + TCP_START + TCP_HEADER_LENGTH &&
  checksumStartOf(buf, start) === TCP_START &&
  checksumOffsetOf(buf, start) === TCP_CHECKSUM &&
  isPlainTcp(buf, start + VIRTIO_HEADER_LENGTH);

/** Writes the header of a frame that is whole and has its checksum; returns the offset behind it. */
export function emitPlainHeader(buf: Uint8Array, at: number): number {
  buf.fill(0, at, at + VIRTIO_HEADER_LENGTH);
  return at + VIRTIO_HEADER_LENGTH;
}

/** Writes a header and returns the offset behind it. */
export function emitVirtioHeader(header: VirtioHeader, buf: Uint8Array, at: number): number {
  buf[at] = header.flags;
  buf[at + 1] = header.type;
  putWord(buf, at + 2, header.headerLength);
  putWord(buf, at + 4, header.segmentSize);
  putWord(buf, at + 6, header.checksumStart);
  putWord(buf, at + 8, header.checksumOffset);
  putWord(buf, at + 10, 0);
  return at + VIRTIO_HEADER_LENGTH;
}
