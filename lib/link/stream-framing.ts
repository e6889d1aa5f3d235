/**
 * The framing of QEMU's `-netdev stream` and `socket`, of socket_vmnet and of Lima's usernet: a 32-bit big-endian
 * length, then that many octets of an Ethernet frame (../shared spec: section 16).
 */
import { put32, u32 } from "../wire/octets.ts";

export const LENGTH_PREFIX = 4;

export type FramingDrop = "framing-oversize";

/**
 * Calls `onFrame(start, end)` for every complete frame of [start, end) and returns the offset of the first octet that
 * is not part of one, or says why this cannot be a stream of frames.
 */
export function deframe(
  buf: Uint8Array,
  start: number,
  end: number,
  maxFrame: number,
  onFrame: (start: number, end: number) => void,
): number | FramingDrop {
  let at = start;
  while (end - at >= LENGTH_PREFIX) {
    const length = u32(buf, at);
    if (length > maxFrame) return "framing-oversize";
    const next = at + LENGTH_PREFIX + length;
    if (next > end) break;
    onFrame(at + LENGTH_PREFIX, next);
    at = next;
  }
  return at;
}

/** Writes the prefix of a frame whose first octet is at `head`. */
export function prefixFrame(buf: Uint8Array, head: number, length: number): void {
  put32(buf, head - LENGTH_PREFIX, length);
}
