/** networks.yaml (specification, section 4): the networks an instance can be attached to by name. */
import { parseIpv4, prefixOfNetmask } from "../addr/ipv4.ts";
import { YamlReader, type Diagnostic } from "./document.ts";
import { identifierProblem } from "./names.ts";

export const NETWORK_MODES = ["user-v2", "shared", "host", "bridged"] as const;
export type NetworkMode = (typeof NETWORK_MODES)[number];

export interface NetworkConfig {
  mode: NetworkMode;
  interface?: string;
  gateway?: string;
  dhcpEnd?: string;
  netmask?: string;
  /** our extension: largest IP packet of a user-v2 network */
  mtu?: number;
}

export interface NetworksConfig {
  paths: { socketVMNet: string; varRun: string; sudoers: string };
  group: string;
  networks: Record<string, NetworkConfig>;
}

const DEFAULT_NETMASK = "255.255.255.0";
export const DEFAULT_PREFIX = 24;

/** The file that is written where there is none. `group` is the one whose members may manage vmnet networks. */
export function defaultNetworksText(platform: "darwin" | "linux", group: string): string {
  const [varRun, sudoers] =
    platform === "darwin"
      ? ["/private/var/run/lima", "/private/etc/sudoers.d/lima"]
      : ["/run/limanet", "/etc/sudoers.d/limanet"];
  return `# Networks that instances can be attached to by name, as in \`networks: [{lima: user-v2}]\`.
#
# Everything below "paths" is used by root. Each of these files and folders, and every folder above it, must belong to
# root and must not be writable by anybody else.
paths:
  # program that serves shared, host and bridged networks
  socketVMNet: "/opt/socket_vmnet/bin/socket_vmnet"
  varRun: ${varRun}
  sudoers: ${sudoers}

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
    interface: ${platform === "darwin" ? "en0" : "eth0"}
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
  const path =
    (key: keyof NetworksConfig["paths"]) =>
    (node: Parameters<YamlReader["string"]>[0], at: string) => {
      config.paths[key] = reader.string(node, at) ?? "";
    };
  reader.map(reader.root, "", {
    paths: (node, at) =>
      reader.map(node, at, {
        socketVMNet: path("socketVMNet"),
        varRun: path("varRun"),
        sudoers: path("sudoers"),
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
    networks: (node, at) =>
      reader.entries(node, at, (name, value, networkPath) => {
        const problem = identifierProblem(name);
        if (problem !== undefined) reader.error(value, networkPath, problem);
        config.networks[name] = readNetwork(reader, value, networkPath);
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

function readNetwork(
  reader: YamlReader,
  node: Parameters<YamlReader["string"]>[0],
  path: string,
): NetworkConfig {
  const network: NetworkConfig = { mode: "user-v2" };
  const address = (key: "gateway" | "dhcpEnd" | "netmask") => (value: typeof node, at: string) => {
    const text = reader.string(value, at);
    if (text === undefined || text === "") return;
    const parsed = parseIpv4(text);
    if (parsed === undefined) reader.error(value, at, `not an IPv4 address: ${text}`);
    else if (key === "netmask" && prefixOfNetmask(parsed) === undefined)
      reader.error(value, at, `not a netmask: ${text}`);
    else network[key] = text;
  };
  reader.map(node, path, {
    mode: (value, at) => {
      network.mode = reader.oneOf(value, at, NETWORK_MODES) ?? "user-v2";
    },
    interface: (value, at) => {
      const text = reader.string(value, at);
      if (text !== undefined && text !== "") network.interface = text;
    },
    gateway: address("gateway"),
    dhcpEnd: address("dhcpEnd"),
    netmask: address("netmask"),
    mtu: (value, at) => {
      const mtu = reader.integer(value, at, 576, 65520);
      if (mtu !== undefined) network.mtu = mtu;
    },
  });
  if (network.gateway !== undefined) network.netmask ??= DEFAULT_NETMASK;
  return network;
}

/** "192.168.104.1/24", or "-" */
export function subnetText({ gateway, netmask }: NetworkConfig): string {
  if (gateway === undefined) return "-";
  const prefix = prefixOfNetmask(parseIpv4(netmask ?? "") ?? -1) ?? DEFAULT_PREFIX;
  return `${gateway}/${prefix}`;
}
