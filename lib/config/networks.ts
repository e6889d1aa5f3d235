/** networks.yaml (specification, section 4): the networks an instance can be attached to by name. */
import {
  cidrContains,
  cidrOf,
  formatCidr,
  formatIpv4,
  parseIpv4,
  prefixOfNetmask,
  type Cidr,
} from "../addr/ipv4.ts";
import { nearest, YamlReader, type Diagnostic } from "./document.ts";
import { readHostAccess, type HostAccess } from "./host-access.ts";
import { identifierProblem } from "./names.ts";

export const NETWORK_MODES = ["user-v2", "shared", "host", "bridged"] as const;
export type NetworkMode = (typeof NETWORK_MODES)[number];

type YamlNode = Parameters<YamlReader["string"]>[0];

export interface NetworkConfig {
  /** as in the file; one that is not in NETWORK_MODES cannot be used */
  mode: string;
  interface?: string;
  gateway?: string;
  dhcpEnd?: string;
  netmask?: string;
  /** our extension: largest IP packet of a user-v2 network */
  mtu?: number;
  /** our extension: what guests of a user-v2 network reach of the host's loopback (default: all) */
  hostAccess?: HostAccess;
  /** our extension: guests of a user-v2 network reach 169.254.0.0/16 (default: false) */
  linkLocalAccess?: boolean;
}

/** How user-v2 networks answer DNS; what is not said has its default. */
export interface NetworksDns {
  /** AAAA is answered (default: false) */
  ipv6?: boolean;
  /** may 8.8.8.8 and 1.1.1.1 be asked where the host names no name server (default: true) */
  publicFallback?: boolean;
  /** an outage of DNS is an empty answer, as in Lima, rather than SERVFAIL (default: false) */
  emptyOnOutage?: boolean;
}

export interface NetworksConfig {
  /** our extension */
  dns?: NetworksDns;
  paths: { socketVMNet: string; varRun: string; sudoers: string };
  /** "" when the file does not say it */
  group: string;
  networks: Record<string, NetworkConfig>;
}

const DEFAULT_NETMASK = "255.255.255.0";
export const DEFAULT_PREFIX = 24;

/** what the default file says about the machine and its user */
export interface NetworksDefaults {
  paths: NetworksConfig["paths"];
  group: string;
  bridgedInterface: string;
}

/** The file that is written where there is none (specification 4.3). */
export function defaultNetworksText({ paths, group, bridgedInterface }: NetworksDefaults): string {
  return `# Networks that instances can be attached to by name, as in \`networks: [{lima: user-v2}]\`.
#
# Everything below "paths" is used by root. Each of these files and folders, and every folder above it, must belong to
# root, must not be writable by anybody else, and must not be a symbolic link. limanet checks that before it asks root
# for anything.
paths:
  # program that serves shared, host and bridged networks
  socketVMNet: ${JSON.stringify(paths.socketVMNet)}
  # folder of its sockets and pid files; it is made when it is not there
  varRun: ${paths.varRun}
  # what \`limanet sudoers\` prints belongs here, so that sudo asks for no password
  sudoers: ${paths.sudoers}

# members of this group may start and stop shared, host and bridged networks without a password
group: ${group}

networks:
  # carried by limanet itself, without root: guests reach each other, the host and the outside
  user-v2:
    mode: user-v2
    gateway: 192.168.104.1
    netmask: ${DEFAULT_NETMASK}
  # reachable from the host, with a way to the outside
  shared:
    mode: shared
    gateway: 192.168.105.1
    dhcpEnd: 192.168.105.254
    netmask: ${DEFAULT_NETMASK}
  # part of the network of a host interface
  bridged:
    mode: bridged
    interface: ${bridgedInterface}
    # no addresses: guests get theirs from that network
  # reachable from the host, with no way to the outside
  host:
    mode: host
    gateway: 192.168.106.1
    dhcpEnd: 192.168.106.254
    netmask: ${DEFAULT_NETMASK}
`;
}

/** Reads networks.yaml; the configuration is undefined when there are errors. */
export function parseNetworks(
  text: string,
  file: string,
): { config?: NetworksConfig; diagnostics: Diagnostic[] } {
  const reader = new YamlReader({ text, file });
  const config: NetworksConfig = {
    paths: { socketVMNet: "", varRun: "", sudoers: "" },
    group: "",
    networks: {},
  };
  const path = (key: keyof NetworksConfig["paths"]) => (node: YamlNode, at: string) => {
    config.paths[key] = reader.string(node, at) ?? "";
  };
  const ofOldLima = (node: YamlNode, at: string) =>
    reader.warn(node, at, "nothing has used it since Lima 0.22 (socketVMNet took its place)");
  reader.map(reader.root, "", {
    paths: (node, at) =>
      reader.map(node, at, {
        socketVMNet: path("socketVMNet"),
        varRun: path("varRun"),
        sudoers: path("sudoers"),
        vdeSwitch: ofOldLima,
        vdeVMNet: ofOldLima,
      }),
    group: (node, at) => {
      config.group = reader.string(node, at) ?? "";
      if (config.group === "everyone") {
        reader.warn(
          node,
          at,
          "every account of this machine may start and stop networks as root (name a smaller group, such as admin)",
        );
      }
    },
    dns: (node, at) => {
      const dns: NetworksDns = {};
      const flag = (key: keyof NetworksDns) => (value: YamlNode, where: string) => {
        const given = reader.boolean(value, where);
        if (given !== undefined) dns[key] = given;
      };
      reader.map(node, at, {
        ipv6: flag("ipv6"),
        publicFallback: flag("publicFallback"),
        emptyOnOutage: flag("emptyOnOutage"),
      });
      config.dns = dns;
    },
    networks: (node, at) =>
      reader.entries(node, at, (name, value, networkPath) => {
        const { network, places } = readNetwork(reader, value, networkPath);
        config.networks[name] = network;
        // Lima takes such a file, and the other networks in it are good
        const problem = reader.failed ? undefined : networkProblem(name, network);
        if (problem === undefined) return;
        const { key, why } = problem;
        const place = key === undefined ? undefined : places.get(key);
        const subject = place === undefined ? networkPath : `${networkPath}.${key}`;
        reader.warn(place ?? value, subject, `the network cannot be used: ${why}`);
      }),
  });
  if (reader.failed) return { diagnostics: reader.sorted() };
  // specification 4.4
  const hasUserV2 = Object.values(config.networks).some(
    (network) => network.mode === "user-v2" && network.gateway !== undefined,
  );
  if (!hasUserV2)
    config.networks["user-v2"] = {
      mode: "user-v2",
      gateway: "192.168.104.1",
      netmask: DEFAULT_NETMASK,
    };
  return { config, diagnostics: reader.sorted() };
}

export interface NetworkProblem {
  /** the key that is at fault; undefined: the network as a whole */
  key?: "mode" | "interface" | "dhcpEnd";
  why: string;
}

/** Why an instance cannot be attached to a network, whatever the machine; undefined: it can. */
export function networkProblem(name: string, network: NetworkConfig): NetworkProblem | undefined {
  const { mode, interface: interfaceName, gateway } = network;
  const wrongName = identifierProblem(name);
  if (wrongName !== undefined) return { why: `for its name, ${wrongName}` };
  if (!NETWORK_MODES.some((known) => known === mode)) {
    const near = nearest(mode, NETWORK_MODES);
    const why = `its mode must be one of ${NETWORK_MODES.join(", ")}, not ${JSON.stringify(mode)}${near === undefined ? "" : ` (did you mean ${near}?)`}`;
    return { key: "mode", why };
  }
  if (mode === "bridged") {
    if (interfaceName === undefined)
      return { why: "a bridged network needs an interface of the host, such as interface: eth0" };
    const why = identifierProblem(interfaceName);
    return why === undefined ? undefined : { key: "interface", why: `for its interface, ${why}` };
  }
  // a user-v2 network serves all of its subnet
  if (gateway === undefined || mode === "user-v2") return undefined;
  const { dhcpEnd } = rangeOf(gateway, network);
  const first = parseIpv4(gateway)!;
  const last = parseIpv4(dhcpEnd)!;
  const subnet = subnetOf(gateway, network);
  if (cidrContains(subnet, last) && last > first) return undefined;
  const why = `its dhcpEnd must be behind the gateway ${gateway} in ${formatCidr(subnet)}, not ${dhcpEnd}`;
  return network.dhcpEnd === undefined ? { why } : { key: "dhcpEnd", why };
}

/** the subnet of a network's addresses */
export const subnetOf = (gateway: string, { netmask = DEFAULT_NETMASK }: NetworkConfig): Cidr =>
  cidrOf(parseIpv4(gateway)!, prefixOfNetmask(parseIpv4(netmask)!)!);

/** The addresses a network's daemon serves; what the file leaves out is filled in (specification, section 21). */
export function rangeOf(
  gateway: string,
  network: NetworkConfig,
): { dhcpEnd: string; netmask: string } {
  const address = parseIpv4(gateway)!;
  const subnet = subnetOf(gateway, network);
  const usual = ((address & 0xffffff00) | 254) >>> 0;
  const last = cidrContains(subnet, usual) && usual > address ? usual : subnet.broadcast - 1;
  const { dhcpEnd = formatIpv4(last), netmask = DEFAULT_NETMASK } = network;
  return { dhcpEnd, netmask };
}

function readNetwork(
  reader: YamlReader,
  node: YamlNode,
  path: string,
): { network: NetworkConfig; places: Map<string, YamlNode> } {
  const network: NetworkConfig = { mode: "" };
  const places = new Map<string, YamlNode>();
  const text = (key: "mode" | "interface") => (value: YamlNode, at: string) => {
    places.set(key, value);
    const word = reader.string(value, at) ?? "";
    if (word !== "") network[key] = word;
  };
  const address = (key: "gateway" | "dhcpEnd" | "netmask") => (value: YamlNode, at: string) => {
    places.set(key, value);
    const word = reader.string(value, at) ?? "";
    if (word === "") return;
    const parsed = parseIpv4(word);
    if (parsed === undefined) reader.error(value, at, `not an IPv4 address: ${word}`);
    else if (key === "netmask" && prefixOfNetmask(parsed) === undefined)
      reader.error(value, at, `not a netmask: ${word}`);
    else network[key] = word;
  };
  reader.map(node, path, {
    mode: text("mode"),
    interface: text("interface"),
    gateway: address("gateway"),
    dhcpEnd: address("dhcpEnd"),
    netmask: address("netmask"),
    mtu: (value, at) => {
      const mtu = reader.integer(value, at, 576, 65520);
      if (mtu !== undefined) network.mtu = mtu;
    },
    hostAccess: (value, at) => {
      const access = readHostAccess(reader, value, at);
      if (access !== undefined) network.hostAccess = access;
    },
    linkLocalAccess: (value, at) => {
      const isAllowed = reader.boolean(value, at);
      if (isAllowed !== undefined) network.linkLocalAccess = isAllowed;
    },
  });
  if (network.gateway !== undefined) network.netmask ??= DEFAULT_NETMASK;
  return { network, places };
}

/** a network's gateway as Lima's list has it: "192.168.104.1/24", or "-" */
export function gatewayText({ gateway, netmask }: NetworkConfig): string {
  if (gateway === undefined) return "-";
  const prefix = prefixOfNetmask(parseIpv4(netmask ?? "") ?? -1) ?? DEFAULT_PREFIX;
  return `${gateway}/${prefix}`;
}
