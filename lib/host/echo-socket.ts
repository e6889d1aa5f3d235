/**
 * ICMP echo (RFC 792) on sockets that the kernel does not keep apart, as macOS's: each socket gets, with the IP header in
 * front, every ICMP message that comes from its peer. So each has an identifier of its own, by which it knows its replies
 * and the errors about its requests.
 */
import { fold } from "../wire/checksum.ts";
import {
  DESTINATION_UNREACHABLE,
  ECHO_REPLY,
  ECHO_REQUEST,
  echoIdentifier,
  ICMP_HEADER_LENGTH,
  icmpType,
  TIME_EXCEEDED,
} from "../wire/icmpv4.ts";
import { IPV4_HEADER_LENGTH, PROTOCOL_ICMP } from "../wire/ipv4.ts";
import { put16, u16, u32 } from "../wire/octets.ts";

const SOURCE_QUENCH = 4;
const PARAMETER_PROBLEM = 12;
const FRAGMENTATION_NEEDED = 4;

/** Changes the identifier of the echo message at `at`, and its checksum accordingly (RFC 1624); the one it had. */
export function exchangeIdentifier(octets: Uint8Array, at: number, identifier: number): number {
  const before = echoIdentifier(octets, at);
  const sum = (~u16(octets, at + 2) & 0xffff) + (~before & 0xffff) + identifier;
  put16(octets, at + 2, ~fold(sum));
  put16(octets, at + 4, identifier);
  return before;
}

export type EchoArrival =
  | { kind: "reply"; at: number; ttl: number }
  /** `at`: the request as far as the error quotes it */
  | { kind: "error"; at: number; type: number; code: number; info: number; from: number }
  | { kind: "foreign" };

const FOREIGN: EchoArrival = { kind: "foreign" };

/** What an IPv4 packet in [start, end) is to the socket with this identifier. */
export function readEchoArrival(
  octets: Uint8Array,
  start: number,
  end: number,
  identifier: number,
): EchoArrival {
  const at = pastIpv4(octets, start, end);
  if (at === undefined || at + ICMP_HEADER_LENGTH > end) return FOREIGN;
  const type = icmpType(octets, at);
  if (type === ECHO_REPLY)
    return echoIdentifier(octets, at) === identifier
      ? { kind: "reply", at, ttl: octets[start + 8]! }
      : FOREIGN;
  if (
    type !== DESTINATION_UNREACHABLE &&
    type !== SOURCE_QUENCH &&
    type !== TIME_EXCEEDED &&
    type !== PARAMETER_PROBLEM
  )
    return FOREIGN;
  const quoted = pastIpv4(octets, at + ICMP_HEADER_LENGTH, end);
  if (quoted === undefined || quoted + ICMP_HEADER_LENGTH > end) return FOREIGN;
  if (icmpType(octets, quoted) !== ECHO_REQUEST || echoIdentifier(octets, quoted) !== identifier)
    return FOREIGN;
  const code = octets[at + 1]!;
  const isTooBig = type === DESTINATION_UNREACHABLE && code === FRAGMENTATION_NEEDED;
  const info = isTooBig ? u16(octets, at + 6) : 0;
  return { kind: "error", at: quoted, type, code, info, from: u32(octets, start + 12) };
}

/** where the ICMP message of an IPv4 packet begins; undefined when there is none */
function pastIpv4(octets: Uint8Array, at: number, end: number): number | undefined {
  if (at + IPV4_HEADER_LENGTH > end || octets[at]! >> 4 !== 4) return undefined;
  const length = (octets[at]! & 0xf) * 4;
  return length < IPV4_HEADER_LENGTH || octets[at + 9] !== PROTOCOL_ICMP ? undefined : at + length;
}
