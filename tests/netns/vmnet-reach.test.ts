/** Who reaches whom on networks of each mode, and who must not, with real clients (issue 5). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { canMakeNamespaces, Space, type Guest } from "../support/lab.ts";
import {
  FAR,
  HOST_OUTSIDE,
  OUTSIDE,
  SHARED,
  UPLINK,
  VMNET_GATEWAY,
  VmnetLab,
} from "../support/vmnet-lab.ts";

const HOST_GATEWAY = "192.168.106.1";
const SECOND_GATEWAY = "192.168.107.1";

const pings = async (from: Space, to: string): Promise<boolean> =>
  (await from.run("ping", "-n", "-c", "1", "-W", "1", to)).code === 0;

/** tells each client its address as the server sees it */
const MIRROR = `import http.server as h, socketserver
class Mirror(h.BaseHTTPRequestHandler):
  def do_GET(s): s.send_response(200); s.end_headers(); s.wfile.write(s.client_address[0].encode())
socketserver.TCPServer(("", 8080), Mirror).serve_forever()`;
const asSeenBy = async (from: Space, server: string) =>
  (await from.run("curl", "-sS", "--max-time", "3", `http://${server}:8080/`)).stdout;

/** one packet in a line */
const TCPDUMP = ["tcpdump", "-l", "-n", "-p", "-c", "1", "-i"];
const PING_ID = "16962";

/** megabits a second of a second's TCP, both ends checked by iperf3 itself */
async function megabits(from: Space, to: Space, address: string, ...more: string[]) {
  await to.serve("tcp", 5201, "iperf3", "-s", "-1");
  const { stdout } = await from.run("iperf3", "-J", "-t", "1", "-c", address, ...more);
  const { end } = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 1e6;
}

describe.skipIf(!canMakeNamespaces)("two shared networks and one of mode host", () => {
  let labs: VmnetLab[];
  /** by the names of the table below */
  const spaces: Record<string, Space> = {};
  const addresses: Record<string, string> = {
    gateway: VMNET_GATEWAY,
    "host's gateway": HOST_GATEWAY,
    "second's gateway": SECOND_GATEWAY,
    "host's outer address": HOST_OUTSIDE,
    outside: OUTSIDE,
    far: FAR,
  };

  beforeAll(async () => {
    const shared = await VmnetLab.open("shared");
    spaces["outside"] = await shared.openOutside();
    const closed = await VmnetLab.open("host", shared);
    const second = await VmnetLab.open("second", shared);
    labs = [shared, closed, second];
    await shared.start(...SHARED);
    await closed.start("--vmnet-mode=host", `--vmnet-gateway=${HOST_GATEWAY}`);
    await second.start("--vmnet-mode=shared", `--vmnet-gateway=${SECOND_GATEWAY}`);
    spaces["host"] = shared.host;
    const guests: [string, VmnetLab, string][] = [
      ["a", shared, "stream"],
      ["b", shared, "dgram"],
      ["c", shared, "stream"],
      ["host-a", closed, "stream"],
      ["host-b", closed, "stream"],
      ["second-a", second, "stream"],
    ];
    for (const [name, lab, mode] of guests) {
      const guest = await lab.guest({ mode: mode as "stream" | "dgram" });
      addresses[name] = (await guest.dhcp())["ip"]!;
      spaces[name] = guest;
    }
    // their owners set it in vain
    for (const name of ["host-a", "host-b"])
      await spaces[name]!.ip("route", "replace", "default", "via", HOST_GATEWAY);
  });
  afterAll(async () => {
    for (const lab of labs.toReversed()) await lab.close();
  });

  test.each<[from: string, reaches: string[], reachesNot: string[]]>([
    [
      "a",
      ["gateway", "host's outer address", "outside", "far", "b", "c"],
      ["host's gateway", "second's gateway", "host-a", "second-a"],
    ],
    ["b", ["gateway", "outside", "a", "c"], ["host-a"]],
    ["c", ["gateway", "far", "a", "b"], ["second-a"]],
    [
      "host-a",
      ["host's gateway", "host-b"],
      ["host's outer address", "outside", "far", "gateway", "a", "second's gateway", "second-a"],
    ],
    ["host-b", ["host's gateway", "host-a"], ["outside", "b"]],
    ["second-a", ["second's gateway", "outside"], ["gateway", "a", "host's gateway", "host-a"]],
    [
      "host",
      [
        "a",
        "b",
        "c",
        "host-a",
        "host-b",
        "second-a",
        "gateway",
        "host's gateway",
        "outside",
        "far",
      ],
      [],
    ],
    [
      "outside",
      ["host's outer address"],
      ["a", "b", "host-a", "second-a", "gateway", "host's gateway", "second's gateway"],
    ],
  ])("%s reaches %p and not %p", async (from, reaches, reachesNot) => {
    const outcome = async (names: string[]) =>
      (
        await Promise.all(
          names.map(async (name) => ((await pings(spaces[from]!, addresses[name]!)) ? [name] : [])),
        )
      ).flat();
    expect(await outcome(reaches)).toEqual(reaches);
    expect(await outcome(reachesNot)).toEqual([]);
  });

  test("the outside sees a guest of a shared network as the host, the host sees it as it is", async () => {
    await spaces["outside"]!.serve("tcp", 8080, "python3", "-c", MIRROR);
    await spaces["host"]!.serve("tcp", 8080, "python3", "-c", MIRROR);
    expect(await asSeenBy(spaces["a"]!, FAR)).toBe(HOST_OUTSIDE);
    expect(await asSeenBy(spaces["a"]!, VMNET_GATEWAY)).toBe(addresses["a"]!);
    expect(await asSeenBy(spaces["host-a"]!, HOST_GATEWAY)).toBe(addresses["host-a"]!);
    expect(await asSeenBy(spaces["host-a"]!, FAR)).toBe("");
    expect(await asSeenBy(spaces["outside"]!, VMNET_GATEWAY)).toBe("");
  });

  test.each([
    ["a", VMNET_GATEWAY],
    ["host-a", HOST_GATEWAY],
    ["second-a", SECOND_GATEWAY],
  ])("%s is told by its gateway's DNS who the host is: %s", async (from, gateway) => {
    const asked = [`@${gateway}`, "+short", "+tries=1", "host.lima.internal"];
    expect((await spaces[from]!.run("dig", ...asked)).stdout).toBe(`${gateway}\n`);
  });

  test.each([
    ["to the outside", "a", "outside", FAR, []],
    ["from the outside", "a", "outside", FAR, ["-R"]],
    ["to the host", "a", "host", VMNET_GATEWAY, []],
    ["from the host", "a", "host", VMNET_GATEWAY, ["-R"]],
    ["to another guest", "a", "b", "", []],
  ])("TCP runs %s", async (_what, from, to, address, more) => {
    const at = address === "" ? addresses[to]! : address;
    expect(await megabits(spaces[from]!, spaces[to]!, at, ...more)).toBeGreaterThan(1);
  });

  test("what a guest sends from an address that it cannot have is seen nowhere", async () => {
    const { a: guest, outside, host } = spaces as Record<string, Space>;
    const listeners = await Promise.all(
      [[outside!, "in0"] as const, [host!, UPLINK] as const].map(async ([space, device]) => {
        const child = space.spawn(...TCPDUMP, device, `icmp and icmp[4:2] = ${PING_ID}`);
        // not to be ended before tcpdump: it would end, too
        const said = child.stderr.getReader();
        for (let text = ""; !text.includes("listening");)
          text += new TextDecoder().decode((await said.read()).value);
        return child;
      }),
    );
    for (const source of [OUTSIDE, "192.168.106.2", "192.0.2.1"]) {
      await guest!.ip("addr", "add", `${source}/32`, "dev", "tap0");
      for (const to of [FAR, HOST_OUTSIDE, VMNET_GATEWAY])
        await guest!.run("ping", "-n", "-c1", "-W", "0.2", "-e", PING_ID, "-I", source, to);
      await guest!.ip("addr", "del", `${source}/32`, "dev", "tap0");
    }
    // an honest one afterwards is the first that is seen
    await guest!.run("ping", "-n", "-c1", "-W1", "-e", PING_ID, FAR);
    for (const listener of listeners)
      expect(await new Response(listener.stdout).text()).toContain(`IP ${HOST_OUTSIDE} > ${FAR}`);
  });
});

describe.skipIf(!canMakeNamespaces)("a bridged network", () => {
  let lab: VmnetLab;
  let outside: Space;
  let a: Guest;
  let b: Guest;
  let address: string;
  let other: string;
  beforeAll(async () => {
    lab = await VmnetLab.open("bridged");
    outside = await lab.openOutside();
    await outside.serve(
      "udp",
      67,
      ...["dnsmasq", "--keep-in-foreground", "--port=0", "--interface=in0", "--leasefile-ro"],
      ...["--dhcp-range=203.0.113.100,203.0.113.110", `--dhcp-option=3,${OUTSIDE}`, "--pid-file="],
    );
    await lab.start("--vmnet-mode=bridged", `--vmnet-interface=${UPLINK}`);
    [a, b] = [await lab.guest(), await lab.guest({ mode: "dgram" })];
    address = (await a.dhcp())["ip"]!;
    other = (await b.dhcp())["ip"]!;
  });
  afterAll(() => lab.close());

  test("guests have addresses of the local network, and all reach all", async () => {
    expect(address).toMatch(/^203\.0\.113\.1\d\d$/);
    const rows: [Space, string][] = [
      [a, OUTSIDE],
      [a, FAR],
      [a, HOST_OUTSIDE],
      [a, other],
      [b, address],
      [lab.host, address],
      [lab.host, FAR],
      [outside, address],
      [outside, other],
      [outside, HOST_OUTSIDE],
    ];
    for (const [from, to] of rows)
      expect([from.name, to, await pings(from, to)]).toEqual([from.name, to, true]);
  });

  test("the outside sees a guest as it is, and TCP runs both ways", async () => {
    await outside.serve("tcp", 8080, "python3", "-c", MIRROR);
    expect(await asSeenBy(a, FAR)).toBe(address);
    expect(await megabits(outside, a, address)).toBeGreaterThan(1);
    expect(await megabits(outside, a, address, "-R")).toBeGreaterThan(1);
  });

  test("the host is without its address at no moment of the stop, and guests are gone after it", async () => {
    const watch = lab.host.spawn("ping", "-n", "-i", "0.02", "-c", "100", "-W", "1", OUTSIDE);
    await Bun.sleep(200);
    expect(await lab.stop()).toBe(0);
    expect(await new Response(watch.stdout).text()).toContain(
      "100 packets transmitted, 100 received",
    );
    expect(await pings(outside, address)).toBe(false);
    expect(await pings(outside, HOST_OUTSIDE)).toBe(true);
  });
});
