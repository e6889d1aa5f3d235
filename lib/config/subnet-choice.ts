/** Which subnet a new network gets: one that no interface and no route of the host, and no other network, has. */
import { cidrOf, formatIpv4, type Cidr } from "../addr/ipv4.ts";

/** A subnet that is taken, and what has it: "the interface eth0", "a route by tun0", "the network user-v2". */
export interface TakenSubnet {
  subnet: Cidr;
  owner: string;
}

/** the first and last third octet of 192.168.x.0/24 that are tried; Lima's own defaults begin at 104 */
const FIRST = 104;
const LAST = 254;
const PREFIX = 24;

export const overlaps = (a: Cidr, b: Cidr): boolean =>
  a.network <= b.broadcast && b.network <= a.broadcast;

/** what stands in the way of a subnet */
export function ownerOf(subnet: Cidr, taken: readonly TakenSubnet[]): string | undefined {
  return taken.find((other) => overlaps(subnet, other.subnet))?.owner;
}

/** A free /24 as "gateway address" text with its prefix; undefined when all that are tried are taken. */
export function freeGateway(taken: readonly TakenSubnet[]): string | undefined {
  for (let third = FIRST; third <= LAST; third++) {
    const subnet = cidrOf(0xc0a80000 + third * 256, PREFIX);
    if (ownerOf(subnet, taken) === undefined) return `${formatIpv4(subnet.network + 1)}/${PREFIX}`;
  }
  return undefined;
}
