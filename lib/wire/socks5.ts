/** SOCKS version 5 as a proxy reads and writes it (RFC 1928), without authentication. */
import { u16, u32 } from "./octets.ts";

const VERSION = 5;
const NO_AUTHENTICATION = 0;
const NO_ACCEPTABLE_METHOD = 0xff;
const CONNECT = 1;
const ADDRESS_TYPE = 3;
const ADDRESS = 4;
const IPV4 = 1;
const DOMAIN_NAME = 3;
const IPV6 = 4;

/** the longest message of a client: a request with a name of 255 octets */
export const SOCKS_MESSAGE_LIMIT = 4 + 1 + 255 + 2;

/** section 6 */
export const SOCKS_REPLY = {
  succeeded: 0,
  failed: 1,
  "not-allowed": 2,
  "network-unreachable": 3,
  "host-unreachable": 4,
  refused: 5,
  "no-such-command": 7,
  "no-such-address-type": 8,
} as const;
export type SocksReply = keyof typeof SOCKS_REPLY;

export type SocksRequest =
  | { kind: "address"; address: number; port: number }
  | { kind: "name"; name: string; port: number }
  | { kind: "refuse"; reply: SocksReply };

/** Length of the greeting that begins at `at`, as far as `have` of its octets tell; 0: it is none of ours. */
export function socksGreetingLength(octets: Uint8Array, at: number, have: number): number {
  if (have >= 1 && octets[at] !== VERSION) return 0;
  return have < 2 ? 2 : 2 + octets[at + 1]!;
}

/** Writes the answer to a whole greeting, 2 octets; false when the client offers no method that we have. */
export function answerSocksGreeting(
  octets: Uint8Array,
  at: number,
  length: number,
  to: number,
): boolean {
  const acceptable = octets.subarray(at + 2, at + length).includes(NO_AUTHENTICATION);
  octets[to] = VERSION;
  octets[to + 1] = acceptable ? NO_AUTHENTICATION : NO_ACCEPTABLE_METHOD;
  return acceptable;
}

/** Length of the request that begins at `at`, as far as `have` of its octets tell; 0: it is none of ours. */
export function socksRequestLength(octets: Uint8Array, at: number, have: number): number {
  if (have >= 1 && octets[at] !== VERSION) return 0;
  // the first octet of the address belongs to every form, and tells the length of a name
  if (have < ADDRESS + 1) return ADDRESS + 1;
  switch (octets[at + ADDRESS_TYPE]) {
    case IPV4:
      return ADDRESS + 4 + 2;
    case DOMAIN_NAME:
      return ADDRESS + 1 + octets[at + ADDRESS]! + 2;
    case IPV6:
      return ADDRESS + 16 + 2;
    default:
      // how long it is cannot be known; what is there is answered
      return ADDRESS + 1;
  }
}

/** Judges a whole request. */
export function parseSocksRequest(octets: Uint8Array, at: number, length: number): SocksRequest {
  const refuse = (reply: SocksReply): SocksRequest => ({ kind: "refuse", reply });
  const type = octets[at + ADDRESS_TYPE];
  if (octets[at + 1] !== CONNECT) return refuse("no-such-command");
  if (type !== IPV4 && type !== DOMAIN_NAME) return refuse("no-such-address-type");
  const port = u16(octets, at + length - 2);
  if (port === 0) return refuse("not-allowed");
  if (type === IPV4) return { kind: "address", address: u32(octets, at + ADDRESS), port };
  const name = String.fromCharCode(...octets.subarray(at + ADDRESS + 1, at + length - 2));
  if (name.includes(":")) return refuse("no-such-address-type");
  return /^[!-~]+$/.test(name) ? { kind: "name", name, port } : refuse("host-unreachable");
}

export const SOCKS_REPLY_LENGTH = 10;

/** Writes a reply; our side's address is told as 0.0.0.0:0, since it means nothing to the client. */
export function emitSocksReply(octets: Uint8Array, at: number, reply: SocksReply): void {
  octets.fill(0, at, at + SOCKS_REPLY_LENGTH);
  octets[at] = VERSION;
  octets[at + 1] = SOCKS_REPLY[reply];
  octets[at + ADDRESS_TYPE] = IPV4;
}
