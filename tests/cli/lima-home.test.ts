/** What limanet makes of a folder that Lima has filled: a golden answer for each command that only looks. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, rmSync, symlinkSync } from "node:fs";
import { LimaHome, NETWORKS } from "../support/lima-home.ts";

let home: LimaHome;
beforeAll(() => {
  home = new LimaHome();
});
afterAll(() => home.close());

const WARNED = [
  "HOME/_config/networks.yaml:5:14: warning: paths.vdeSwitch",
  "HOME/_config/networks.yaml:9:8: warning: group",
];
const warnings = (error: string) =>
  error
    .trimEnd()
    .split("\n")
    .map((line) => line.split(": ").slice(0, 3).join(": "));

test("network list", () => {
  const { code, out, error } = home.run(["network", "list"]);
  expect(out).toBe(
    [
      "NAME       MODE       GATEWAY             INTERFACE",
      "bridged    bridged    -                   en0",
      "lab        host       10.77.0.1/24        -",
      "shared     shared     192.168.105.1/24    -",
      "user-v2    user-v2    192.168.104.1/24    -",
      "",
    ].join("\n"),
  );
  expect(warnings(error)).toEqual(WARNED);
  expect(code).toBe(0);
});

test("network list --json", () => {
  expect(home.run(["network", "list", "--json"]).out.trim().split("\n")).toEqual([
    '{"name":"bridged","mode":"bridged","interface":"en0"}',
    '{"name":"lab","mode":"host","gateway":"10.77.0.1","netmask":"255.255.255.0"}',
    '{"name":"shared","mode":"shared","gateway":"192.168.105.1","dhcpEnd":"192.168.105.254","netmask":"255.255.255.0"}',
    '{"name":"user-v2","mode":"user-v2","gateway":"192.168.104.1","netmask":"255.255.255.0"}',
  ]);
});

test("list --json: networks as they are after default.yaml and override.yaml", () => {
  const [first, second] = home
    .run(["list", "--json"])
    .out.trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(first).toMatchObject({
    name: "default",
    hostname: "lima-default",
    status: "Stopped",
    dir: "HOME/default",
    cpus: 3,
    network: [
      { interface: "lab0", lima: "lab", metric: 300, macAddress: "52:55:55:00:00:07" },
      { interface: "lima1", lima: "user-v2", metric: 100 },
      { interface: "vmnet0", lima: "shared", metric: 100 },
    ],
    sshLocalPort: 0,
  });
  expect(second).toMatchObject({
    name: "docker",
    vmType: "qemu",
    network: [
      { interface: "lab0", lima: "user-v2", metric: 300, macAddress: "52:55:55:00:00:07" },
      { interface: "lima1", socket: "/run/nobody.sock", metric: 100 },
    ],
  });
});

test("validate of both instances", () => {
  const { code, out, error } = home.run(["validate", "default/lima.yaml", "docker/lima.yaml"]);
  expect(out).toBe("default/lima.yaml: OK\ndocker/lima.yaml: OK\n");
  expect(warnings(error)).toEqual([
    ...WARNED,
    "default/lima.yaml:18:9: warning: provision[0].mode",
    "docker/lima.yaml:18:9: warning: provision[0].mode",
  ]);
  expect(code).toBe(0);
});

test("validate tells a network that is not there with all else that is wrong", () => {
  const file = home.write(
    "mine.yaml",
    "images: [{location: /x}]\ncpus: 0\nnetworks:\n- lima: gone\n",
  );
  const { code, error } = home.run(["validate", file]);
  expect(error.trim().split("\n").slice(WARNED.length)).toEqual([
    "HOME/mine.yaml:2:7: cpus: a whole number from 1 to 512 is needed, not 0",
    "HOME/mine.yaml:4:9: networks[1].lima: network `gone` is not defined (networks.yaml has user-v2, shared, bridged, lab)",
  ]);
  expect(code).toBe(1);
});

test("network show", () => {
  const { out } = home.run(["network", "show", "user-v2"]);
  expect(out).toStartWith("user-v2\n  mode:     user-v2\n  subnet:   192.168.104.0/24\n");
  expect(out).toContain("  daemon:   stopped\n");
});

test("cards have the same addresses by whatever link the folder is reached", () => {
  const show = (folder: string) =>
    home.run(["network", "show", "--json", "user-v2"], { LIMANET_HOME: folder }).out;
  const link = `${home.folder}-link`;
  symlinkSync(home.folder, link);
  expect(show(link)).toBe(show(home.folder));
  expect(show(link)).toMatch(/"cards":\[\{"interface":"eth0","mac":"52:55:55:/);
  rmSync(link);
});

test("looking changes nothing", () => {
  expect(home.read("_config/networks.yaml")).toBe(NETWORKS);
  expect(readdirSync(home.path("default")).toSorted()).toEqual([
    "lima-version",
    "lima.yaml",
    "ssh.config",
  ]);
  expect(readdirSync(home.path("docker")).toSorted()).toEqual(["lima-version", "lima.yaml"]);
});

test("network create keeps what an older Lima and its user have written", () => {
  expect(home.run(["network", "create", "more", "--gateway", "10.78.0.1"]).code).toBe(0);
  expect(home.read("_config/networks.yaml")).toBe(
    `${NETWORKS}  more:\n    mode: user-v2\n    gateway: 10.78.0.1\n    netmask: 255.255.255.0\n`,
  );
  expect(home.run(["network", "delete", "more"]).code).toBe(0);
  expect(home.read("_config/networks.yaml")).toBe(NETWORKS);
});
