/** ICMP (RFC 792; codes of RFC 1122 and 1812; next-hop MTU of RFC 1191). */
import { fold, type SumOctets } from "./checksum.ts";
import { put16, put32, u16, u32 } from "./octets.ts";

export const ICMP_HEADER_LENGTH = 8;
export const ECHO_REPLY = 0;
export const DESTINATION_UNREACHABLE = 3;
export const ECHO_REQUEST = 8;
export const TIME_EXCEEDED = 11;
export const HOST_UNREACHABLE = 1;
export const PORT_UNREACHABLE = 3;
export const ADMINISTRATIVELY_PROHIBITED = 13;

export type IcmpDrop = "icmp-truncated" | "icmp-checksum";

/** The only check of a message in [start, end). */
export function checkIcmp(start: number, end: number, sum: SumOctets): IcmpDrop | undefined {
  if (end - start < ICMP_HEADER_LENGTH) return "icmp-truncated";
  return sum(start, end - start) === 0xffff ? undefined : "icmp-checksum";
}

export const icmpType = (buf: Uint8Array, at: number): number => buf[at]!;
/** identifier and sequence number of an echo, or the unused word of an error */
export const icmpRest = (buf: Uint8Array, at: number): number => u32(buf, at + 4);
export const echoIdentifier = (buf: Uint8Array, at: number): number => u16(buf, at + 4);

/** Writes the header in front of `bodyLength` octets that already stand behind it; the checksum covers both. */
export function emitIcmp(
  buf: Uint8Array,
  at: number,
  type: number,
  code: number,
  rest: number,
  bodyLength: number,
  sum: SumOctets,
): void {
  buf[at] = type;
  buf[at + 1] = code;
  put16(buf, at + 2, 0);
  put32(buf, at + 4, rest);
  put16(buf, at + 2, ~fold(sum(at, ICMP_HEADER_LENGTH + bodyLength)));
}
