/** What of this host blocks DHCP, DNS or forwarding of shared, host and bridged networks. */
import { formatIpv4, type Cidr } from "../addr/ipv4.ts";
import type { Check, Diagnosis } from "./finding.ts";
import { Ruleset, type BaseChain, type Packet } from "./nft-verdict.ts";

export interface VmnetNetwork {
  name: string;
  mode: "shared" | "host" | "bridged";
  /** its bridge, there or not */
  bridge: string;
  /** of shared and host networks */
  own?: { gateway: number; subnet: Cidr };
}

export interface LinuxFirewallFacts {
  system: "linux";
  networks: readonly VmnetNetwork[];
  /** of `ip` and `nft`, those that are not installed; and whether there is a /dev/net/tun */
  missingTools: readonly ("ip" | "nft")[];
  hasTun: boolean;
  /** the interface of the default route; "" when there is none */
  uplink: string;
  /** what `nft -j list ruleset` prints; undefined: only root may know */
  ruleset?: string;
  /** what `iptables-legacy -S` prints where the kernel has such rules as well */
  legacyRules: string;
  /** the bridges that are there */
  bridges: readonly string[];
  /** settings below net/: forwarding, bridge-nf-call-iptables, rp_filter of `all` and of each bridge */
  settings: Readonly<Record<string, string>>;
  /** `ip rule` has more than the kernel's three: a VPN, for one, sends packets other ways */
  hasPolicyRouting: boolean;
  /** bridges and TAP devices of limanet's that NetworkManager wants to configure, with its word for their state */
  managedByNetworkManager: readonly { name: string; state: string }[];
  /** who listens on port 53 of all addresses, where the networks' own DNS has no place then */
  dnsHolder?: string;
}

export interface DarwinFirewallFacts {
  system: "darwin";
  isUsed: boolean;
  /** of the application firewall */
  isOn: boolean;
  /** macOS' DHCP server, in the firewall's list */
  bootpd: "allowed" | "blocked" | "unlisted";
}

export type FirewallFacts = LinuxFirewallFacts | DarwinFirewallFacts;

/** Lima's documentation, "Networks", troubleshooting */
export const SOCKETFILTERFW = "/usr/libexec/ApplicationFirewall/socketfilterfw";
export const BOOTPD_COMMANDS = [
  `sudo ${SOCKETFILTERFW} --add /usr/libexec/bootpd`,
  `sudo ${SOCKETFILTERFW} --unblock /usr/libexec/bootpd`,
] as const;

const onLinux =
  (find: (facts: LinuxFirewallFacts) => readonly Diagnosis[] | Diagnosis | undefined) =>
  (facts: FirewallFacts) =>
    facts.system === "linux" ? find(facts) : undefined;

const PACKAGE = { ip: "iproute2", nft: "nftables" } as const;
const IP_FAMILIES = ["ip", "inet"];
/** any guest, and any address outside: RFC 5737's */
const OUTSIDE = "198.51.100.1";

const bridgeNetfilter = ({ settings }: LinuxFirewallFacts): boolean =>
  settings["bridge/bridge-nf-call-iptables"] === "1";

/** the packets that a network lives by, in words, and where they pass */
function packetsOf(
  { mode, bridge, own }: VmnetNetwork,
  uplink: string,
): { what: string; hook: "forward" | "input"; packet: Packet }[] {
  const dhcp: Packet = {
    iifname: bridge,
    oifname: bridge,
    saddr: "0.0.0.0",
    daddr: "255.255.255.255",
    protocol: "udp",
    dport: 67,
    state: "new",
  };
  if (own === undefined)
    return [
      { what: "guests' DHCP on its way to the local network", hook: "forward", packet: dhcp },
    ];
  const guest = formatIpv4(own.gateway + 1);
  const out: Packet = {
    iifname: bridge,
    oifname: uplink,
    saddr: guest,
    daddr: OUTSIDE,
    protocol: "tcp",
    dport: 443,
    state: "new",
  };
  const back: Packet = {
    ...out,
    iifname: uplink,
    oifname: bridge,
    saddr: OUTSIDE,
    daddr: guest,
    state: "established",
  };
  const dns: Packet = {
    ...out,
    oifname: "",
    daddr: formatIpv4(own.gateway),
    protocol: "udp",
    dport: 53,
  };
  return [
    { what: "guests' questions to the network's DNS", hook: "input", packet: dns },
    ...(mode === "shared" && uplink !== ""
      ? ([
          { what: "guests' packets to the outside", hook: "forward", packet: out },
          { what: "what comes back to guests from the outside", hook: "forward", packet: back },
        ] as const)
      : []),
  ];
}

/** Who makes the rules of a table, and how one lets a bridge through there. */
function owner(
  ruleset: Ruleset,
  { family, table, chain }: BaseChain,
  hook: string,
  bridge: string,
): { name: string; fix: string[] } {
  const chains = ruleset.chainsOf(family, table);
  const names = (word: RegExp) => chains.some((name) => word.test(name));
  if (table === "firewalld")
    return {
      name: "firewalld",
      fix: [
        `sudo firewall-cmd --permanent --zone=trusted --add-interface=${bridge} && sudo firewall-cmd --reload`,
      ],
    };
  if (names(/^ufw-/)) {
    return {
      name: names(/^DOCKER/) ? "ufw and Docker" : "ufw",
      fix:
        hook === "input"
          ? [`sudo ufw allow in on ${bridge}`]
          : [`sudo ufw route allow in on ${bridge} && sudo ufw route allow out on ${bridge}`],
    };
  }
  if (names(/^DOCKER/) && hook === "forward") {
    return {
      name: "Docker",
      fix: [
        `sudo iptables -I DOCKER-USER -i ${bridge} -j ACCEPT && sudo iptables -I DOCKER-USER -o ${bridge} -j ACCEPT (after each start of Docker)`,
      ],
    };
  }
  const rule = `sudo nft insert rule ${family} ${table} ${chain}`;
  return {
    name: `the table ${family} ${table}`,
    fix: [
      hook === "input"
        ? `${rule} iifname ${bridge} accept`
        : `${rule} iifname ${bridge} accept && ${rule} oifname ${bridge} accept`,
    ],
  };
}

function blocked(facts: LinuxFirewallFacts, wanted: "forward" | "input"): Diagnosis[] {
  if (facts.ruleset === undefined) return [];
  const ruleset = new Ruleset(facts.ruleset);
  return facts.networks.flatMap((network) => {
    // one cause is told once for a network
    const causes = new Map<string, { what: string[]; fix: string[] }>();
    for (const { what, hook, packet } of packetsOf(network, facts.uplink)) {
      if (hook !== wanted) continue;
      // frames between ports of a bridge meet the rules of IP only where the kernel is told so
      const families =
        network.mode === "bridged"
          ? ["bridge", ...(bridgeNetfilter(facts) ? IP_FAMILIES : [])]
          : IP_FAMILIES;
      const chain = ruleset.dropping(hook, families, packet);
      if (chain === undefined) continue;
      const { name, fix } = owner(ruleset, chain, hook, network.bridge);
      const cause = `${name} drops them (${chain.by === "policy" ? "policy" : "a rule"} of the chain ${chain.chain})`;
      const known = causes.get(cause) ?? { what: [], fix };
      causes.set(cause, { ...known, what: [...known.what, what] });
    }
    return [...causes].map(([cause, { what, fix }]) => ({
      network: network.name,
      problem: `The network ${network.name} does not carry ${what.join(", nor ")}: ${cause}`,
      fix:
        network.mode === "bridged" && bridgeNetfilter(facts)
          ? [
              ...fix,
              "or sudo sysctl -w net.bridge.bridge-nf-call-iptables=0 where nothing needs it",
            ]
          : fix,
    }));
  });
}

/** those of the networks that are up, with the host's word for a setting of theirs */
const upShared = ({ networks, bridges }: LinuxFirewallFacts): VmnetNetwork[] =>
  networks.filter(({ mode, bridge }) => mode === "shared" && bridges.includes(bridge));

export const firewallChecks: readonly Check<FirewallFacts>[] = [
  {
    id: "network-tool-missing",
    severity: "fault",
    find: onLinux(({ networks, missingTools }) =>
      networks.length === 0
        ? undefined
        : missingTools.map((tool) => ({
            problem: `Shared, host and bridged networks cannot start: the program ${tool} is not installed`,
            fix: [`sudo apt install ${PACKAGE[tool]}`],
          })),
    ),
  },
  {
    id: "tun-missing",
    severity: "fault",
    find: onLinux(({ networks, hasTun }) =>
      networks.length === 0 || hasTun
        ? undefined
        : {
            problem:
              "Shared, host and bridged networks cannot start: there is no /dev/net/tun, by which frames come to the host",
            fix: ["sudo modprobe tun (inside a container: hand the device in)"],
          },
    ),
  },
  {
    id: "forward-blocked",
    severity: "fault",
    find: onLinux((facts) => blocked(facts, "forward")),
  },
  {
    id: "forward-blocked-legacy",
    severity: "fault",
    find: onLinux(({ networks, legacyRules }) =>
      /^-P FORWARD DROP$/m.test(legacyRules)
        ? networks
            .filter(
              ({ mode, bridge }) =>
                mode === "shared" &&
                !new RegExp(`-i (lm-\\+|${bridge}) .*ACCEPT`).test(legacyRules),
            )
            .map(({ name, bridge }) => ({
              network: name,
              problem: `The network ${name} does not carry guests' packets to the outside: iptables-legacy has the policy DROP for the chain FORWARD`,
              fix: [
                `sudo iptables-legacy -I FORWARD -i ${bridge} -j ACCEPT && sudo iptables-legacy -I FORWARD -o ${bridge} -j ACCEPT`,
              ],
            }))
        : undefined,
    ),
  },
  {
    id: "dns-blocked",
    severity: "fault",
    find: onLinux((facts) => blocked(facts, "input")),
  },
  {
    id: "dns-port-taken",
    severity: "limit",
    find: onLinux(({ networks, dnsHolder }) =>
      dnsHolder === undefined || networks.every(({ own }) => own === undefined)
        ? undefined
        : {
            problem: `Guests of shared and host networks do not know each other's names: they ask ${dnsHolder}, which listens on port 53 of all addresses of this host, and not limanet`,
            fix: [
              "have it listen on the addresses that need it only (dnsmasq: bind-interfaces or bind-dynamic, and except-interface=lm-*)",
            ],
          },
    ),
  },
  {
    id: "forwarding-off",
    severity: "fault",
    find: onLinux((facts) =>
      upShared(facts)
        .filter(
          ({ bridge }) =>
            facts.settings["ipv4/ip_forward"] === "0" ||
            facts.settings[`ipv4/conf/${bridge}/forwarding`] === "0",
        )
        .map(({ name }) => ({
          network: name,
          problem: `Guests of the network ${name} do not reach the outside: something has switched the host's forwarding off since the network started (net.ipv4.ip_forward)`,
          fix: [
            "sudo sysctl -w net.ipv4.ip_forward=1, and find who sets it (grep -rs ip_forward /etc/sysctl.conf /etc/sysctl.d /etc/ufw)",
          ],
        })),
    ),
  },
  {
    id: "reverse-path-filter",
    severity: "limit",
    find: onLinux((facts) => {
      const strict = (name: string) => facts.settings[`ipv4/conf/${name}/rp_filter`] === "1";
      if (!facts.hasPolicyRouting || facts.settings["ipv4/conf/all/rp_filter"] === "2")
        return undefined;
      if (!strict("all") && !strict(facts.uplink)) return undefined;
      return facts.networks
        .filter(({ mode }) => mode === "shared")
        .map(({ name }) => ({
          network: name,
          problem: `Guests of the network ${name} may get no answers from the outside: this host sends packets several ways (ip rule shows them), and its strict rp_filter drops answers that come by another way than the table main has`,
          fix: [
            "echo 'net.ipv4.conf.all.rp_filter = 2' | sudo tee /etc/sysctl.d/60-limanet-rp.conf && sudo sysctl --system",
          ],
        }));
    }),
  },
  {
    id: "network-manager",
    severity: "fault",
    find: onLinux(({ managedByNetworkManager }) =>
      managedByNetworkManager.map(({ name, state }) => ({
        problem: `NetworkManager configures ${name}, which is limanet's (its state is "${state}"), and may take its addresses away`,
        fix: [
          "printf '[keyfile]\\nunmanaged-devices=interface-name:lm-*;interface-name:lt-*\\n' | sudo tee /etc/NetworkManager/conf.d/limanet.conf && sudo nmcli general reload",
        ],
      })),
    ),
  },
  {
    id: "macos-firewall",
    severity: "fault",
    find: (facts) =>
      facts.system === "darwin" && facts.isUsed && facts.isOn && facts.bootpd === "blocked"
        ? {
            problem:
              "Guests of shared and host networks get no address: macOS' firewall blocks bootpd, its DHCP server",
            fix: BOOTPD_COMMANDS,
          }
        : undefined,
  },
  {
    id: "macos-firewall-unlisted",
    severity: "limit",
    find: (facts) =>
      facts.system === "darwin" && facts.isUsed && facts.isOn && facts.bootpd === "unlisted"
        ? {
            problem:
              "Guests of shared and host networks may get no address: macOS' firewall is on and has no rule for bootpd, its DHCP server",
            fix: BOOTPD_COMMANDS,
          }
        : undefined,
  },
];
