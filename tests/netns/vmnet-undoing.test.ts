/** A vmnet network leaves the host as it found it: after a stop, and after being killed at any moment (issue 5). */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { canMakeNamespaces, Space } from "../support/lab.ts";
import { mulberry } from "../support/mulberry.ts";
import { VmnetLab } from "../support/vmnet-lab.ts";

const outside = new Space(`vmo${process.pid}`);
const spaceTest = test.skipIf(!canMakeNamespaces);
/** networks of one host */
let labs: VmnetLab[];
let host: Space;

beforeAll(async () => {
  if (!canMakeNamespaces) return;
  await outside.open({});
  const first = await VmnetLab.open("shared");
  host = first.host;
  labs = [first];
  for (const name of ["second", "host", "bridged"]) labs.push(await VmnetLab.open(name, first));
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
  for (const lab of labs.toReversed()) await lab.close();
  await outside.close();
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

/** options of the networks above, in their order */
const NETWORKS = [
  ["--vmnet-mode=shared", "--vmnet-gateway=192.168.105.1"],
  ["--vmnet-mode=shared", "--vmnet-gateway=192.168.107.1"],
  ["--vmnet-mode=host", "--vmnet-gateway=192.168.106.1"],
  ["--vmnet-mode=bridged", "--vmnet-interface=up0"],
];

const spawn = () => labs.map((lab, index) => lab.spawn(...NETWORKS[index]!));
const start = (index: number) => labs[index]!.start(...NETWORKS[index]!);
async function cleanup(): Promise<string> {
  const { stderr, exited } = labs[0]!.limanet(["vmnet", "--cleanup"]);
  const said = await new Response(stderr).text();
  expect(await exited).toBe(0);
  return said;
}

spaceTest(
  "a stop leaves links, addresses, routes, rules and settings as they were",
  async () => {
    const before = await dump();
    const daemons = spawn();
    await Promise.all(daemons.map((daemon, index) => labs[index]!.isUp(daemon)));
    const during = await dump();
    for (const part of ["link", "addr", "route", "route6", "rules", "settings"])
      expect(during[part]).not.toEqual(before[part]);
    expect(during["rules"]).toContain("table inet theirs");
    expect((await host.run("ping", "-c1", "-W2", "203.0.113.1")).code).toBe(0);
    expect((await host.run("ip", "route", "get", "8.8.8.8")).stdout).toContain("dev lm-bridged-");
    expect(await Promise.all(labs.map((lab) => lab.stop()))).toEqual([0, 0, 0, 0]);
    expect(await dump()).toEqual(before);
  },
  60_000,
);

spaceTest(
  "kill -9 at any moment, then --cleanup or the next start and a stop: all as it was",
  async () => {
    const before = await dump();
    const random = mulberry(5);
    for (let round = 0; round < 20; round++) {
      const daemons = spawn();
      if (round % 3 === 2) {
        // while they stop
        await Promise.all(daemons.map((daemon, index) => labs[index]!.isUp(daemon)));
        for (const daemon of daemons) daemon.kill("SIGTERM");
        await Bun.sleep(random() * 250);
      } else await Bun.sleep(100 + random() * 1200);
      for (const daemon of daemons) daemon.kill("SIGKILL");
      await Promise.all(daemons.map(({ exited }) => exited));
      // the machine is never without its address
      expect((await host.run("ping", "-c1", "-W5", "203.0.113.1")).code).toBe(0);
      if (round % 2 === 0) await cleanup();
      else {
        await start(round % 4);
        expect(await labs[round % 4]!.stop()).toBe(0);
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
    await start(0);
    await start(1);
    await labs[1]!.stop("SIGKILL");
    const said = await cleanup();
    expect(said).toMatch(/undoing what was left of lm-second-/);
    expect(said).toContain("cleaned up networks=1");
    const { stdout } = await host.run("nft", "list", "tables");
    expect(stdout).toContain("limanet_shared");
    expect(stdout).not.toContain("limanet_second");
    expect((await host.run("sysctl", "-n", "net.ipv4.ip_forward")).stdout).toBe("1\n");
    expect(await labs[0]!.stop()).toBe(0);
    expect(await dump()).toEqual(before);
  },
  60_000,
);

spaceTest(
  "forwarding stays on for a bridge of somebody else's that has come meanwhile",
  async () => {
    const before = await dump();
    await start(0);
    await host.ip("link", "add", "docker0", "type", "bridge");
    await host.ip("addr", "add", "172.17.0.1/16", "dev", "docker0");
    expect(await labs[0]!.stop()).toBe(0);
    expect(labs[0]!.log).toContain("the host goes on forwarding IPv4: docker0 has come meanwhile");
    expect((await host.run("sysctl", "-n", "net.ipv4.ip_forward")).stdout).toBe("1\n");
    await host.ip("link", "del", "docker0");
    await host.set("net.ipv4.ip_forward", "0");
    await host.set("net.ipv4.conf.all.accept_redirects", "1");
    expect(await dump()).toEqual(before);
  },
  60_000,
);

const bridgedTo = (name: string) => ["--vmnet-mode=bridged", `--vmnet-interface=${name}`];
const REFUSED: [why: string, options: string[], sentence: RegExp][] = [
  [
    "the subnet is the host's",
    ["--vmnet-gateway=203.0.113.1"],
    /203\.0\.113\.0\/24: the interface up0 has addresses of it/,
  ],
  [
    "a route leads to the subnet",
    ["--vmnet-mode=host", "--vmnet-gateway=198.51.100.129"],
    /a route by up0|the interface up0/,
  ],
  ["no such interface", bridgedTo("eth9"), /eth9: the host has none of that name/],
  ["not Ethernet", bridgedTo("lo"), /lo: it carries no Ethernet/],
  ["an interface in a file's clothes", bridgedTo("../up0"), /none of that name/],
];
spaceTest.each(REFUSED)("refused, and nothing changed: %s", async (_why, options, sentence) => {
  const before = await dump();
  expect(await labs[0]!.spawn(...options).exited).toBe(1);
  expect(labs[0]!.log).toMatch(sentence);
  expect(await dump()).toEqual(before);
});

spaceTest("a port of another bridge is refused; a bridge itself is used as it is", async () => {
  for (const words of [
    "link add theirs0 type bridge",
    "link add port0 master theirs0 type veth peer name port1",
  ])
    await host.ip(...words.split(" "));
  const before = await dump();
  const lab = labs[3]!;
  expect(await lab.spawn(...bridgedTo("port0")).exited).toBe(1);
  expect(lab.log).toContain("port0: it is a port of theirs0 already");
  await lab.start(...bridgedTo("theirs0"));
  const ports = (await host.run("ip", "-br", "link", "show", "master", "theirs0")).stdout;
  expect(ports).toMatch(/^lt-bridged-/m);
  expect((await host.run("ip", "-br", "addr", "show", "theirs0")).stdout).not.toContain("lm-");
  expect(await lab.stop()).toBe(0);
  expect(await dump()).toEqual(before);
  await host.ip("link", "del", "theirs0");
  await host.ip("link", "del", "port0");
});
