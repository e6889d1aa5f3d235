/** ARP for IPv4 over Ethernet (RFC 826). */
import { put16, put32, put48, u16, u32, u48 } from "./octets.ts";

export const ARP_LENGTH = 28;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

export type ArpDrop = "arp-truncated" | "arp-form";

/** The only check: [start, end) holds an ARP packet for IPv4 over Ethernet. */
export function checkArp(buf: Uint8Array, start: number, end: number): ArpDrop | undefined {
  if (end - start < ARP_LENGTH) return "arp-truncated";
  if (u32(buf, start) !== 0x00010800 || u16(buf, start + 4) !== 0x0604) return "arp-form";
  return undefined;
}

export const arpOperation = (buf: Uint8Array, at: number): number => u16(buf, at + 6);
export const arpSha = (buf: Uint8Array, at: number): number => u48(buf, at + 8);
export const arpSpa = (buf: Uint8Array, at: number): number => u32(buf, at + 14);
export const arpTpa = (buf: Uint8Array, at: number): number => u32(buf, at + 24);

/** Writes a packet and returns the offset behind it. */
export function emitArp(
  buf: Uint8Array,
  at: number,
  operation: number,
  sha: number,
  spa: number,
  tha: number,
  tpa: number,
): number {
  put32(buf, at, 0x00010800);
  put16(buf, at + 4, 0x0604);
  put16(buf, at + 6, operation);
  put48(buf, at + 8, sha);
  put32(buf, at + 14, spa);
  put48(buf, at + 18, tha);
  put32(buf, at + 24, tpa);
  return at + ARP_LENGTH;
}
