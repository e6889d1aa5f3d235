/** DHCP message (RFC 2131; options RFC 2132, 3396, 3397, 3442). Messages are rare, so plain objects serve. */
import { put16, put32, put48, u16, u32, u48 } from "./octets.ts";

export const DHCP_CLIENT_PORT = 68;
export const DHCP_SERVER_PORT = 67;
const FIXED_LENGTH = 236;
const MAGIC = 0x63825363;
/** BOOTP's minimum (RFC 1542 2.1), which some clients insist on */
const MINIMUM_LENGTH = 300;
const PAD = 0;
const END = 255;
const OVERLOAD = 52;
const SNAME_AT = 44;
const SNAME_LENGTH = 64;
const FILE_AT = 108;
const FILE_LENGTH = 128;

export const OPTION_SUBNET_MASK = 1;
export const OPTION_ROUTER = 3;
export const OPTION_DNS = 6;
export const OPTION_HOST_NAME = 12;
export const OPTION_DOMAIN_NAME = 15;
export const OPTION_MTU = 26;
export const OPTION_REQUESTED_ADDRESS = 50;
export const OPTION_LEASE_TIME = 51;
export const OPTION_MESSAGE_TYPE = 53;
export const OPTION_SERVER_IDENTIFIER = 54;
export const OPTION_RENEWAL_TIME = 58;
export const OPTION_REBINDING_TIME = 59;
export const OPTION_CLIENT_IDENTIFIER = 61;
export const OPTION_DOMAIN_SEARCH = 119;
export const OPTION_CLASSLESS_ROUTES = 121;

export const DISCOVER = 1;
export const OFFER = 2;
export const REQUEST = 3;
export const DECLINE = 4;
export const ACK = 5;
export const NAK = 6;
export const RELEASE = 7;
export const INFORM = 8;

export type DhcpDrop =
  | "dhcp-truncated"
  | "dhcp-not-a-request"
  | "dhcp-hardware"
  | "dhcp-magic"
  | "dhcp-option"
  | "dhcp-no-type";

export interface DhcpMessage {
  xid: number;
  secs: number;
  broadcast: boolean;
  ciaddr: number;
  yiaddr: number;
  giaddr: number;
  chaddr: number;
  type: number;
  /** all options by code, parts of one code joined (RFC 3396) */
  options: Map<number, Uint8Array>;
}

/** Reads a client's message. */
export function parseDhcp(message: Uint8Array): DhcpMessage | DhcpDrop {
  if (message.length < FIXED_LENGTH + 4) return "dhcp-truncated";
  if (message[0] !== 1) return "dhcp-not-a-request";
  if (message[1] !== 1 || message[2] !== 6) return "dhcp-hardware";
  if (u32(message, FIXED_LENGTH) !== MAGIC) return "dhcp-magic";
  const options = new Map<number, Uint8Array>();
  if (!readOptions(message, FIXED_LENGTH + 4, message.length, options)) return "dhcp-option";
  const overload = options.get(OVERLOAD)?.[0] ?? 0;
  if (overload & 1 && !readOptions(message, FILE_AT, FILE_AT + FILE_LENGTH, options))
    return "dhcp-option";
  if (overload & 2 && !readOptions(message, SNAME_AT, SNAME_AT + SNAME_LENGTH, options))
    return "dhcp-option";
  const type = options.get(OPTION_MESSAGE_TYPE);
  if (type === undefined || type.length !== 1) return "dhcp-no-type";
  return {
    xid: u32(message, 4),
    secs: u16(message, 8),
    broadcast: (u16(message, 10) & 0x8000) !== 0,
    ciaddr: u32(message, 12),
    yiaddr: u32(message, 16),
    giaddr: u32(message, 24),
    chaddr: u48(message, 28),
    type: type[0]!,
    options,
  };
}

/** False when an option runs over the end of its field. */
function readOptions(
  message: Uint8Array,
  start: number,
  end: number,
  into: Map<number, Uint8Array>,
): boolean {
  let at = start;
  while (at < end) {
    const code = message[at]!;
    if (code === END) return true;
    if (code === PAD) {
      at++;
      continue;
    }
    if (at + 1 >= end) return false;
    const length = message[at + 1]!;
    const value = at + 2;
    if (value + length > end) return false;
    const before = into.get(code);
    const part = message.slice(value, value + length);
    into.set(code, before === undefined ? part : concat(before, part));
    at = value + length;
  }
  return true;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** the address an option holds; undefined when it is absent or not four octets */
export function addressOption(message: DhcpMessage, code: number): number | undefined {
  const value = message.options.get(code);
  return value?.length === 4 ? u32(value, 0) : undefined;
}

/** Makes a server's message: BOOTREPLY with the fields given, options in the order of the map. */
export function emitDhcp(message: DhcpMessage): Uint8Array {
  let length = FIXED_LENGTH + 4 + 3;
  for (const value of message.options.values())
    length += value.length + 2 * Math.max(1, Math.ceil(value.length / 255));
  const out = new Uint8Array(Math.max(length + 1, MINIMUM_LENGTH));
  out[0] = 2;
  out[1] = 1;
  out[2] = 6;
  put32(out, 4, message.xid);
  put16(out, 10, message.broadcast ? 0x8000 : 0);
  put32(out, 12, message.ciaddr);
  put32(out, 16, message.yiaddr);
  put32(out, 24, message.giaddr);
  put48(out, 28, message.chaddr);
  put32(out, FIXED_LENGTH, MAGIC);
  let at = FIXED_LENGTH + 4;
  const option = (code: number, value: Uint8Array) => {
    // RFC 3396: what is longer than 255 octets is given in parts
    for (let from = 0; from === 0 || from < value.length; from += 255) {
      const part = value.subarray(from, from + 255);
      out[at] = code;
      out[at + 1] = part.length;
      out.set(part, at + 2);
      at += 2 + part.length;
    }
  };
  option(OPTION_MESSAGE_TYPE, new Uint8Array([message.type]));
  for (const [code, value] of message.options) option(code, value);
  out[at] = END;
  return out;
}

/** addresses or other 32-bit numbers, one after the other */
export function words(...values: number[]): Uint8Array {
  const out = new Uint8Array(values.length * 4);
  values.forEach((value, i) => put32(out, i * 4, value));
  return out;
}

/** Option 119 (RFC 3397): names in DNS form, each suffix written once. Names that DNS cannot carry are left out. */
export function encodeSearchList(domains: readonly string[]): Uint8Array {
  const out: number[] = [];
  const known = new Map<string, number>();
  for (const domain of domains) {
    const labels = domain.replace(/\.$/, "").split(".");
    const octets = labels.map((label) => new TextEncoder().encode(label));
    // RFC 1035 2.3.4: labels have 1 to 63 octets, a name with all its length octets at most 255
    const length = octets.reduce((sum, label) => sum + 1 + label.length, 1);
    if (length > 255 || octets.some((label) => label.length === 0 || label.length > 63)) continue;
    let i = 0;
    for (; i < labels.length; i++) {
      const suffix = labels.slice(i).join(".").toLowerCase();
      const pointer = known.get(suffix);
      if (pointer !== undefined) {
        out.push(0xc0 | (pointer >>> 8), pointer & 255);
        break;
      }
      if (out.length < 0x4000) known.set(suffix, out.length);
      out.push(octets[i]!.length, ...octets[i]!);
    }
    if (i === labels.length) out.push(0);
  }
  return new Uint8Array(out);
}

/** Option 121 (RFC 3442): routes as (prefix length, significant octets, router). */
export function encodeClasslessRoutes(
  routes: readonly { network: number; prefix: number; router: number }[],
): Uint8Array {
  const out: number[] = [];
  for (const { network, prefix, router } of routes) {
    out.push(prefix);
    for (let i = 0; i < Math.ceil(prefix / 8); i++) out.push((network >>> (24 - 8 * i)) & 255);
    out.push(...words(router));
  }
  return new Uint8Array(out);
}
