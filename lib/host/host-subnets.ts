/** The subnets this machine's interfaces and routes have. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { parseCidr } from "../addr/ipv4.ts";
import { netstatRoutes, procRoutes } from "../config/route-table.ts";
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

/** Routes of this machine; where they cannot be had, its interfaces are all that is looked at. */
function routes(): TakenSubnet[] {
  if (process.platform === "darwin") {
    const { stdout } = spawnSync("/usr/sbin/netstat", ["-rn", "-f", "inet"], { encoding: "utf8" });
    return netstatRoutes(stdout ?? "");
  }
  try {
    return procRoutes(readFileSync("/proc/net/route", "utf8"));
  } catch {
    return [];
  }
}
