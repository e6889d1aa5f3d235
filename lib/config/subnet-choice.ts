/** Which subnet a new network gets: one that no interface and no route of the host, and no other network, has. */
import { cidrOf, formatIpv4, type Cidr } from "../addr/ipv4.ts";

/** A subnet that is taken, and what has it: "the interface eth0", "a route by tun0", "the network user-v2". */
export interface TakenSubnet {
  subnet: Cidr;
  owner: string;
}

const PREFIX = 24;
/** the third octets that are tried in each of the blocks below; Lima's own defaults begin at 104 */
const FIRST = 104;
const LAST = 254;
/** RFC 1918's addresses in the order in which they are tried, as blocks of 65536; a company's VPN may have whole ones */
const PRIVATE_BLOCKS = [
  0xc0a80000,
  ...Array.from({ length: 16 }, (_, second) => 0xac100000 + second * 0x10000),
  ...Array.from({ length: 256 }, (_, second) => 0x0a000000 + second * 0x10000),
];

export const overlaps = (a: Cidr, b: Cidr): boolean =>
  a.network <= b.broadcast && b.network <= a.broadcast;

/** what stands in the way of a subnet */
export function ownerOf(subnet: Cidr, taken: readonly TakenSubnet[]): string | undefined {
  return taken.find((other) => overlaps(subnet, other.subnet))?.owner;
}

/** A free /24 as "gateway address" text with its prefix; undefined when all that are tried are taken. */
export function freeGateway(taken: readonly TakenSubnet[]): string | undefined {
  for (const block of PRIVATE_BLOCKS) {
    for (let third = FIRST; third <= LAST; third++) {
      const subnet = cidrOf(block + third * 256, PREFIX);
      if (ownerOf(subnet, taken) === undefined)
        return `${formatIpv4(subnet.network + 1)}/${PREFIX}`;
    }
  }
  return undefined;
}
