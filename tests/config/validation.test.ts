/** What is accepted of lima.yaml's network settings and what is not: a row for each rule (specification 3.1, 3.5, 3.8). */
import { describe, expect, test } from "bun:test";
import { formatDiagnostic } from "../../lib/config/document.ts";
import { parseInstance, type Surroundings } from "../../lib/config/instance.ts";

const IMAGE = "images: [{location: /disk.qcow2}]\n";
const FILES: Record<string, "socket" | "other"> = { "/s.sock": "socket", "/plain": "other" };
const LINUX: Surroundings = {
  platform: "linux",
  architecture: "x86_64",
  networks: ["user-v2", "shared", "host", "bridged"],
  fileKind: (path) => FILES[path] ?? "none",
};
const parse = (text: string, surroundings = LINUX) =>
  parseInstance(IMAGE + text, "lima.yaml", {}, surroundings);
const told = (text: string) => parse(text).diagnostics.map(formatDiagnostic);

test.each([
  "networks: [{lima: user-v2}]",
  // managed networks are not a matter of macOS alone here
  "networks: [{lima: shared}, {lima: host}, {lima: bridged}]",
  "networks: [{socket: /s.sock}]",
  "networks: [{socket: /not/there/yet.sock}]",
  "vmType: vz\nnetworks: [{vzNAT: true}]",
  'networks: [{lima: user-v2, socket: "", vzNAT: false}]',
  'networks: [{lima: user-v2, macAddress: "52:55:55:12:34:56"}]',
  "networks: [{lima: user-v2, macAddress: 52-55-55-12-34-56}]",
  "networks: [{lima: user-v2, macAddress: 5255.5512.3456}]",
  'networks: [{lima: user-v2, macAddress: ""}]',
  "networks: [{lima: user-v2, interface: fifteen-octets1}]",
  "networks: [{lima: user-v2, metric: 0}, {lima: user-v2, metric: 4294967295}]",
  'networks: [{lima: user-v2, metric: "50"}]',
  "hostResolver: {enabled: false}\ndns: [1.1.1.1, 2606:4700:4700::1111]",
  "hostResolver: {ipv6: true, hosts: {a.test: 10.0.0.1, b.test: a.test, c.test: fd00::1}}",
  "ssh: {localPort: 0}",
  'ssh: {localPort: "60022"}',
  "ssh: {forwardX11: true, forwardX11Trusted: true, overVsock: false}",
  "vmType: vz",
  "vmType: krunkit",
  "vmType: wsl2",
  "vmType: default",
  "arch: riscv64",
  "param: {A: b}",
  "env: {A: 1, B: two}",
])("%s is accepted", (text) => expect(told(`${text}\n`)).toEqual([]));

test.each([
  ["networks: [{lima: nowhere}]", "2:19: networks[0].lima: network `nowhere` is not defined"],
  ["networks: [{lima: host, socket: /s.sock}]", "2:12: networks[0]: lima and socket are mutually"],
  ["networks: [{lima: host, vzNAT: true}]", "2:12: networks[0]: lima and vzNAT are mutually"],
  ["networks: [{socket: /x, vzNAT: true}]", "2:12: networks[0]: socket and vzNAT are mutually"],
  ["networks: [{socket: /plain}]", "2:21: networks[0].socket: points to a non-socket file"],
  ["networks: [{}]", "2:12: networks[0]: lima, socket or vzNAT: true must be set"],
  ["networks: [{vzNAT: false}]", "2:12: networks[0]: lima, socket or vzNAT: true must be set"],
  ["networks: [{lima: host, macAddress: no}]", "2:37: networks[0].macAddress: must be a 48 bit"],
  [
    'networks: [{lima: host, macAddress: "02:00:5e:10:00:00:00:01"}]',
    "2:37: networks[0].macAddress: must be a 48 bit (6 bytes) MAC address",
  ],
  [
    "networks: [{lima: host, interface: sixteen-octets-x}]",
    "2:36: networks[0].interface: must be less than 16 bytes",
  ],
  ["networks: [{lima: host, interface: ééééééé1é}]", "must be less than 16 bytes"],
  ["networks: [{lima: host, interface: a/b}]", "must not contain whitespace or slashes"],
  ["networks: [{lima: host, interface: a b}]", "must not contain whitespace or slashes"],
  ['networks: [{lima: host, interface: "a\\tb"}]', "must not contain whitespace or slashes"],
  ['networks: [{lima: host, interface: "a\\n"}]', "must not contain whitespace or slashes"],
  ["networks: [{lima: host, interface: eth0}]", "networks[0].interface: eth0 is reserved"],
  [
    "networks: [{lima: host, interface: lima1}, {lima: host}]",
    "networks[1].interface: lima1 has already been used by networks[0].interface",
  ],
  ["networks: [{lima: host, metric: -1}]", "networks[0].metric: a whole number from 0"],
  ["networks: [{lima: host, metric: 4294967296}]", "networks[0].metric: a whole number from 0"],
  ["networks: [{vzNAT: yes}]", "networks[0].vzNAT: true or false is needed"],
  ["dns: [1.1.1.1]", "2:6: dns: must be empty when hostResolver.enabled is true"],
  ["hostResolver: {enabled: false}\ndns: [1.1.1]", "3:7: dns[0]: not an IP address: 1.1.1"],
  ["ssh: {localPort: -1}", "ssh.localPort: a whole number from 0 to 65535"],
  ["ssh: {localPort: 22}", "ssh.localPort: must not be 22"],
  ["ssh: {localPort: 65536}", "ssh.localPort: a whole number from 0 to 65535"],
  ["ssh: {overVsock: 1}", "ssh.overVsock: true or false is needed"],
  ["vmType: xen", '2:9: vmType: one of qemu, vz, wsl2, krunkit is needed, not "xen", which is not'],
  ["arch: m68k", "2:7: arch: one of x86_64"],
  ["base: template:x", "2:7: base: must be empty: templates are embedded"],
  ["base: [{url: x.yaml}]", "2:7: base: must be empty: templates are embedded"],
])("%s is refused", (text, sentence) => {
  const { config } = parse(`${text}\n`);
  expect(config).toBeUndefined();
  expect(told(`${text}\n`)).toHaveLength(1);
  expect(told(`${text}\n`)[0]).toContain(sentence);
});

const NAT = "networks: [{lima: user-v2}, {vzNAT: true}]\n";
test.each([
  [NAT, "linux", "lima.yaml:2:37: warning: networks[1].vzNAT: needs vmType: vz; with qemu the"],
  [
    `vmType: qemu\n${NAT}`,
    "darwin",
    "lima.yaml:3:37: warning: networks[1].vzNAT: needs vmType: vz",
  ],
  [
    `arch: aarch64\n${NAT}`,
    "darwin",
    "lima.yaml:3:37: warning: networks[1].vzNAT: needs vmType: vz",
  ],
  [`${NAT}vmType: krunkit\n`, "darwin", "networks[1].vzNAT: needs vmType: vz; with krunkit the"],
  [NAT, "darwin", undefined],
  [`${NAT}vmType: vz\n`, "linux", undefined],
  [`vmType: qemu\n${NAT.replace("true", "false, lima: host")}`, "linux", undefined],
] as const)("%j on %s is read, with the warning %p", (text, platform, warning) => {
  const { config, diagnostics } = parse(text, { ...LINUX, platform });
  expect(config!.networks).toHaveLength(2);
  expect(diagnostics).toHaveLength(warning === undefined ? 0 : 1);
  if (warning !== undefined) expect(formatDiagnostic(diagnostics[0]!)).toContain(warning);
});

test("all that is wrong with the networks is told at once, an undefined one included", () => {
  const text = `networks:
- lima: nowhere
  interface: "eth0"
  macAddress: x
- lima: elsewhere
  socket: /plain
  interface: way/too long for linux
- {}
`;
  expect(
    told(text).map((line) => line.replace(/^lima\.yaml:(\d+):\d+: ([^ ]+): .*/, "$1 $2")),
  ).toEqual([
    "3 networks[0].lima",
    "4 networks[0].interface",
    "5 networks[0].macAddress",
    "6 networks[1]",
    "6 networks[1].lima",
    "7 networks[1].socket",
    "8 networks[1].interface",
    "8 networks[1].interface",
    "9 networks[2]",
  ]);
});

test("env and param are words, whatever they look like", () => {
  const { config } = parse("env: {A: 1, B: true, C: , D: ~, E: 0x10, F: no}\nparam: {G: false}\n");
  expect(config!.env).toEqual({ A: "1", B: "true", C: "", D: "", E: "0x10", F: "no" });
  expect(config!.param).toEqual({ G: "false" });
});

test("without networks.yaml and files at hand, what stands in them is not checked", () => {
  const surroundings = { platform: "linux", architecture: "x86_64" } as const;
  const text = "networks: [{lima: nowhere}, {socket: /plain}]\n";
  expect(parse(text, surroundings).config!.networks).toHaveLength(2);
});

test.each([
  ["network: [{lima: a}]", /^lima\.yaml:2:10: warning: network: has been removed .* use networks$/],
  ["useHostResolver: false", /warning: useHostResolver: has been removed .*hostResolver\.enabled$/],
  [
    "provision: [{file: x.sh}]",
    /warning: provision\[0\]\.file: is read only when an instance is made/,
  ],
  ["provision: [{mode: dependency, script: x}]", /warning: provision\[0\]\.mode: .*is left out$/],
])("%s is warned about, and it goes on", (text, pattern) => {
  expect(told(`${text}\n`)).toEqual([expect.stringMatching(pattern)]);
  expect(parse(`${text}\n`).config).toBeDefined();
});

describe("vmType (specification 3.5)", () => {
  test.each([
    ["linux", "", "qemu"],
    ["darwin", "", "vz"],
    ["darwin", "vmType: qemu\n", "qemu"],
    ["darwin", "arch: x86_64\n", "vz"],
    ["darwin", "arch: aarch64\n", "qemu"],
    ["linux", "vmType: vz\n", "vz"],
  ] as const)("on %s with %j it is %s", (platform, text, vmType) => {
    expect(parse(text, { ...LINUX, platform }).config!.vmType).toBe(vmType);
  });
});
