/** How Ethernet frames follow each other on a stream: a length, then that many octets (specification, section 16). */
import { put16, put32, u32 } from "../wire/octets.ts";

export interface StreamFraming {
  /** octets of the length in front of a frame */
  readonly prefix: number;
  lengthAt(buf: Uint8Array, at: number): number;
  putLength(buf: Uint8Array, at: number, length: number): void;
}

/** QEMU's `-netdev stream` and `socket`, socket_vmnet, Lima's usernet: 32 bits, big-endian */
export const QEMU_FRAMING: StreamFraming = {
  prefix: 4,
  lengthAt: u32,
  putLength: put32,
};

/** gvproxy's `/connect`, as VPNKit and HyperKit speak: 16 bits, little-endian */
export const VPNKIT_FRAMING: StreamFraming = {
  prefix: 2,
  lengthAt: (buf, at) => buf[at]! | (buf[at + 1]! << 8),
  putLength: (buf, at, length) => put16(buf, at, ((length & 0xff) << 8) | (length >> 8)),
};

export const MAX_PREFIX = 4;

export type FramingDrop = "framing-oversize";

/**
 * Calls `onFrame(start, end)` for every complete frame of [start, end) and returns the offset of the first octet that
 * is not part of one, or says why this cannot be a stream of frames.
 */
export function deframe(
  framing: StreamFraming,
  buf: Uint8Array,
  start: number,
  end: number,
  maxFrame: number,
  onFrame: (start: number, end: number) => void,
): number | FramingDrop {
  const { prefix } = framing;
  let at = start;
  while (end - at >= prefix) {
    const length = framing.lengthAt(buf, at);
    if (length > maxFrame) return "framing-oversize";
    const next = at + prefix + length;
    if (next > end) break;
    onFrame(at + prefix, next);
    at = next;
  }
  return at;
}
