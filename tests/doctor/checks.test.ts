/** Each check of `limanet doctor` on facts: what it finds, and that it finds nothing else. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { parseCidr } from "../../lib/addr/ipv4.ts";
import { AREA_EXIT_CODES, AREA_NAMES, type Area } from "../../lib/doctor/area.ts";
import {
  CHECKS,
  examineArea,
  exitCodeOf,
  type AreaFacts,
  type AreaFinding,
} from "../../lib/doctor/areas.ts";
import { BOOTPD_COMMANDS } from "../../lib/doctor/firewall.ts";

const cidr = (text: string) => parseCidr(text)!;
const qemu = (state: AreaFacts["machine"]["qemus"][number]["state"]) => ({
  name: "qemu-system-x86_64",
  architecture: "x86_64" as const,
  state,
});
const NO_RULES = '{"nftables": [{"metainfo": {"version": "1.0.6"}}]}';

/** machines on which all is well */
const WELL: AreaFacts = {
  machine: {
    system: "linux",
    qemus: [qemu({ version: [8, 0] })],
    missing: [],
    acceleration: "usable",
  },
  home: { system: "linux", home: "/h", user: "ann", sockets: [], foreign: [], unreadable: [] },
  network: {
    networks: [
      { name: "default", mode: "default", subnet: cidr("192.168.5.0/24"), runs: false },
      {
        name: "shared",
        mode: "shared",
        subnet: cidr("192.168.105.0/24"),
        bridge: "lm-s",
        runs: false,
      },
    ],
    taken: [
      { subnet: cidr("10.0.0.0/8"), owner: "the interface eth0" },
      { subnet: cidr("192.168.105.0/24"), owner: "the interface lm-s" },
      { subnet: cidr("192.168.105.0/24"), owner: "a route by lm-s" },
    ],
    sockets: [{ path: "/run/s", instances: ["vm"], state: "served" }],
    ping: { first: 0, last: 1000, groups: [1000, 4] },
  },
  dns: {
    system: "linux",
    servers: [{ address: "10.0.0.53", port: 53, answers: true }],
    waitedMs: 3500,
  },
  privilege: {
    isUsed: true,
    hasSudo: true,
    folders: [
      { path: "/run/limanet", owner: 0, group: 0, mode: 0o775, isPrivate: false },
      { path: "/run/limanet/vmnet", owner: 0, group: 0, mode: 0o700, isPrivate: true },
    ],
  },
  firewall: {
    system: "linux",
    networks: [
      {
        name: "shared",
        mode: "shared",
        bridge: "lm-s",
        own: { gateway: 0xc0a86901, subnet: cidr("192.168.105.0/24") },
      },
    ],
    missingTools: [],
    hasTun: true,
    uplink: "eth0",
    ruleset: NO_RULES,
    legacyRules: "",
    bridges: [],
    settings: { "ipv4/ip_forward": "0", "ipv4/conf/all/rp_filter": "1" },
    hasPolicyRouting: false,
    managedByNetworkManager: [],
  },
  leftovers: { journals: [], bridges: [], machines: [] },
};
const MAC: AreaFacts["firewall"] = {
  system: "darwin",
  isUsed: true,
  isOn: true,
  bootpd: "allowed",
};

test.each(AREA_NAMES)("a machine on which all is well has nothing in the area %s", (area) => {
  expect(examineArea(area, WELL[area])).toEqual([]);
});

type Row = {
  [A in Area]: [area: A, id: string, change: Partial<AreaFacts[A]>, says: RegExp];
}[Area];

const socket = (kind: "any" | "instance" | "network", length: number) => ({
  of: "vm",
  kind,
  path: `/${"x".repeat(length - 1)}`,
});
const server = (address: string, answers: boolean) => ({ address, port: 53, answers });

// what a Linux machine can be made to have is tested with the command itself, in tests/netns/doctor.test.ts
const FOUND: readonly Row[] = [
  ["machine", "qemu-missing", { qemus: [qemu("absent")] }, /apt install qemu-system-x86/],
  ["machine", "qemu-missing", { system: "darwin", qemus: [qemu("absent")] }, /brew install qemu/],
  ["machine", "qemu-broken", { qemus: [qemu({ broken: "no libfoo" })] }, /no libfoo/],
  ["machine", "qemu-too-old", { qemus: [qemu({ version: [7, 1] })] }, /7\.1 has no stream/],
  ["machine", "qemu-too-old", { qemus: [qemu({ version: [6, 9] })] }, /6\.9 has no stream/],
  ["machine", "qemu-no-reconnect", { qemus: [qemu({ version: [7, 2] })] }, /install QEMU 8\.0/],
  ["machine", "program-missing", { missing: ["qemu-img"] }, /disks of instances/],
  ["machine", "no-acceleration", { acceleration: "absent" }, /no \/dev\/kvm/],
  ["machine", "no-acceleration", { system: "darwin", acceleration: "absent" }, /hv_support/],
  ["machine", "acceleration-denied", { acceleration: "denied" }, /-aG kvm/],
  ["home", "home-path-too-long", { sockets: [socket("any", 108)] }, /108 octets.* takes 107/],
  [
    "home",
    "home-path-too-long",
    { system: "darwin", sockets: [socket("any", 104)] },
    /104 octets.* takes 103/,
  ],
  ["home", "socket-path-too-long", { sockets: [socket("instance", 108)] }, /The instance vm/],
  ["home", "socket-path-too-long", { sockets: [socket("network", 120)] }, /The network vm/],
  [
    "home",
    "home-not-writable",
    { foreign: [{ path: "/h", owner: "root" }] },
    /ann cannot write \/h.*chown -R ann \/h/s,
  ],
  [
    "home",
    "home-not-makeable",
    { unmakeableIn: { path: "/opt", owner: "root" } },
    /ann cannot make it: \/opt belongs to root/,
  ],
  ["home", "file-unreadable", { unreadable: [{ file: "/h/f", why: "7:1: no" }] }, /7:1: no/],
  [
    "network",
    "subnet-taken",
    { taken: [{ subnet: cidr("192.168.104.0/22"), owner: "a route by utun4" }] },
    /a route by utun4 \(a VPN\) has 192\.168\.104\.0\/22/,
  ],
  [
    "network",
    "subnet-taken",
    { taken: [{ subnet: cidr("192.168.105.8/32"), owner: "the interface docker0" }] },
    /the interface docker0 has/,
  ],
  [
    "network",
    "subnet-hidden",
    { taken: [{ subnet: cidr("192.168.5.0/25"), owner: "the interface eth1" }] },
    /eth1 has 192\.168\.5\.0\/25/,
  ],
  [
    "network",
    "networks-overlap",
    {
      networks: [
        ...WELL.network.networks,
        { name: "lab", mode: "user-v2", subnet: cidr("192.168.104.0/23"), runs: false },
      ],
      taken: [],
    },
    /both shared .* and lab/,
  ],
  [
    "network",
    "socket-unserved",
    { sockets: [{ path: "/run/s", instances: ["a", "b"], state: "dead" }] },
    /a, b cannot attach to \/run\/s: nobody serves/,
  ],
  [
    "network",
    "socket-unserved",
    { sockets: [{ path: "/run/s", instances: ["a"], state: "denied" }] },
    /may not connect.*ls -l \/run\/s/s,
  ],
  ["network", "ping-forbidden", { ping: { first: 1, last: 0, groups: [0] } }, /is 1 0/],
  ["network", "ping-forbidden", { ping: { first: 5, last: 9, groups: [4, 10] } }, /is 5 9/],
  ["dns", "resolv-conf-broken", { resolvConf: "absent", servers: [] }, /there is no \/etc/],
  [
    "dns",
    "resolv-conf-broken",
    { resolvConf: { leadsTo: "/run/NetworkManager/resolv.conf" }, servers: [] },
    /make \/etc\/resolv\.conf anew/,
  ],
  ["dns", "no-name-server", { servers: [] }, /\/etc\/resolv\.conf names no/],
  ["dns", "no-name-server", { system: "darwin", servers: [] }, /scutil --dns/],
  ["dns", "resolved-silent", { servers: [server("127.0.0.53", false)] }, /restart/],
  ["dns", "name-servers-silent", { servers: [server("10.0.0.1", false)] }, /10\.0\.0\.1 has/],
  [
    "dns",
    "name-servers-silent",
    { servers: [server("10.0.0.1", false), server("10.0.0.2", false)] },
    /10\.0\.0\.1, 10\.0\.0\.2 have/,
  ],
  [
    "dns",
    "name-server-silent",
    { servers: [server("10.0.0.1", false), server("10.0.0.2", true)] },
    /servers, 10\.0\.0\.1 has/,
  ],
  ["privilege", "sudo-missing", { hasSudo: false }, /sudo is not installed/],
  ["privilege", "root-paths", { unsafe: "a folder is not root's" }, /a folder is not root's/],
  ["privilege", "sudoers", { sudoers: "out of sync" }, /out of sync/],
  [
    "privilege",
    "sudoers-ignored",
    { refused: { file: "/etc/sudoers.d/limanet", user: "ann" } },
    /visudo -c.*includedir.*\/etc\/sudoers\.d /s,
  ],
  [
    "privilege",
    "sudoers-ignored",
    { refused: { file: "/etc/sudoers.d/limanet~", user: "ann" } },
    /mv \/etc\/sudoers\.d\/limanet~ \/etc\/sudoers\.d\/limanet,/,
  ],
  ["privilege", "not-in-group", { notInGroup: { user: "ann", group: "vm" } }, /-aG vm ann/],
  [
    "privilege",
    "daemon-folder",
    { folders: [{ path: "/r", owner: 7, group: 0, mode: 0o700, isPrivate: true }] },
    /owner 7.*chmod 700 \/r/s,
  ],
  [
    "privilege",
    "daemon-folder",
    { folders: [{ path: "/r", owner: 0, group: 9, mode: 0o775, isPrivate: false }] },
    /group 9.*chmod 755 \/r/s,
  ],
  ["firewall", "network-tool-missing", { missingTools: ["nft"] }, /apt install nftables/],
  ["firewall", "tun-missing", { hasTun: false }, /modprobe tun/],
  ["firewall", "forward-blocked-legacy", { legacyRules: "-P FORWARD DROP\n" }, /legacy/],
  ["firewall", "dns-port-taken", { dnsHolder: "dnsmasq (process 7)" }, /dnsmasq \(process 7\)/],
  ["firewall", "forwarding-off", { bridges: ["lm-s"] }, /ip_forward=1/],
  ["firewall", "reverse-path-filter", { hasPolicyRouting: true }, /rp_filter = 2/],
  [
    "firewall",
    "network-manager",
    { managedByNetworkManager: [{ name: "lm-s", state: "connected" }] },
    /configures lm-s/,
  ],
  ["firewall", "macos-firewall", { ...MAC, bootpd: "blocked" }, /blocks bootpd/],
  ["firewall", "macos-firewall-unlisted", { ...MAC, bootpd: "unlisted" }, /no rule for bootpd/],
  ["leftovers", "network-left", { journals: ["lm-s"], bridges: ["lm-s"] }, /rules of lm-s,/],
  ["leftovers", "network-left", { journals: ["lm-s"] }, /vmnet --cleanup/],
  ["leftovers", "network-left", { journals: undefined, bridges: ["lm-s"] }, /vmnet --cleanup/],
  ["leftovers", "network-left", { bridges: ["lm-s"] }, /ip link del lm-s/],
  ["leftovers", "machine-left", { machines: ["vm"] }, /limanet stop vm/],
];

test.each(FOUND.map((row) => [`${row[0]}/${row[1]} ${String(row[3])}`, row] as const))(
  "%s is found, once and alone",
  (_, [area, id, change, says]) => {
    // firewall's facts are those of one system
    const facts = "system" in change && area === "firewall" ? change : { ...WELL[area], ...change };
    const findings = examineArea(area, facts as AreaFacts[typeof area]);
    expect(findings.map((finding) => finding.id)).toEqual([id]);
    const [{ problem, fix }] = findings as [AreaFinding];
    expect([problem, ...fix].join("\n")).toMatch(says);
    // sentences of this project: no period at the end, something to do
    expect(problem).not.toMatch(/\.$/);
    expect(fix.length).toBeGreaterThan(0);
  },
);

const QUIET: readonly Row[] = [
  ["machine", "QEMU of today", { qemus: [qemu({ version: [10, 1] })] }, /(?:)/],
  ["home", "paths as long as they may be", { sockets: [socket("any", 107)] }, /(?:)/],
  [
    "network",
    "a subnet that its own daemon has",
    {
      networks: WELL.network.networks.map((network) => ({ ...network, runs: true })),
      taken: [{ subnet: cidr("192.168.105.0/24"), owner: "the interface bridge100" }],
    },
    /(?:)/,
  ],
  [
    "network",
    "macOS, where everybody may ping",
    { ping: { first: 0, last: 0, groups: [0] } },
    /(?:)/,
  ],
  [
    "privilege",
    "nothing of root's is used",
    { isUsed: false, hasSudo: false, unsafe: "x", sudoers: "x", folders: [] },
    /(?:)/,
  ],
  ["firewall", "a firewall that is off", { ...MAC, isOn: false, bootpd: "blocked" }, /(?:)/],
  ["firewall", "macOS without such networks", { ...MAC, isUsed: false, bootpd: "blocked" }, /(?:)/],
  [
    "firewall",
    "networks that nobody uses",
    { networks: [], missingTools: ["nft", "ip"], hasTun: false, legacyRules: "-P FORWARD DROP\n" },
    /(?:)/,
  ],
  [
    "firewall",
    "legacy rules with a way through",
    { legacyRules: "-P FORWARD DROP\n-A FORWARD -i lm-+ -j ACCEPT\n" },
    /(?:)/,
  ],
  [
    "firewall",
    "a loose rp_filter",
    { hasPolicyRouting: true, settings: { "ipv4/conf/all/rp_filter": "2" } },
    /(?:)/,
  ],
];

test.each(QUIET.map((row) => [row[1], row] as const))("%s is no fault", (_, [area, , change]) => {
  const facts = "system" in change && area === "firewall" ? change : { ...WELL[area], ...change };
  expect(examineArea(area, facts as AreaFacts[typeof area])).toEqual([]);
});

test("macOS' firewall: the two commands of Lima's documentation", () => {
  const [finding] = examineArea("firewall", { ...MAC, bootpd: "blocked" });
  expect(finding?.fix).toEqual([
    "sudo /usr/libexec/ApplicationFirewall/socketfilterfw --add /usr/libexec/bootpd",
    "sudo /usr/libexec/ApplicationFirewall/socketfilterfw --unblock /usr/libexec/bootpd",
  ]);
  expect(finding?.fix).toEqual([...BOOTPD_COMMANDS]);
});

describe("exit codes", () => {
  const finding = (area: Area, severity: "fault" | "limit"): AreaFinding => ({
    area,
    severity,
    id: "x",
    problem: "x",
    fix: [],
  });
  test.each([
    [[], 0],
    [[finding("machine", "limit")], 0],
    [[finding("leftovers", "fault")], 16],
    [[finding("leftovers", "fault"), finding("machine", "limit"), finding("dns", "fault")], 13],
  ] as const)("%#", (findings, code) => {
    expect(exitCodeOf(findings)).toBe(code);
  });
});

test("docs/doctor.md tells every check with its severity, and every exit code", () => {
  const text = readFileSync(new URL("../../docs/doctor.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \| (fault|limit) \|/gm)].map(
    ([, id, severity]) => `${id} ${severity}`,
  );
  const checks = AREA_NAMES.flatMap((area) =>
    CHECKS[area].map(({ id, severity }) => `${id} ${severity}`),
  );
  expect(rows).toEqual(checks);
  const codes = [...text.matchAll(/^## `([a-z]+)` \(exit code (\d+)\)$/gm)].map(
    ([, area, code]) => [area, Number(code)],
  );
  expect(codes).toEqual(Object.entries(AREA_EXIT_CODES));
});
