/**
 * struct virtio_net_hdr of 12 octets (OASIS virtio 1.2, section 5.1.6), little-endian: what stands in front of a frame where
 * the host leaves checksums and the cutting of large TCP segments to us, or we to the host.
 */
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
