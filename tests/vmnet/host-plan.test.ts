import { expect, test } from "bun:test";
import { parseCidr, parseIpv4 } from "../../lib/addr/ipv4.ts";
import { formatMac } from "../../lib/addr/mac.ts";
import {
  bridgedSteps,
  movableAddresses,
  movableRoutes,
  ownSubnetSteps,
  partNames,
  type AddressFacts,
  type Uplink,
} from "../../lib/vmnet/host-plan.ts";

test.each([
  ["/run/limanet/socket_vmnet.shared", /^lm-shared-[0-9a-f]{4}$/],
  ["/run/limanet/socket_vmnet.my-company-net", /^lm-mycompa-[0-9a-f]{4}$/],
  ["/run/limanet/socket_vmnet", /^lm-net-[0-9a-f]{4}$/],
])("the bridge of %s", (path, form) => {
  const { bridge, tap, table } = partNames(path);
  expect(bridge).toMatch(form);
  expect(bridge.length).toBeLessThanOrEqual(15);
  expect(tap.length).toBeLessThanOrEqual(15);
  // nft's names have no hyphen
  expect(table).toMatch(/^limanet_\w+$/);
});

test("two folders with a network of one name have different bridges", () => {
  expect(partNames("/a/socket_vmnet.shared")).not.toEqual(partNames("/b/socket_vmnet.shared"));
});

const NAMES = {
  bridge: "lm-x-0000",
  tap: "lt-x-0000",
  table: "limanet_x_0000",
  mac: 0x5a9400000001,
};
const own = (mode: "shared" | "host", isIsolated = false) =>
  ownSubnetSteps(NAMES, {
    mode,
    isIsolated,
    gateway: parseIpv4("192.168.105.1")!,
    subnet: parseCidr("192.168.105.0/24")!,
  });

test("the rules are there before the bridge, and the bridge refuses IPv6 before it is up", () => {
  for (const mode of ["shared", "host"] as const) {
    const steps = own(mode);
    expect(steps.map(({ doing }) => doing.tool)).toEqual(["nft", "ip", "settings", "ip"]);
    expect(JSON.stringify(steps.slice(0, 3))).not.toContain(" up");
  }
});

test("guests of an isolated network do not reach each other by way of the host", () => {
  const between = 'iifname \\"lm-x-0000\\" oifname \\"lm-x-0000\\"';
  expect(JSON.stringify(own("shared"))).toContain(`${between} accept`);
  expect(JSON.stringify(own("shared", true))).toContain(`${between} drop`);
});

test("host has no masquerade, and is alone in keeping guests from the host's other addresses", () => {
  expect(JSON.stringify(own("host"))).not.toContain("masquerade");
  expect(JSON.stringify(own("host"))).toContain("fib daddr type local");
  expect(JSON.stringify(own("shared"))).not.toContain("fib daddr");
});

test("a network's bridge has the same hardware address each time, a single and local one", () => {
  const { mac } = partNames("/a/socket_vmnet.shared");
  expect(mac).toBe(partNames("/a/socket_vmnet.shared").mac);
  expect(mac).not.toBe(partNames("/b/socket_vmnet.shared").mac);
  expect(formatMac(mac)).toMatch(/^5a:94:/);
});

const address = (facts: Partial<AddressFacts>): AddressFacts => ({
  family: "inet",
  local: "10.0.0.5",
  prefixlen: 24,
  scope: "global",
  valid_life_time: 4294967295,
  ...facts,
});
test.each<[string, Partial<AddressFacts>, string[]]>([
  ["plain", {}, ["10.0.0.5/24"]],
  [
    "broadcast and metric",
    { broadcast: "10.0.0.255", metric: 100 },
    ["10.0.0.5/24 brd 10.0.0.255 metric 100"],
  ],
  ["a peer", { address: "10.0.0.9", prefixlen: 32 }, ["10.0.0.5 peer 10.0.0.9/32"]],
  [
    "IPv4 link-local",
    { local: "169.254.3.4", prefixlen: 16, scope: "link" },
    ["169.254.3.4/16 scope link"],
  ],
  [
    "of a DHCP client",
    { valid_life_time: 300, preferred_life_time: 200, noprefixroute: true },
    ["10.0.0.5/24 valid_lft 300 preferred_lft 200 noprefixroute"],
  ],
  [
    "IPv6 link-local stays",
    { family: "inet6", local: "fe80::1", prefixlen: 64, scope: "link" },
    [],
  ],
  [
    "temporary ones are the kernel's",
    { family: "inet6", local: "2001:db8::9", temporary: true },
    [],
  ],
  [
    "IPv6",
    { family: "inet6", local: "2001:db8::9", prefixlen: 64, nodad: true },
    ["2001:db8::9/64 nodad"],
  ],
])("address: %s", (_what, facts, words) => {
  expect(movableAddresses([address(facts)])).toEqual(words);
});

test.each<[string, string, string[] | "multipath"]>([
  [
    "made with an address",
    "10.0.0.0/24 proto kernel scope link src 10.0.0.5\nlocal 10.0.0.5 table local scope host",
    [],
  ],
  [
    "those without a next hop first",
    "default via 10.0.0.1 proto dhcp metric 100 \n10.9.0.0/16 scope link linkdown \n",
    ["10.9.0.0/16 scope link", "default via 10.0.0.1 proto dhcp metric 100"],
  ],
  [
    "of a router's",
    "default via fe80::1 proto ra metric 1024 expires 1790sec pref medium",
    ["default via fe80::1 proto ra metric 1024 expires 1790 pref medium"],
  ],
  ["several next hops", "default proto static \n\tnexthop via 10.0.0.1 weight 1 \n", "multipath"],
  ["a next hop object", "default nhid 7 via 10.0.0.1 proto static ", "multipath"],
])("routes: %s", (_what, text, routes) => {
  expect(movableRoutes(text)).toEqual(routes);
});

const UPLINK: Uplink = {
  name: "eth0",
  mac: "52:54:00:00:00:01",
  mtu: 1500,
  addresses: ["10.0.0.5/24", "10.0.0.6/24"],
  routes: ["unicast 10.9.0.0/16", "default via 10.0.0.1", "10.8.0.0/16 via inet6 fe80::1"],
  routes6: ["default via fe80::1"],
  settings: { accept_ra: "1" },
};

test("the host moves before anything is taken from its interface, and back before the bridge goes", () => {
  const steps = bridgedSteps(NAMES, UPLINK);
  expect(steps.at(-1)!.doing).toEqual({
    tool: "ip",
    lines: [
      "link set dev lm-x-0000 up",
      "link set dev eth0 master lm-x-0000",
      "addr add 10.0.0.5/24 dev lm-x-0000",
      "addr add 10.0.0.6/24 dev lm-x-0000",
      "route replace unicast 10.9.0.0/16 dev lm-x-0000",
      "route replace 0.0.0.0/0 via 10.0.0.1 dev lm-x-0000",
      "route replace 10.8.0.0/16 via inet6 fe80::1 dev lm-x-0000",
      "route replace ::/0 via fe80::1 dev lm-x-0000",
      "addr del 10.0.0.6/24 dev eth0",
      "addr del 10.0.0.5/24 dev eth0",
    ],
  });
  const undoing = steps[0]!.undoing as { lines: string[] };
  expect(undoing.lines.at(-1)).toBe("link del dev lm-x-0000");
  expect(undoing.lines.slice(0, -1).every((line) => line.includes("dev eth0"))).toBe(true);
});
