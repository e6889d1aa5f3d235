/** networks.yaml: what is taken, what is filled in, what is said about it and where. */
import { describe, expect, test } from "bun:test";
import { formatDiagnostic } from "../../lib/config/document.ts";
import {
  defaultNetworksText,
  networkProblem,
  parseNetworks,
  rangeOf,
} from "../../lib/config/networks.ts";
import { platformFacts } from "../../lib/privilege/platform.ts";

const read = (text: string) => parseNetworks(text, "n");
const said = (text: string) => read(text).diagnostics.map(formatDiagnostic).join("\n");

test.each([
  ["darwin", "everyone", "/private/var/run/lima", "/private/etc/sudoers.d/lima", "en0"],
  ["linux", "staff", "/run/limanet", "/etc/sudoers.d/limanet", "eth0"],
] as const)(
  "the default file of %s has every key, and nothing is wrong with it but the group everyone",
  (system, group, varRun, sudoers, bridgedInterface) => {
    const facts = platformFacts(system, group);
    const socketVMNet = "/opt/a b/socket_vmnet";
    const text = defaultNetworksText({
      paths: { socketVMNet, varRun: facts.varRun, sudoers: facts.sudoers },
      group,
      bridgedInterface: facts.bridgedInterface,
    });
    const { config } = read(text);
    expect(said(text)).toEqual(
      group === "everyone" ? expect.stringMatching(/^n:\d+:8: warning: group: [^\n]*$/) : "",
    );
    const netmask = "255.255.255.0";
    expect(config).toEqual({
      paths: { socketVMNet, varRun, sudoers },
      group,
      networks: {
        "user-v2": { mode: "user-v2", gateway: "192.168.104.1", netmask },
        shared: {
          mode: "shared",
          gateway: "192.168.105.1",
          dhcpEnd: "192.168.105.254",
          netmask,
        },
        bridged: { mode: "bridged", interface: bridgedInterface },
        host: { mode: "host", gateway: "192.168.106.1", dhcpEnd: "192.168.106.254", netmask },
      },
    });
    // each of them is explained
    for (const key of ["socketVMNet", "varRun", "sudoers", "group", "user-v2", "shared"])
      expect(text).toMatch(new RegExp(`^ *# .*\\n *${key}:`, "m"));
  },
);

const USUAL = { mode: "user-v2", gateway: "192.168.104.1", netmask: "255.255.255.0" };

test.each([
  ["", USUAL],
  ["# nothing but a comment", USUAL],
  ["networks:", USUAL],
  ["networks: {}", USUAL],
  ["paths: ~\ngroup: ~\nnetworks: ~", USUAL],
  ["networks: {user-v2: ~}", USUAL],
  ["networks: {user-v2: {mode: shared, gateway: 10.0.0.1}}", USUAL],
  ["networks: {user-v2: {mode: user-v2}}", USUAL],
  ["networks: {shared: {mode: shared, gateway: 10.0.0.1}}", USUAL],
  ["networks: {own: {mode: user-v2, gateway: 10.0.0.1}}", undefined],
  [
    "networks: {user-v2: {mode: user-v2, gateway: 10.0.0.1}}",
    { mode: "user-v2", gateway: "10.0.0.1", netmask: "255.255.255.0" },
  ],
])("the entry user-v2 of %j", (text, expected) => {
  const { config, diagnostics } = read(text);
  expect(diagnostics.filter(({ severity }) => severity === "error")).toEqual([]);
  expect(config!.networks["user-v2"]).toEqual(expected as never);
});

test("what Lima takes and does not use is taken with a word about it", () => {
  const text = `paths:
  vdeSwitch: /opt/vde/bin/vde_switch
  vdeVMNet: /opt/vde/bin/vde_vmnet
  socketVmnet: /x
  varRun: /run/lima
networks:
  lab: { mode: nat, gateway: 10.0.0.1 }
  odd_: { mode: host }
  vague: { gateway: 10.1.0.1 }
  wire: { mode: bridged }
  tight: { mode: shared, gateway: 10.2.0.9, dhcpEnd: 10.3.0.9 }
  good: { mode: host, gateway: "", dhcpEnd: "", netmask: "" }
`;
  const { config } = read(text);
  expect(said(text).split("\n")).toEqual([
    "n:2:14: warning: paths.vdeSwitch: nothing has used it since Lima 0.22 (socketVMNet took its place)",
    "n:3:13: warning: paths.vdeVMNet: nothing has used it since Lima 0.22 (socketVMNet took its place)",
    "n:4:3: warning: paths.socketVmnet: unknown key (did you mean socketVMNet?)",
    'n:7:16: warning: networks.lab.mode: the network cannot be used: its mode must be one of user-v2, shared, host, bridged, not "nat"',
    expect.stringMatching(
      /^n:8:9: warning: networks\.odd_: the network cannot be used: for its name, /,
    ),
    'n:9:10: warning: networks.vague: the network cannot be used: its mode must be one of user-v2, shared, host, bridged, not ""',
    expect.stringMatching(/^n:10:9: warning: networks\.wire: .*needs an interface of the host/),
    "n:11:54: warning: networks.tight.dhcpEnd: the network cannot be used: its dhcpEnd must be behind the gateway 10.2.0.9 in 10.2.0.0/24, not 10.3.0.9",
  ]);
  expect(config!.networks).toMatchObject({ lab: { mode: "nat" }, good: { mode: "host" } });
});

test.each([
  [
    "networks: {a: {mode: host, gateway: 10.0.0.256}}",
    "n:1:37: networks.a.gateway: not an IPv4 address: 10.0.0.256",
  ],
  [
    "networks: {a: {mode: host, gateway: fd00::1}}",
    "n:1:37: networks.a.gateway: not an IPv4 address: fd00::1",
  ],
  ["networks: {a: {dhcpEnd: x}}", "n:1:25: networks.a.dhcpEnd: not an IPv4 address: x"],
  [
    "networks: {a: {netmask: 255.0.255.0}}",
    "n:1:25: networks.a.netmask: not a netmask: 255.0.255.0",
  ],
  [
    "networks: {a: {mtu: 100}}",
    "n:1:21: networks.a.mtu: a whole number from 576 to 65520 is needed, not 100",
  ],
  [
    "networks: {a: {hostAccess: some}}",
    'n:1:28: networks.a.hostAccess: one of all, none is needed, not "some", which is no list of ports such as [3128, 5432]',
  ],
  [
    "networks: {a: {hostAccess: [22, 0]}}",
    "n:1:33: networks.a.hostAccess[1]: a whole number from 1 to 65535 is needed, not 0",
  ],
  [
    "networks: {a: {hostAccess: {port: 22}}}",
    "n:1:28: networks.a.hostAccess: a list is needed, not a mapping",
  ],
  [
    "networks: {a: {linkLocalAccess: maybe}}",
    'n:1:33: networks.a.linkLocalAccess: true or false is needed, not "maybe"',
  ],
  ["networks: {a: {mode: [host]}}", "n:1:22: networks.a.mode: a string is needed, not a list"],
  ["networks: [a]", "n:1:11: networks: a mapping is needed, not a list"],
  ["networks: {a: host}", 'n:1:15: networks.a: a mapping is needed, not "host"'],
  ["paths: /run", 'n:1:8: paths: a mapping is needed, not "/run"'],
  ["paths: {varRun: [/run]}", "n:1:17: paths.varRun: a string is needed, not a list"],
  ["group: {a: b}", "n:1:8: group: a string is needed, not a mapping"],
  ["group: a\ngroup: b", "n:2:1: the key group stands here a second time (leave one of them)"],
  [
    "networks:\n  a: {mode: host}\n  a: {mode: host}",
    "n:3:3: the key a stands here a second time (leave one of them)",
  ],
  [
    "networks:\n  a: {mode: host, mode: shared}",
    "n:2:19: the key mode stands here a second time (leave one of them)",
  ],
  ["- a", "n:1:1: a mapping is needed, not a list"],
])("%j is refused in its place", (text, expected) => {
  expect(read(text).config).toBeUndefined();
  expect(said(text)).toBe(expected);
});

test.each([
  ["grupo: x", /^n:1:1: warning: grupo: unknown key \(did you mean group\?\)$/],
  ["group: everyone", /^n:1:8: warning: group: every account of this machine .*as root .*admin/],
])("%j is taken with a warning", (text, pattern) => {
  expect(read(text).config).toBeDefined();
  expect(said(text)).toMatch(pattern);
});

describe("rangeOf()", () => {
  test.each([
    ["10.213.7.1", {}, "10.213.7.254", "255.255.255.0"],
    ["10.213.7.1", { netmask: "255.255.240.0" }, "10.213.7.254", "255.255.240.0"],
    ["10.0.0.1", { netmask: "255.255.255.240" }, "10.0.0.14", "255.255.255.240"],
    ["10.0.0.1", { dhcpEnd: "10.0.0.9" }, "10.0.0.9", "255.255.255.0"],
  ])("of %s and %j ends at %s", (gateway, network, dhcpEnd, netmask) =>
    expect(rangeOf(gateway, { mode: "host", ...network })).toEqual({ dhcpEnd, netmask }),
  );
});

test.each([
  ["a", { mode: "user-v2" }, undefined],
  ["a", { mode: "shared" }, undefined],
  ["a", { mode: "host", gateway: "10.0.0.1" }, undefined],
  ["a", { mode: "bridged", interface: "enp0s3" }, undefined],
  ["a", { mode: "user-v2", gateway: "10.0.0.254" }, undefined],
  ["../x", { mode: "user-v2" }, /^for its name, /],
  ["a", { mode: "brigded" }, /did you mean bridged/],
  ["a", { mode: "bridged", interface: "a b" }, /^for its interface, /],
  ["a", { mode: "host", gateway: "10.0.0.254" }, /behind the gateway 10\.0\.0\.254/],
])("networkProblem(%j, %j)", (name, network, pattern) => {
  const why = networkProblem(name, network)?.why;
  if (pattern === undefined) expect(why).toBeUndefined();
  else expect(why).toMatch(pattern);
});

test.each([
  ["hostAccess: none", { hostAccess: "none" }],
  [
    "hostAccess: [3128, '5432'], linkLocalAccess: true",
    { hostAccess: [3128, 5432], linkLocalAccess: true },
  ],
  ["hostAccess: []", { hostAccess: [] }],
])("%s is what guests of a user-v2 network reach of the host", (text, expected) => {
  const whole = `networks: {a: {mode: user-v2, gateway: 10.0.0.1, ${text}}}`;
  expect(said(whole)).toBe("");
  expect(read(whole).config?.networks["a"]).toMatchObject(expected as object);
});

test.each([
  ["dns: {ipv6: true, publicFallback: false}", { ipv6: true, publicFallback: false }],
  ["dns: {emptyOnOutage: true}", { emptyOnOutage: true }],
  ["dns: {}", {}],
])("%s is what user-v2 networks do about DNS", (text, dns) => {
  expect(said(text)).toBe("");
  expect(read(text).config?.dns).toEqual(dns);
});

test.each([
  ["dns: {publicFallback: maybe}", /dns\.publicFallback: true or false is needed/],
  ["dns: {publicFalback: true}", /warning: .*publicFalback.*publicFallback/],
])("%s is told", (text, complaint) => expect(said(text)).toMatch(complaint));
