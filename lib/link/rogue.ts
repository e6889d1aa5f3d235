/**
 * What only the network itself may tell guests, and no guest another: DHCP replies, and where IPv6 routers are (RFC 7610
 * and 6105 have it so for switches). Also in frames that hide it, behind extension headers or in a priority tag.
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from "../wire/ethernet.ts";
import { PROTOCOL_UDP } from "../wire/ipv4.ts";
import { Ipv6Upper, PROTOCOL_ICMPV6, type Ipv6Drop } from "../wire/ipv6.ts";
import { u16 } from "../wire/octets.ts";

const DHCP_CLIENT_PORT = 68;
const DHCPV6_CLIENT_PORT = 546;
/** RFC 4861 4.2, 4.5 */
const ROUTER_ADVERTISEMENT = 134;
const REDIRECT = 137;
const TAG = 0x8100;
const SERVICE_TAG = 0x88a8;
const TAG_LENGTH = 4;
const MAX_TAGS = 4;

export type RogueDrop = "rogue-dhcp-server" | "rogue-router" | "tag-depth" | Ipv6Drop;

const upper = new Ipv6Upper();

/**
 * Where the type of what a guest's frame carries stands, behind tags that name no VLAN: receivers read past those
 * (IEEE 802.1Q 6.9.1). -1: it belongs to a VLAN, which is the guests' own; or the reason to drop it.
 */
export function typeOffset(buf: Uint8Array, start: number, end: number): number | "tag-depth" {
  let at = start + 12;
  for (let tags = 0; ; tags++) {
    const type = u16(buf, at);
    if (type !== TAG && type !== SERVICE_TAG) return at;
    if (tags === MAX_TAGS || end - at < TAG_LENGTH + 2) return "tag-depth";
    if ((u16(buf, at + 2) & 0xfff) !== 0) return -1;
    at += TAG_LENGTH;
  }
}

/** Why a packet of this type in [start, end) may not come from a guest; undefined: it may. */
export function rogueDrop(
  type: number,
  buf: Uint8Array,
  start: number,
  end: number,
): RogueDrop | undefined {
  if (type === ETHERTYPE_IPV4)
    return isToDhcpClient(buf, start, end) ? "rogue-dhcp-server" : undefined;
  if (type !== ETHERTYPE_IPV6) return undefined;
  const drop = upper.find(buf, start, end);
  if (drop !== undefined) return drop;
  const { protocol, at } = upper;
  if (protocol === PROTOCOL_ICMPV6 && end > at) {
    const kind = buf[at]!;
    return kind === ROUTER_ADVERTISEMENT || kind === REDIRECT ? "rogue-router" : undefined;
  }
  const isToClient =
    protocol === PROTOCOL_UDP && end - at >= 4 && u16(buf, at + 2) === DHCPV6_CLIENT_PORT;
  return isToClient ? "rogue-dhcp-server" : undefined;
}

/** Later fragments need no look: without the first they are nothing. */
function isToDhcpClient(buf: Uint8Array, start: number, end: number): boolean {
  if (end - start < 20 || buf[start + 9] !== PROTOCOL_UDP) return false;
  if ((u16(buf, start + 6) & 0x1fff) !== 0) return false;
  const datagram = start + (buf[start]! & 15) * 4;
  return end - datagram >= 4 && u16(buf, datagram + 2) === DHCP_CLIENT_PORT;
}
