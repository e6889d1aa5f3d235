/** The host's interface that a bridged network takes: what it has now, and whether it can be taken. */
import { ipShow, isVirtual, isWireless, networkSetting } from "../../host/network-tools.ts";
import type { HostInterface } from "../../vmnet/forwarding.ts";
import {
  movableAddresses,
  movableRoutes,
  type AddressFacts,
  type Uplink,
} from "../../vmnet/host-plan.ts";

interface InterfaceFacts {
  ifname: string;
  address: string;
  mtu: number;
  link_type: string;
  master?: string;
  linkinfo?: { info_kind?: string };
  addr_info: AddressFacts[];
}

export function interfaceFacts(name: string): InterfaceFacts | undefined {
  const text = ipShow("-j", "-d", "addr", "show", "dev", name);
  return text === "" ? undefined : (JSON.parse(text) as InterfaceFacts[])[0];
}

export function hostInterfaces(): HostInterface[] {
  const facts = JSON.parse(ipShow("-j", "-4", "addr") || "[]") as InterfaceFacts[];
  return facts.map(({ ifname, addr_info }) => ({
    name: ifname,
    isVirtual: isVirtual(ifname),
    hasAddress: addr_info.length > 0,
  }));
}

/** The interface as it is, or the bridge that it is already; throws why it cannot be taken. */
export function readUplink(
  name: string,
): { bridge: { name: string; mtu: number }; uplink?: never } | { bridge?: never; uplink: Uplink } {
  const cannot = (why: string) => new Error(`Cannot bridge to the interface ${name}: ${why}`);
  const facts = /^[A-Za-z0-9_.-]+$/.test(name) ? interfaceFacts(name) : undefined;
  if (facts === undefined) throw cannot("the host has none of that name (ip -br link lists them)");
  const { mtu, address: mac, master } = facts;
  if (facts.linkinfo?.info_kind === "bridge") return { bridge: { name, mtu } };
  if (facts.link_type !== "ether") throw cannot("it carries no Ethernet frames");
  if (isWireless(name))
    throw cannot(
      "it is wireless, and an access point takes frames of its own stations only (use a shared network)",
    );
  if (master !== undefined)
    throw cannot(`it is a port of ${master} already (name ${master} if that is a bridge)`);
  const routes = movableRoutes(ipShow("-4", "route", "show", "table", "all", "dev", name));
  const routes6 = movableRoutes(ipShow("-6", "route", "show", "table", "all", "dev", name));
  if (routes === "multipath" || routes6 === "multipath")
    throw cannot("a route of several next hops leads over it, which cannot be moved");
  const settings: Record<string, string> = {};
  for (const key of ["accept_ra", "autoconf"]) {
    const value = networkSetting(`ipv6/conf/${name}/${key}`);
    if (value !== undefined) settings[key] = value;
  }
  return {
    uplink: {
      name,
      mac,
      mtu,
      addresses: movableAddresses(facts.addr_info),
      routes,
      routes6,
      settings,
    },
  };
}
