/**
 * What root is asked to run for a network of mode shared, host or bridged (specification, sections 6.1 and 6.2). The
 * words are those of the sudoers file: one character of difference and sudo refuses.
 */
import { posix } from "node:path";
import { rangeOf, type NetworkConfig, type NetworksConfig } from "../config/networks.ts";
import type { Platform } from "./platform.ts";

/** `limanet vmnet` ends with it where this user may not make networks (EX_NOPERM of sysexits.h); then root is asked */
export const NOT_PERMITTED = 77;

/** Is the network served by a daemon that makes an interface of this host, mostly root's? */
export const isManaged = ({ mode }: NetworkConfig): boolean => mode !== "user-v2";

export function managedNames({ networks }: NetworksConfig): string[] {
  return Object.keys(networks)
    .filter((name) => isManaged(networks[name]!))
    .toSorted();
}

export const socketOf = ({ paths }: NetworksConfig, name: string): string =>
  posix.join(paths.varRun, `socket_vmnet.${name}`);

export const pidFileOf = ({ paths }: NetworksConfig, name: string): string =>
  posix.join(paths.varRun, `${name}_socket_vmnet.pid`);

export const groupOf = ({ group }: NetworksConfig, platform: Platform): string =>
  group === "" ? platform.group : group;

export const makeFolderCommand = ({ paths }: NetworksConfig): string[] => [
  "/bin/mkdir",
  "-m",
  "775",
  "-p",
  paths.varRun,
];

export function startCommand(config: NetworksConfig, name: string, platform: Platform): string[] {
  return [config.paths.socketVMNet, ...startWords(config, name, groupOf(config, platform))];
}

/** What the program that serves a network is told; no group: it serves guests of its own user alone. */
export function startWords(config: NetworksConfig, name: string, group: string): string[] {
  const network = config.networks[name]!;
  return [
    `--pidfile=${pidFileOf(config, name)}`,
    `--socket-group=${group}`,
    `--vmnet-mode=${network.mode}`,
    ...modeOptions(network),
    socketOf(config, name),
  ];
}

function modeOptions(network: NetworkConfig): string[] {
  const { mode, interface: interfaceName = "", gateway, mtu } = network;
  if (mode === "bridged") return [`--vmnet-interface=${interfaceName}`];
  if (mode !== "host" && mode !== "shared") return [];
  // limanet's own daemon knows it, socket_vmnet does not
  const options = mtu === undefined ? [] : [`--mtu=${mtu}`];
  // without a gateway the daemon chooses the addresses, and takes no other option about them
  if (gateway === undefined) return options;
  const { dhcpEnd, netmask } = rangeOf(gateway, network);
  const range = [
    `--vmnet-gateway=${gateway}`,
    `--vmnet-dhcp-end=${dhcpEnd}`,
    `--vmnet-mask=${netmask}`,
  ];
  return [...range, ...options];
}

export const stopCommand = (config: NetworksConfig, name: string): string[] => [
  "/usr/bin/pkill",
  "-F",
  pidFileOf(config, name),
];

/** How an ordinary user runs one of them; it never asks for a password. */
export function asRoot(command: readonly string[], platform: Platform): string[] {
  const account = ["--user", "root", "--group", platform.rootGroup, "--non-interactive"];
  return ["sudo", ...account, ...command];
}
