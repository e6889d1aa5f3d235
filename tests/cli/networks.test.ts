/** `limanet network …` as a person runs it, in a home folder of its own. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "limanet-networks-"));
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const network = (...words: string[]) => {
  const env = { ...process.env, LIMANET_HOME: home };
  const run = Bun.spawnSync([process.execPath, MAIN, "network", ...words], { env });
  return { code: run.exitCode, out: run.stdout.toString(), error: run.stderr.toString() };
};
const file = () => readFileSync(join(home, "_config/networks.yaml"), "utf8");

test("list shows the networks by name, as a table with four blanks between the columns", () => {
  expect(network("list").out).toBe(
    [
      "NAME       MODE       GATEWAY             INTERFACE",
      "bridged    bridged    -                   eth0",
      "host       host       192.168.106.1/24    -",
      "shared     shared     192.168.105.1/24    -",
      "user-v2    user-v2    192.168.104.1/24    -",
      "",
    ].join("\n"),
  );
});

test("list --json gives a line each, keys in Lima's order, and warns of names that are none", () => {
  const { out, error, code } = network("list", "--json", "host", "nope");
  expect(out).toBe(
    '{"name":"host","mode":"host","gateway":"192.168.106.1","dhcpEnd":"192.168.106.254","netmask":"255.255.255.0"}\n',
  );
  expect(error).toBe("warning: No network matching nope found.\n");
  expect(code).toBe(0);
});

test.skipIf(existsSync("/opt/socket_vmnet/bin/socket_vmnet"))(
  "the file that is made for a new home names the program that is found, links resolved",
  () => {
    const place = realpathSync(mkdtempSync(join(tmpdir(), "limanet-programs-")));
    mkdirSync(join(place, "cellar"));
    writeFileSync(join(place, "cellar/socket_vmnet"), "#!/bin/sh\n", { mode: 0o755 });
    symlinkSync("cellar/socket_vmnet", join(place, "socket_vmnet"));
    const env = { ...process.env, LIMANET_HOME: join(place, "home"), PATH: `/nowhere:${place}` };
    Bun.spawnSync([process.execPath, MAIN, "network", "list"], { env });
    expect(readFileSync(join(place, "home/_config/networks.yaml"), "utf8")).toContain(
      `\n  socketVMNet: "${place}/cellar/socket_vmnet"\n`,
    );
    rmSync(place, { recursive: true });
  },
);

test("create adds a network and keeps every comment of the file", () => {
  const before = file();
  expect(network("create", "lab", "--gateway", "auto").code).toBe(0);
  expect(network("create", "rack", "--mode", "host", "--gateway", "10.213.7.1/20").code).toBe(0);
  expect(network("create", "lan", "--mode", "bridged", "--interface", "en7").code).toBe(0);
  const after = file();
  for (const line of before.split("\n")) expect(after).toContain(line);
  const [lab, rack, lan] = network("list", "--json", "lab", "rack", "lan")
    .out.trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, string>);
  expect(lab!["gateway"]).toMatch(/^192\.168\.\d+\.1$/);
  expect(["192.168.104.1", "192.168.105.1", "192.168.106.1"]).not.toContain(lab!["gateway"]);
  expect(rack).toEqual({
    name: "rack",
    mode: "host",
    gateway: "10.213.7.1",
    dhcpEnd: "10.213.15.254",
    netmask: "255.255.240.0",
  });
  expect(lan).toEqual({ name: "lan", mode: "bridged", interface: "en7" });
});

test.each([
  [["lab", "--gateway", "auto"], /network `lab` already exists/],
  [["a b", "--gateway", "auto"], /letters and digits/],
  [["x"], /mode user-v2 requires specifying gateway/],
  [["x", "--gateway", "192.168.104.77"], /192\.168\.104\.0\/24 overlaps with the network user-v2/],
  [["x", "--gateway", "10.213.8.1/24"], /overlaps with the network rack/],
  [["x", "--gateway", "127.0.0.5/24"], /overlaps|cannot be a gateway/],
  [["x", "--gateway", "224.0.0.1/24"], /224\.0\.0\.1 cannot be a gateway/],
  [["x", "--mode", "host", "--gateway", "10.214.0.0/24"], /10\.214\.0\.0 stands for the whole of/],
  [["x", "--mode", "host", "--gateway", "10.214.0.255/24"], /10\.214\.0\.255 stands for the/],
  [["x", "--gateway", "10.0.0.1/31"], /a prefix from 8 to 29/],
  [["x", "--gateway", "ten"], /failed to parse CIDR `ten\/24`|failed to parse CIDR `ten`/],
  [["x", "--mode", "nat", "--gateway", "auto"], /one of user-v2, shared, host, bridged, not nat/],
  [["x", "--mode", "bridged"], /mode bridged requires specifying interface/],
  [
    ["x", "--mode", "bridged", "--interface", "e0", "--gateway", "auto"],
    /mode bridged does not support specifying gateway/,
  ],
  [
    ["x", "--gateway", "auto", "--interface", "e0"],
    /mode user-v2 does not support specifying interface/,
  ],
])("create %j is refused, and the file stays as it was", (words, why) => {
  const before = file();
  const { code, error } = network("create", ...words);
  expect(code).toBe(1);
  expect(error).toMatch(why);
  expect(error).toMatch(/^limanet: Cannot create the network [^\n]*\n$/);
  expect(file()).toBe(before);
});

test("delete refuses while an instance uses the network, unless it is forced", () => {
  mkdirSync(join(home, "vm"));
  writeFileSync(join(home, "vm/lima.yaml"), "images: [{location: /x}]\nnetworks: [{lima: lab}]\n");
  const refused = network("delete", "lab", "rack");
  expect(refused.code).toBe(1);
  expect(refused.error).toMatch(/Cannot delete the network lab: vm would be without it/);
  expect(network("list", "--json", "rack").out).not.toBe("");
  expect(network("delete", "--force", "lab", "rack", "unknown").code).toBe(0);
  expect(network("list", "--json", "lab", "rack").out).toBe("");
  rmSync(join(home, "vm"), { recursive: true });
});

test("delete refuses while an instance's lima.yaml cannot be read, since it may use any network", () => {
  mkdirSync(join(home, "odd"));
  writeFileSync(join(home, "odd/lima.yaml"), "images: [\n");
  expect(network("create", "lab", "--gateway", "auto").code).toBe(0);
  const { code, error } = network("delete", "lab");
  expect(error).toBe(
    "limanet: Cannot delete the network lab: odd may be using it, whose lima.yaml cannot be read (limanet network delete --force deletes it all the same)\n",
  );
  expect(code).toBe(1);
  expect(network("delete", "--force", "lab").code).toBe(0);
  rmSync(join(home, "odd"), { recursive: true });
});

test("networks that are made and deleted at once are all made, with subnets of their own, and deleted", async () => {
  const names = ["p1", "p2", "p3", "p4", "p5"];
  const atOnce = (words: (name: string) => string[]) =>
    Promise.all(
      names.map(
        (name) =>
          Bun.spawn([process.execPath, MAIN, "network", ...words(name)], {
            env: { ...process.env, LIMANET_HOME: home },
          }).exited,
      ),
    );
  const before = file();
  expect(await atOnce((name) => ["create", name, "--gateway", "auto"])).toEqual(names.map(() => 0));
  const { out, error } = network("list", "--json", ...names);
  expect(error).toBe("");
  const gateways = out
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { gateway: string }).gateway);
  expect(new Set(gateways).size).toBe(names.length);
  expect(await atOnce((name) => ["delete", name])).toEqual(names.map(() => 0));
  expect(file()).toBe(before);
});

test("delete of what is no network removes nothing", () => {
  const before = readdirSync(home);
  for (const name of ["..", ".", "../_config", "nope"])
    expect(network("delete", "--force", name).code).toBe(0);
  expect(readdirSync(home)).toEqual(before);
  expect(file()).not.toBe("");
});

test("show tells of a network of root's where guests are attached, and that nothing runs", () => {
  expect(JSON.parse(network("show", "--json", "shared").out)).toMatchObject({
    mode: "shared",
    subnet: "192.168.105.0/24",
    gateway: "192.168.105.1",
    socket: expect.stringMatching(/^\/.*\/socket_vmnet\.shared$/),
    daemon: "stopped",
  });
});

test("show tells what guests are told, who uses it, and that nothing runs", () => {
  const { out } = network("show", "--json", "user-v2");
  expect(JSON.parse(out)).toEqual({
    name: "user-v2",
    mode: "user-v2",
    subnet: "192.168.104.0/24",
    gateway: "192.168.104.2",
    mtu: 1500,
    socket: join(home, "_networks/user-v2/user-v2_qemu.sock"),
    daemon: "stopped",
    members: [],
    leases: {},
    forwards: [],
  });
  expect(network("show", "user-v2").out).toMatch(
    /^user-v2\n {2}mode: +user-v2\n {2}subnet: +192\.168\.104\.0\/24\n/,
  );
  expect(network("show", "nope").error).toMatch(/Cannot show the network nope: it is not defined/);
});

test("show tells each member's card, and the address it has had, also while nothing runs", () => {
  mkdirSync(join(home, "one"), { recursive: true });
  mkdirSync(join(home, "two"), { recursive: true });
  mkdirSync(join(home, "_networks/user-v2"), { recursive: true });
  const image = "images: [{location: /x}]\n";
  writeFileSync(
    join(home, "one/lima.yaml"),
    `${image}networks: [{lima: shared}, {lima: user-v2}]\n`,
  );
  writeFileSync(
    join(home, "two/lima.yaml"),
    `${image}networks: [{lima: user-v2}, {lima: user-v2, macAddress: "52:55:55:00:00:02"}]\n`,
  );
  type View = {
    members: { name: string; status: string; cards: { interface: string; mac: string }[] }[];
  };
  const view = () => JSON.parse(network("show", "--json", "user-v2").out) as View;
  const [one, two] = view().members;
  expect(one!.cards).toEqual([{ interface: "eth0", mac: expect.stringMatching(/^52:55:55:/) }]);
  expect(two!.cards).toEqual([
    { interface: "eth0", mac: expect.stringMatching(/^52:55:55:/) },
    { interface: "lima1", mac: "52:55:55:00:00:02" },
  ]);
  const leases = { "192.168.104.7": one!.cards[0]!.mac };
  writeFileSync(join(home, "_networks/user-v2/leases.json"), JSON.stringify(leases));
  expect(view().members[0]!.cards[0]).toMatchObject({ address: "192.168.104.7" });
  expect(view()).toMatchObject({ leases, daemon: "stopped" });
  expect(network("show", "user-v2").out).toContain(
    `members:  one (Stopped): eth0 ${one!.cards[0]!.mac} 192.168.104.7\n`,
  );
  // on a network of root's a card is never the first one
  const shared = JSON.parse(network("show", "--json", "shared").out) as View;
  expect(shared.members).toEqual([
    {
      name: "one",
      status: "Stopped",
      cards: [{ interface: "lima0", mac: expect.stringMatching(/^52:55:55:/) }],
    },
  ]);
  for (const name of ["one", "two", "_networks/user-v2"])
    rmSync(join(home, name), { recursive: true });
});

test("choose prints the flag, the YAML and what else is needed", () => {
  expect(network("choose", "--from", "vms")).toEqual({
    code: 0,
    out: `network: user-v2 (machines on it reach each other as lima-NAME.internal, and nothing needs root)
flag:    limanet start --network lima:user-v2 …
yaml:
  networks:
  - lima: user-v2
`,
    error: "",
  });
  expect(network("choose", "--from=localhost").out).toMatch(
    /^network: default .*\nflag: +none is needed\nyaml: +nothing is needed\n$/,
  );
  const { out } = network("choose", "--from", "host", "--vm-type", "vz", "--json");
  expect(JSON.parse(out)).toMatchObject({ network: "vzNAT", flag: "--vm-type vz --network vzNAT" });
});

// a person at a terminal: script(1) makes one, and types what it reads
test.skipIf(process.platform !== "linux").each([
  ["1", "default"],
  ["localhost", "default"],
  ["2\\n1", "shared"],
  ["2\\n2", "user-v2"],
  ["address\\nlan", "bridged"],
  ["9\\nwhat\\n\\n 2 \\n3", "bridged"],
])("choose on a terminal, answered %s, is %s", (typed, name) => {
  const command = `${process.execPath} ${MAIN} network choose`;
  const run = Bun.spawnSync(
    ["sh", "-c", `printf '${typed}\\n' | script -qec "$1" /dev/null`, "sh", command],
    { env: { ...process.env, LIMANET_HOME: home } },
  );
  const said = run.stdout.toString();
  expect(said).toContain("How is the machine to be reached?");
  expect(said).toMatch(new RegExp(`\\bnetwork: ${name} \\(`));
  expect(run.exitCode).toBe(0);
});

test("choose without a terminal and without --from says what to say", () => {
  expect(network("choose").error).toMatch(
    /^limanet: Cannot choose a network: say --from localhost, host, vms, lan\n$/,
  );
});

test("what is odd in networks.yaml is told by every command that reads it, and it goes on", () => {
  const before = file();
  writeFileSync(join(home, "_config/networks.yaml"), `${before}grupo: staff\n`);
  const { error, code } = network("list");
  expect(error).toMatch(
    /networks\.yaml:\d+:1: warning: grupo: unknown key \(did you mean group\?\)\n/,
  );
  expect(code).toBe(0);
  writeFileSync(join(home, "_config/networks.yaml"), before);
});
