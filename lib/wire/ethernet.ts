/** Ethernet II frame (IEEE 802.3; RFC 894). Destination, source, type; no frame check sequence. */
import { put16, put48, u16, u48 } from "./octets.ts";

export const ETHERNET_HEADER_LENGTH = 14;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

/** The accessors need ETHERNET_HEADER_LENGTH octets from `at`; MACs are integers below 2^48. */
export const destinationMac = (buf: Uint8Array, at: number): number => u48(buf, at);
export const sourceMac = (buf: Uint8Array, at: number): number => u48(buf, at + 6);
export const etherType = (buf: Uint8Array, at: number): number => u16(buf, at + 12);

/** Writes the header and returns the offset behind it. */
export function emitEthernet(
  buf: Uint8Array,
  at: number,
  destination: number,
  source: number,
  type: number,
): number {
  put48(buf, at, destination);
  put48(buf, at + 6, source);
  put16(buf, at + 12, type);
  return at + ETHERNET_HEADER_LENGTH;
}
