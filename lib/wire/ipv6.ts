/** IPv6 header and the chain of extension headers behind it (RFC 8200 sections 3 and 4). */
import { u16 } from "./octets.ts";

export const IPV6_HEADER_LENGTH = 40;
const NEXT_HEADER = 6;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;
const MOBILITY = 135;
const FRAGMENT_LENGTH = 8;
/** more headers than anybody has use for */
const MAX_HEADERS = 8;

export const PROTOCOL_ICMPV6 = 58;

export type Ipv6Drop =
  | "ipv6-truncated"
  | "ipv6-version"
  /** RFC 7112: the chain must be in one piece, and here it ends before it has said what it carries */
  | "ipv6-header-chain";

/** What a packet carries and where that starts. Reused; borrows nothing. */
export class Ipv6Upper {
  /** -1: a fragment beyond the first */
  protocol = -1;
  at = 0;

  /** Follows the chain of the packet in [start, end); what is behind `at` has not been checked. */
  find(buf: Uint8Array, start: number, end: number): Ipv6Drop | undefined {
    if (end - start < IPV6_HEADER_LENGTH) return "ipv6-truncated";
    if (buf[start]! >>> 4 !== 6) return "ipv6-version";
    this.protocol = buf[start + NEXT_HEADER]!;
    this.at = start + IPV6_HEADER_LENGTH;
    for (let headers = 0; isExtension(this.protocol); headers++) {
      const { protocol, at } = this;
      if (headers === MAX_HEADERS || end - at < FRAGMENT_LENGTH) return "ipv6-header-chain";
      if (protocol === FRAGMENT && u16(buf, at + 2) >>> 3 !== 0) {
        this.protocol = -1;
        return undefined;
      }
      const length = buf[at + 1]!;
      if (protocol === FRAGMENT) this.at += FRAGMENT_LENGTH;
      // RFC 4302 2.2: in words of 32 bits, less two
      else this.at += protocol === AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8;
      this.protocol = buf[at]!;
      if (this.at > end) return "ipv6-header-chain";
    }
    return undefined;
  }
}

const isExtension = (protocol: number): boolean =>
  protocol === HOP_BY_HOP ||
  protocol === ROUTING ||
  protocol === FRAGMENT ||
  protocol === AUTHENTICATION ||
  protocol === DESTINATION_OPTIONS ||
  protocol === MOBILITY;
