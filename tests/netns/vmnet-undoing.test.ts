/** A vmnet network leaves the host as it found it: after a stop, and after being killed at any moment (issue 5). */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canMakeNamespaces, Space } from "../support/lab.ts";
import { mulberry } from "../support/mulberry.ts";

const DRIVER = new URL("../support/vmnet-host.ts", import.meta.url).pathname;
const host = new Space(`vmh${process.pid}`);
const outside = new Space(`vmo${process.pid}`);
const spaceTest = test.skipIf(!canMakeNamespaces);
let folder: string;

beforeAll(async () => {
  if (!canMakeNamespaces) return;
  folder = join(mkdtempSync(join(tmpdir(), "vmnet-undoing-")), "state");
  await outside.open({});
  await host.open({});
  await host.ip("link", "add", "up0", "type", "veth", "peer", "name", "in0", "netns", outside.name);
  for (const words of [
    "link set up0 up",
    "addr add 203.0.113.2/24 brd + dev up0",
    "addr add 203.0.113.3/24 dev up0",
    "addr add 198.51.100.7/32 dev up0",
    "addr add 2001:db8::2/64 dev up0 nodad",
    "route add default via 203.0.113.1 dev up0 proto dhcp src 203.0.113.2 metric 100",
    "route add 198.51.100.128/25 via 203.0.113.9 dev up0 metric 50 mtu 1400",
    "route add default via 203.0.113.9 dev up0 table 100",
    "route add unreachable 198.18.0.0/15",
    "route add 192.0.2.0/24 dev up0 scope link",
    "-6 route add default via 2001:db8::1 dev up0 metric 300",
    "rule add from 203.0.113.3 lookup 100 pref 1000",
  ])
    await host.ip(...words.split(" "));
  await outside.ip("link", "set", "in0", "up");
  await outside.ip("addr", "add", "203.0.113.1/24", "dev", "in0");
  // rules of somebody else's
  await host.run(
    "nft",
    "add table inet theirs { chain c { type nat hook postrouting priority 100; masquerade; }; }",
  );
});

afterAll(async () => {
  if (!canMakeNamespaces) return;
  await host.close();
  await outside.close();
  rmSync(join(folder, ".."), { recursive: true, force: true });
});

/** everything of the host's network that a person could have set */
async function dump(): Promise<Record<string, unknown>> {
  // an address comes back when nobody else has said that it is theirs
  while ((await host.run("ip", "-6", "addr", "show", "tentative")).stdout !== "")
    await Bun.sleep(50);
  const json = async (...words: string[]) =>
    JSON.parse((await host.run("ip", "-j", ...words)).stdout || "[]") as unknown;
  const settings = (await host.run("sysctl", "-a")).stdout
    .split("\n")
    .filter(
      (line) => line.startsWith("net.") && !/nf_conntrack_count|\.gc_|random|_seed/.test(line),
    );
  return {
    link: await json("link"),
    addr: await json("addr"),
    route: await json("-4", "route", "show", "table", "all"),
    route6: await json("-6", "route", "show", "table", "all"),
    rule: await json("rule"),
    rules: (await host.run("nft", "list", "ruleset")).stdout,
    settings,
  };
}

const NETWORKS = [
  ["shared", "/run/limanet/socket_vmnet.shared", "192.168.105.1"],
  ["shared", "/run/limanet/socket_vmnet.second", "192.168.107.1"],
  ["host", "/run/limanet/socket_vmnet.host", "192.168.106.1"],
  ["bridged", "/run/limanet/socket_vmnet.bridged", "up0"],
] as const;

const start = (network: readonly string[]) =>
  host.spawn(process.execPath, DRIVER, folder, ...network);
type Driver = ReturnType<typeof start>;

async function firstLine({ stdout, stderr }: Driver): Promise<string> {
  const { value } = await stdout.getReader().read();
  if (value === undefined) throw new Error(await new Response(stderr).text());
  return new TextDecoder().decode(value);
}
const cleanup = () => host.run(process.execPath, DRIVER, folder, "--cleanup");

spaceTest(
  "a stop leaves links, addresses, routes, rules and settings as they were",
  async () => {
    const before = await dump();
    const drivers = NETWORKS.map(start);
    await Promise.all(drivers.map(firstLine));
    const during = await dump();
    for (const part of ["link", "addr", "route", "route6", "rules", "settings"])
      expect(during[part]).not.toEqual(before[part]);
    expect(during["rules"]).toContain("table inet theirs");
    expect((await host.run("ping", "-c1", "-W2", "203.0.113.1")).code).toBe(0);
    expect((await host.run("ip", "route", "get", "8.8.8.8")).stdout).toContain("dev lm-bridged-");
    for (const driver of drivers) driver.kill("SIGTERM");
    expect(await Promise.all(drivers.map(({ exited }) => exited))).toEqual([0, 0, 0, 0]);
    expect(await dump()).toEqual(before);
  },
  60_000,
);

spaceTest(
  "kill -9 at any moment, then --cleanup or the next start and a stop: all as it was",
  async () => {
    const before = await dump();
    const random = mulberry(5);
    for (let round = 0; round < 36; round++) {
      const drivers = NETWORKS.map(start);
      if (round % 3 === 2) {
        // while they stop
        await Promise.all(drivers.map(firstLine));
        for (const driver of drivers) driver.kill("SIGTERM");
        await Bun.sleep(random() * 150);
      } else await Bun.sleep(100 + random() * 900);
      for (const driver of drivers) driver.kill("SIGKILL");
      await Promise.all(drivers.map(({ exited }) => exited));
      // the machine is never without its address
      expect((await host.run("ping", "-c1", "-W5", "203.0.113.1")).code).toBe(0);
      if (round % 2 === 0) await cleanup();
      else {
        const next = start(NETWORKS[round % 4]!);
        await firstLine(next);
        next.kill("SIGTERM");
        expect(await next.exited).toBe(0);
      }
      expect(await dump()).toEqual(before);
    }
  },
  300_000,
);

spaceTest(
  "what stays alive is left alone by the cleanup of others",
  async () => {
    const before = await dump();
    const [lives, dies] = [start(NETWORKS[0]), start(NETWORKS[1])];
    await Promise.all([lives, dies].map(firstLine));
    dies.kill("SIGKILL");
    await dies.exited;
    expect((await cleanup()).stdout).toBe("1\n");
    const { stdout } = await host.run("nft", "list", "tables");
    expect(stdout).toContain("limanet_shared");
    expect(stdout).not.toContain("limanet_second");
    expect((await host.run("sysctl", "-n", "net.ipv4.ip_forward")).stdout).toBe("1\n");
    lives.kill("SIGTERM");
    await lives.exited;
    expect(await dump()).toEqual(before);
  },
  60_000,
);

spaceTest(
  "forwarding stays on for a bridge of somebody else's that has come meanwhile",
  async () => {
    const before = await dump();
    const driver = start(NETWORKS[0]);
    await firstLine(driver);
    await host.ip("link", "add", "docker0", "type", "bridge");
    await host.ip("addr", "add", "172.17.0.1/16", "dev", "docker0");
    driver.kill("SIGTERM");
    expect(await driver.exited).toBe(0);
    expect(await new Response(driver.stderr).text()).toContain(
      "the host goes on forwarding IPv4: docker0 has come meanwhile",
    );
    expect((await host.run("sysctl", "-n", "net.ipv4.ip_forward")).stdout).toBe("1\n");
    await host.ip("link", "del", "docker0");
    await host.set("net.ipv4.ip_forward", "0");
    await host.set("net.ipv4.conf.all.accept_redirects", "1");
    expect(await dump()).toEqual(before);
  },
  60_000,
);

const REFUSED: [why: string, network: string[], sentence: RegExp][] = [
  [
    "the subnet is the host's",
    ["shared", "/x/a", "203.0.113.1"],
    /203\.0\.113\.0\/24: the interface up0 has addresses of it/,
  ],
  [
    "a route leads to the subnet",
    ["host", "/x/a", "198.51.100.129"],
    /a route by up0|the interface up0/,
  ],
  ["no such interface", ["bridged", "/x/a", "eth9"], /eth9: the host has none of that name/],
  ["not Ethernet", ["bridged", "/x/a", "lo"], /lo: it carries no Ethernet/],
  ["an interface in a file's clothes", ["bridged", "/x/a", "../up0"], /none of that name/],
];
spaceTest.each(REFUSED)("refused, and nothing changed: %s", async (_why, network, sentence) => {
  const before = await dump();
  const { code, stderr } = await host.run(process.execPath, DRIVER, folder, ...network);
  expect(stderr).toMatch(sentence);
  expect(code).toBe(1);
  expect(await dump()).toEqual(before);
});

spaceTest("a port of another bridge is refused; a bridge itself is used as it is", async () => {
  await host.ip("link", "add", "theirs0", "type", "bridge");
  await host.ip(
    "link",
    "add",
    "port0",
    "master",
    "theirs0",
    "type",
    "veth",
    "peer",
    "name",
    "port1",
  );
  const before = await dump();
  const refused = await host.run(process.execPath, DRIVER, folder, "bridged", "/x/b", "port0");
  expect(refused.stderr).toContain("port0: it is a port of theirs0 already");
  const used = start(["bridged", "/x/b", "theirs0"]);
  expect(JSON.parse(await firstLine(used))).toMatchObject({ bridge: "theirs0", mtu: 1500 });
  expect(await dump()).toEqual(before);
  used.kill("SIGTERM");
  expect(await used.exited).toBe(0);
  expect(await dump()).toEqual(before);
  await host.ip("link", "del", "theirs0");
  await host.ip("link", "del", "port0");
});
