/** Facts for `limanet doctor`: the host's rules, settings and tools that networks of root's depend on. */
import { parseIpv4 } from "../../addr/ipv4.ts";
import { subnetOf } from "../../config/networks.ts";
import {
  SOCKETFILTERFW,
  type DarwinFirewallFacts,
  type FirewallFacts,
  type LinuxFirewallFacts,
  type VmnetNetwork,
} from "../../doctor/firewall.ts";
import { exists, readTextIfThere } from "../../host/files.ts";
import { hostPlatform } from "../../host/machine.ts";
import {
  findNetworkTool,
  ipShow,
  networkSetting,
  settingInterfaces,
} from "../../host/network-tools.ts";
import { portHolder } from "../../host/port-holder.ts";
import { findProgram, runCommand } from "../../host/process.ts";
import { socketOf } from "../../privilege/commands.ts";
import { partNames } from "../../vmnet/host-plan.ts";
import { placeOf } from "../vmnet-place.ts";
import type { Surroundings } from "./surroundings.ts";

const COMMAND_LIMIT_MS = 10_000;
/** what a network without a gateway in networks.yaml takes first */
const DEFAULT_GATEWAY = "192.168.105.1";

export async function firewallFacts(surroundings: Surroundings): Promise<FirewallFacts> {
  return hostPlatform() === "darwin"
    ? darwinFacts(surroundings)
    : linuxFirewallFacts(vmnetNetworks(surroundings));
}

/** What a Linux host has to do with some networks. */
export async function linuxFirewallFacts(
  networks: readonly VmnetNetwork[],
): Promise<LinuxFirewallFacts> {
  const missingTools = (["ip", "nft"] as const).filter(
    (name) => findNetworkTool(name) === undefined,
  );
  const interfaces = settingInterfaces();
  const ours = interfaces.filter((name) => /^l[mt]-/.test(name));
  const bridges = networks.map(({ bridge }) => bridge).filter((name) => interfaces.includes(name));
  const uplink = missingTools.includes("ip")
    ? ""
    : ((json(ipShow("-j", "-4", "route", "show", "default")) as { dev?: string }[])[0]?.dev ?? "");
  const rules = missingTools.includes("ip")
    ? []
    : (json(ipShow("-j", "-4", "rule")) as { priority: number }[]);
  const ruleset = networks.length === 0 ? undefined : await nftRuleset();
  const [shared] = networks.filter(({ bridge, own }) => own && !bridges.includes(bridge));
  return {
    system: "linux",
    networks,
    missingTools,
    hasTun: exists("/dev/net/tun"),
    uplink,
    ...(ruleset === undefined ? {} : { ruleset }),
    legacyRules: await legacyRules(),
    bridges,
    settings: settings(["all", uplink, ...bridges].filter((name) => name !== "")),
    hasPolicyRouting: rules.some(({ priority }) => ![0, 32766, 32767].includes(priority)),
    managedByNetworkManager: ours.length === 0 ? [] : await managedByNetworkManager(ours),
    ...(shared === undefined ? {} : dnsHolder()),
  };
}

function vmnetNetworks({ home, networks, managed }: Surroundings): VmnetNetwork[] {
  return managed.flatMap((name): VmnetNetwork[] => {
    const network = networks?.networks[name];
    if (network === undefined) return [];
    const { mode, interface: on = "", gateway = DEFAULT_GATEWAY } = network;
    const { bridge } = partNames(socketOf(placeOf(home, networks!, name), name));
    if (mode === "bridged") {
      const isBridge = exists(`/sys/class/net/${on}/bridge`);
      return [{ name, mode, bridge: isBridge ? on : bridge }];
    }
    if (mode !== "shared" && mode !== "host") return [];
    const own = { gateway: parseIpv4(gateway)!, subnet: subnetOf(gateway, network) };
    return [{ name, mode, bridge, own }];
  });
}

/** all rules, which only root gets to know; undefined otherwise */
async function nftRuleset(): Promise<string | undefined> {
  const nft = findNetworkTool("nft");
  if (nft === undefined) return undefined;
  const { code, stdout } = await runCommand([nft, "-j", "list", "ruleset"], COMMAND_LIMIT_MS);
  return code === 0 ? stdout : undefined;
}

/** rules of the iptables that knows nothing of nftables, where there are any */
async function legacyRules(): Promise<string> {
  let tables = "";
  try {
    tables = readTextIfThere("/proc/net/ip_tables_names") ?? "";
  } catch {
    // only root may look
  }
  const program = findNetworkTool("iptables-legacy");
  if (!/^filter$/m.test(tables) || program === undefined) return "";
  return (await runCommand([program, "-S"], COMMAND_LIMIT_MS)).stdout;
}

function settings(interfaces: readonly string[]): Record<string, string> {
  const keys = [
    "ipv4/ip_forward",
    "bridge/bridge-nf-call-iptables",
    ...interfaces.flatMap((name) => [
      `ipv4/conf/${name}/forwarding`,
      `ipv4/conf/${name}/rp_filter`,
    ]),
  ];
  return Object.fromEntries(
    keys.flatMap((key) => {
      const value = networkSetting(key);
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

/** NetworkManager shows the devices of others as unmanaged, or as connected without its doing */
const LEFT_ALONE = new Set(["unmanaged", "connected (externally)", "unavailable"]);

async function managedByNetworkManager(
  ours: readonly string[],
): Promise<LinuxFirewallFacts["managedByNetworkManager"]> {
  if (findProgram("nmcli") === undefined) return [];
  const command = ["nmcli", "--terse", "--fields", "DEVICE,STATE", "device"];
  const { stdout } = await runCommand(command, COMMAND_LIMIT_MS);
  return stdout.split("\n").flatMap((line) => {
    const colon = line.indexOf(":");
    const [name, state] = [line.slice(0, colon), line.slice(colon + 1)];
    return ours.includes(name) && !LEFT_ALONE.has(state) ? { name, state } : [];
  });
}

/** whoever has port 53 of an address that is nobody's has it of all */
function dnsHolder(): Pick<LinuxFirewallFacts, "dnsHolder"> {
  const holder = portHolder("udp", "0.0.0.1", 53);
  if (holder === undefined) return {};
  const { process: known, uid } = holder;
  return {
    dnsHolder:
      known === undefined ? `a process of user ${uid}` : `${known.name} (process ${known.pid})`,
  };
}

/** what `ip -j` prints; it prints nothing when it fails */
const json = (text: string): unknown[] => JSON.parse(text || "[]") as unknown[];

async function darwinFacts({ managed }: Surroundings): Promise<DarwinFirewallFacts> {
  const ask = async (...words: string[]) =>
    (await runCommand([SOCKETFILTERFW, ...words], COMMAND_LIMIT_MS)).stdout;
  const bootpd = await ask("--getappblocked", "/usr/libexec/bootpd");
  return {
    system: "darwin",
    isUsed: managed.length > 0,
    isOn: /State = [12]|is enabled/.test(await ask("--getglobalstate")),
    bootpd: /not part/i.test(bootpd) ? "unlisted" : /blocked/i.test(bootpd) ? "blocked" : "allowed",
  };
}
