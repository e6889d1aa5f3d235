/**
 * What a vmnet network changes on a Linux host, as steps with their undoing (specification vmnet, section 6.5). Every undoing
 * may be carried out whether its step was done, half done or not done at all: that is what makes a crash harmless.
 */
import { formatCidr, formatIpv4, type Cidr } from "../addr/ipv4.ts";
import { formatMac } from "../addr/mac.ts";

/** One run of a program, lines for `ip -batch` or a ruleset for `nft -f`; or settings of /proc/sys/net. */
export type Change =
  | { tool: "ip"; lines: string[] }
  | { tool: "nft"; text: string }
  | { tool: "settings"; values: Record<string, string> };

export interface Step {
  /** for the log: what is done, in words */
  what: string;
  doing: Change;
  /** none: an earlier step's undoing takes this one with it */
  undoing?: Change;
}

/** Names of a network's parts, all told apart from what others make by their beginning. */
export interface PartNames {
  bridge: string;
  tap: string;
  table: string;
  /** hardware address of a bridge with a subnet of its own: guests remember it longer than a daemon may live */
  mac: number;
}

/** The kernel's IFNAMSIZ leaves 15 letters: the beginning of the network's name, and of the hash of its socket's path. */
const NAME_LETTERS = 7;

/** The parts of the network that is served at a socket, by the socket's absolute path. */
export function partNames(socketPath: string): PartNames {
  const base = socketPath.slice(socketPath.lastIndexOf("/") + 1).replace(/^socket_vmnet\.?/, "");
  const word = base.replaceAll(/[^A-Za-z0-9]/g, "").slice(0, NAME_LETTERS) || "net";
  const hash = fnv1a(socketPath);
  const digits = ((hash ^ (hash >>> 16)) & 0xffff).toString(16).padStart(4, "0");
  const id = `${word}-${digits}`;
  return {
    bridge: `lm-${id}`,
    tap: `lt-${id}`,
    table: `limanet_${id.replace("-", "_")}`,
    mac: LOCAL_MAC + hash,
  };
}

/** a locally administered address (IEEE 802 8.4), of which the last four octets are free */
const LOCAL_MAC = 0x5a94_0000_0000;

function fnv1a(text: string): number {
  let value = 0x811c9dc5;
  for (const octet of new TextEncoder().encode(text)) value = Math.imul(value ^ octet, 0x01000193);
  return value >>> 0;
}

/** frames pass at once, those of groups (mDNS) to all ports: the ports are few, and no other bridge is behind them */
const BRIDGE = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0";

/** The network's own table alone is deleted; adding it first makes that right when it is not there. */
const withoutTable = (table: string): Change => ({
  tool: "nft",
  text: `table inet ${table}\ndelete table inet ${table}\n`,
});

export interface OwnSubnet {
  mode: "shared" | "host";
  /** the host's address on the bridge */
  gateway: number;
  subnet: Cidr;
  /** guests do not reach each other, by way of the host either */
  isIsolated: boolean;
}

/**
 * A network with a subnet of its own. The rules come first, so that there is no moment at which the bridge is there without
 * them. IPv6 stays among the guests: the host has none on the bridge, takes no router advertisement there and forwards none.
 */
export function ownSubnetSteps(names: PartNames, network: OwnSubnet): Step[] {
  const { bridge, table, mac } = names;
  const address = `${formatIpv4(network.gateway)}/${network.subnet.prefix}`;
  return [
    {
      what: `rules in the table inet ${table}`,
      doing: { tool: "nft", text: ruleset(names, network) },
      undoing: withoutTable(table),
    },
    {
      what: `bridge ${bridge}`,
      doing: { tool: "ip", lines: [`link add name ${bridge} address ${formatMac(mac)} ${BRIDGE}`] },
      undoing: { tool: "ip", lines: [`link del dev ${bridge}`] },
    },
    {
      what: `no IPv6 on ${bridge}`,
      doing: {
        tool: "settings",
        values: {
          [`ipv6/conf/${bridge}/accept_ra`]: "0",
          [`ipv6/conf/${bridge}/disable_ipv6`]: "1",
        },
      },
    },
    {
      what: `the address ${address}`,
      doing: {
        tool: "ip",
        lines: [
          `addr add ${address} brd ${formatIpv4(network.subnet.broadcast)} dev ${bridge}`,
          `link set dev ${bridge} up`,
        ],
      },
    },
  ];
}

/**
 * Packets that pass through the host, and those for the host itself. A table's "accept" leaves the host's own firewall its
 * say; its "drop" is final, so that each network guards itself and needs to know of no other.
 */
function ruleset({ bridge, table }: PartNames, network: OwnSubnet): string {
  const { mode, gateway, subnet, isIsolated } = network;
  const [here, guests] = [formatIpv4(gateway), formatCidr(subnet)];
  const input = [
    // the gateway answers DNS, and a host takes packets for any of its addresses on any interface
    `iifname != { "lo", "${bridge}" } ip daddr ${here} drop`,
    // replies would go elsewhere; 0.0.0.0 is a DHCP client's
    `iifname "${bridge}" ip saddr != { 0.0.0.0, ${guests} } drop`,
    // the host's other addresses are outside
    ...(mode === "host"
      ? [`iifname "${bridge}" fib daddr type local ip daddr != ${here} drop`]
      : []),
  ];
  const forward = [
    `iifname "${bridge}" oifname "${bridge}" ${isIsolated ? "drop" : "accept"}`,
    ...(mode === "host"
      ? []
      : [
          `iifname "${bridge}" ip saddr ${guests} accept`,
          `oifname "${bridge}" ct state established,related accept`,
        ]),
    `iifname "${bridge}" drop`,
    `oifname "${bridge}" drop`,
  ];
  const masquerade = [`ip saddr ${guests} oifname != "${bridge}" masquerade`];
  const chains = [
    chain("input", "filter hook input priority filter", input),
    chain("forward", "filter hook forward priority filter", forward),
    ...(mode === "host"
      ? []
      : [chain("postrouting", "nat hook postrouting priority srcnat", masquerade)]),
  ];
  return `table inet ${table} {\n${chains.join("")}}\n`;
}

const chain = (name: string, place: string, rules: readonly string[]): string =>
  `  chain ${name} { type ${place}; policy accept;\n    ${rules.join("\n    ")}\n  }\n`;

/** The host's interface that becomes a port of the bridge, as the host has it. */
export interface Uplink {
  name: string;
  mac: string;
  mtu: number;
  /** arguments of `ip addr add`, without the interface, in the host's order */
  addresses: string[];
  /** arguments of `ip -4 route` and `ip -6 route`, without the interface */
  routes: string[];
  routes6: string[];
  /** `accept_ra` and `autoconf` of ipv6/conf: the bridge goes on with what the interface did */
  settings: Record<string, string>;
}

/**
 * A network that is the host's own. The host moves from its interface onto the bridge, and at no moment is it without its
 * addresses: they come to the new place before they leave the old one, and a route is replaced, not deleted and added.
 */
export function bridgedSteps({ bridge }: PartNames, uplink: Uplink): Step[] {
  const { name, mac, mtu, addresses } = uplink;
  const to = (device: string): string[] => [
    ...addresses.map((each) => `addr add ${each} dev ${device}`),
    ...uplink.routes.map((each) => `route replace ${withDevice(each, "0.0.0.0/0", device)}`),
    ...uplink.routes6.map((each) => `route replace ${withDevice(each, "::/0", device)}`),
  ];
  return [
    {
      what: `bridge ${bridge}`,
      doing: { tool: "ip", lines: [`link add name ${bridge} address ${mac} mtu ${mtu} ${BRIDGE}`] },
      undoing: { tool: "ip", lines: [...to(name), `link del dev ${bridge}`] },
    },
    {
      what: `IPv6 of ${bridge} like that of ${name}`,
      doing: {
        tool: "settings",
        values: Object.fromEntries(
          Object.entries(uplink.settings).map(([key, value]) => [
            `ipv6/conf/${bridge}/${key}`,
            value,
          ]),
        ),
      },
    },
    {
      what: `${bridge} in the place of ${name}: addresses ${addresses.join(", ")}; routes ${[...uplink.routes, ...uplink.routes6].join(", ")}`,
      doing: {
        tool: "ip",
        lines: [
          `link set dev ${bridge} up`,
          `link set dev ${name} master ${bridge}`,
          ...to(bridge),
          // secondary addresses first: a primary one takes them with it
          ...addresses.toReversed().map((each) => `addr del ${each.split(" ")[0]} dev ${name}`),
        ],
      },
    },
  ];
}

/** The device stands behind the destination and the next hop; a batch knows the family by the destination alone. */
function withDevice(route: string, everywhere: string, device: string): string {
  const words = route.split(" ").map((word) => (word === "default" ? everywhere : word));
  const via = words.indexOf("via");
  const isTyped = /^[a-z]+$/.test(words[0]!);
  const at = via === -1 ? (isTyped ? 2 : 1) : words[via + 1] === "inet6" ? via + 3 : via + 2;
  return [...words.slice(0, at), "dev", device, ...words.slice(at)].join(" ");
}

/** What of `ip -j addr` of one interface moves; link-local IPv6 stays with the interface, the bridge has one of its own. */
export interface AddressFacts {
  family: string;
  local: string;
  prefixlen: number;
  broadcast?: string;
  scope: string;
  label?: string;
  address?: string;
  metric?: number;
  noprefixroute?: boolean;
  nodad?: boolean;
  mngtmpaddr?: boolean;
  /** made by the kernel from one with mngtmpaddr, which makes it anew where that one goes */
  temporary?: boolean;
  valid_life_time?: number;
  preferred_life_time?: number;
}

const FOREVER = 4294967295;

export function movableAddresses(facts: readonly AddressFacts[]): string[] {
  return facts
    .filter(
      ({ family, scope, temporary }) =>
        family === "inet" || (family === "inet6" && scope !== "link" && temporary !== true),
    )
    .map((each) => {
      const words = [`${each.local}/${each.prefixlen}`];
      if (each.address !== undefined)
        words.splice(0, 1, each.local, "peer", `${each.address}/${each.prefixlen}`);
      if (each.broadcast !== undefined) words.push("brd", each.broadcast);
      if (each.scope !== "global") words.push("scope", each.scope);
      if (each.metric !== undefined) words.push("metric", String(each.metric));
      if (each.valid_life_time !== undefined && each.valid_life_time !== FOREVER)
        words.push(
          "valid_lft",
          String(each.valid_life_time),
          "preferred_lft",
          String(each.preferred_life_time ?? 0),
        );
      for (const flag of ["noprefixroute", "nodad", "mngtmpaddr"] as const)
        if (each[flag] === true) words.push(flag);
      return words.join(" ");
    });
}

/**
 * The lines of `ip route show table all dev NAME` as arguments of `ip route`: routes that come with an address are left out,
 * those without a next hop come first, since the others need them.
 */
export function movableRoutes(text: string): string[] | "multipath" {
  if (/^\s+nexthop|nhid /m.test(text)) return "multipath";
  const lines = text
    .split("\n")
    .map((line) =>
      line
        .replaceAll(/\b(linkdown|dead|offload|pervasive)\b/g, "")
        .replaceAll(/\bexpires (\d+)sec/g, "expires $1")
        .replaceAll(/\berror -?\d+/g, "")
        .replaceAll(/\s+/g, " ")
        .trim(),
    )
    .filter(
      (line) => line !== "" && !/^(local|broadcast|multicast|anycast) |proto kernel/.test(line),
    );
  return [
    ...lines.filter((line) => !line.includes(" via ")),
    ...lines.filter((line) => line.includes(" via ")),
  ];
}
