/** The subnets that a host's routes lead to, from the tables that Linux and macOS print. IPv4. */
import { cidrOf, parseIpv4, prefixOfNetmask } from "../addr/ipv4.ts";
import type { TakenSubnet } from "./subnet-choice.ts";

/**
 * Wider routes are ways to everywhere and make no subnet somebody's: the default route, and the 0.0.0.0/1 with 128.0.0.0/1,
 * or the 8.0.0.0/5 and so on, by which a VPN comes before it. The widest private network, 10.0.0.0/8, is as narrow as this.
 */
const NARROWEST_WAY_OUT = 7;

/** a route as a subnet that is taken; none for a way to everywhere */
function taken(address: number, prefix: number, owner: string): TakenSubnet[] {
  return prefix <= NARROWEST_WAY_OUT ? [] : [{ subnet: cidrOf(address, prefix), owner }];
}

/** proc(5), /proc/net/route: interface, then destination, and in the eighth column the mask, in host order */
export function procRoutes(text: string): TakenSubnet[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [name, destination, , , , , , mask] = line.split("\t");
      if (name === undefined || destination === undefined || mask === undefined) return [];
      const prefix = prefixOfNetmask(swapped(mask));
      if (prefix === undefined) return [];
      // blackhole, unreachable and prohibit routes have no interface
      const owner = name === "*" ? "a route that leads nowhere" : `a route by ${name}`;
      return taken(swapped(destination), prefix, owner);
    });
}

/** eight hexadecimal digits of a little-endian machine */
function swapped(digits: string): number {
  const octets = (digits.match(/../g) ?? []).toReversed();
  return Number.parseInt(octets.join(""), 16);
}

/**
 * netstat(1) of macOS, `netstat -rn -f inet`: destination, gateway, flags, interface. A destination leaves out zeros at
 * its end, and without a prefix as many octets count as are written.
 */
export function netstatRoutes(text: string): TakenSubnet[] {
  return text.split("\n").flatMap((line) => {
    const [destination = "", , flags = "", name = ""] = line.trim().split(/\s+/);
    const [address = "", prefixText] = destination.split("/");
    if (!/^\d+(\.\d+){0,3}$/.test(address) || !/^[A-Za-z]+$/.test(flags) || name === "") return [];
    const octets = address.split(".");
    const parsed = parseIpv4([...octets, "0", "0", "0"].slice(0, 4).join("."));
    const prefix = prefixText === undefined ? octets.length * 8 : Number(prefixText);
    if (parsed === undefined || !(prefix > 0 && prefix <= 32)) return [];
    return taken(parsed, prefix, `a route by ${name}`);
  });
}
