/** The subnets this machine's interfaces and routes have. */
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { cidrOf, parseCidr, prefixOfNetmask } from "../addr/ipv4.ts";
import type { TakenSubnet } from "../config/subnet-choice.ts";

export function hostSubnets(): TakenSubnet[] {
  const taken: TakenSubnet[] = [];
  for (const [name, addresses] of Object.entries(networkInterfaces()))
    for (const { family, cidr } of addresses ?? []) {
      const subnet = family === "IPv4" && cidr !== null ? parseCidr(cidr) : undefined;
      if (subnet !== undefined) taken.push({ subnet, owner: `the interface ${name}` });
    }
  return [...taken, ...routes()];
}

/** proc(5), /proc/net/route: interface, then destination, and in the eighth column the mask, in host order */
function routes(): TakenSubnet[] {
  let text: string;
  try {
    text = readFileSync("/proc/net/route", "utf8");
  } catch {
    // other systems have no such file; their interfaces are all that is looked at
    return [];
  }
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [name, destination, , , , , , mask] = line.split("\t");
      if (name === undefined || destination === undefined || mask === undefined) return [];
      const prefix = prefixOfNetmask(swapped(mask));
      // the default route is everybody's
      if (prefix === undefined || prefix === 0) return [];
      return [{ subnet: cidrOf(swapped(destination), prefix), owner: `a route by ${name}` }];
    });
}

/** eight hexadecimal digits of a little-endian machine */
function swapped(digits: string): number {
  const octets = (digits.match(/../g) ?? []).toReversed();
  return Number.parseInt(octets.join(""), 16);
}
