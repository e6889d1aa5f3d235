/** What the daemon of a network with a subnet of its own serves besides: leases that outlive it, and DNS (issue 5). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { canMakeNamespaces, type Guest, type Space } from "../support/lab.ts";
import { FAR, OUTSIDE, SHARED, VMNET_GATEWAY, VmnetLab } from "../support/vmnet-lab.ts";

const dig = async (from: Space, ...words: string[]) =>
  (
    await from.run("dig", `@${VMNET_GATEWAY}`, "+short", "+tries=1", "+time=2", ...words)
  ).stdout.trim();

describe.skipIf(!canMakeNamespaces)("leases", () => {
  let lab: VmnetLab;
  beforeEach(async () => {
    lab = await VmnetLab.open();
    await lab.start(...SHARED);
  });
  afterEach(() => lab.close());

  test.each(["SIGTERM", "SIGKILL"] as const)(
    "a guest has its address again after the daemon's %s and next start, with no step between",
    async (signal) => {
      const [first, second] = ["52:55:55:00:02:01", "52:55:55:00:02:02"];
      const addressOf = async (mac: string) => (await (await lab.guest({ mac })).dhcp())["ip"];
      const [one, two] = [await addressOf(first), await addressOf(second)];
      expect([one, two]).toEqual(["192.168.105.2", "192.168.105.3"]);
      await lab.stop(signal);
      await lab.start(...SHARED);
      // in the other order
      expect(await addressOf(second)).toBe(two);
      expect(await addressOf("52:55:55:00:02:03")).toBe("192.168.105.4");
      expect(await addressOf(first)).toBe(one);
    },
  );

  test("the gateway's hardware address is the same after a restart, as guests remember it", async () => {
    const guest = await lab.guest();
    const neighbour = async () => {
      await guest.run("ping", "-n", "-c1", "-W2", VMNET_GATEWAY);
      return (await guest.run("ip", "neigh", "show", VMNET_GATEWAY)).stdout.split(" ")[4];
    };
    await guest.dhcp();
    const before = await neighbour();
    await lab.stop("SIGKILL");
    await lab.start(...SHARED);
    const next = await lab.guest();
    await next.dhcp();
    const links = (await lab.host.run("ip", "-br", "link", "show", "type", "bridge")).stdout;
    expect(before).toMatch(/^5a:94:/);
    expect(links).toContain(before!);
  });

  test("a guest renews its lease by unicast", async () => {
    const guest = await lab.guest();
    const client = guest.udhcpc();
    const output = client.stdout.getReader();
    const isBound = async () => {
      for (let text = ""; !/^dhcp: ip=192\.168\.105\.2$/m.test(text);)
        text += new TextDecoder().decode((await output.read()).value);
    };
    await isBound();
    process.kill(client.pid, "SIGUSR1");
    await isBound();
    client.kill("SIGTERM");
    expect(await new Response(client.stderr).text()).toContain("sending renew");
  });
});

describe.skipIf(!canMakeNamespaces)("DNS at the gateway", () => {
  let lab: VmnetLab;
  let outside: Space;
  let a: Guest;
  let b: Guest;
  beforeAll(async () => {
    lab = await VmnetLab.open();
    outside = await lab.openOutside();
    await lab.start(...SHARED);
    [a, b] = [await lab.guest(), await lab.guest()];
    expect((await a.dhcp("-x", "hostname:lima-alpha"))["dns"]).toBe(VMNET_GATEWAY);
    await b.dhcp("-x", "hostname:lima-beta");
  });
  afterAll(() => lab.close());

  test.each([
    ["the host", ["host.lima.internal"], VMNET_GATEWAY],
    ["another guest", ["lima-beta.internal"], "192.168.105.3"],
    ["itself", ["lima-alpha.internal"], "192.168.105.2"],
    ["by TCP", ["+tcp", "lima-beta.internal"], "192.168.105.3"],
    ["an address", ["-x", "192.168.105.3"], "lima-beta.internal."],
    ["what the host knows", ["only-in-hosts.example.test"], "203.0.113.7"],
  ])("a guest asks for %s", async (_what, words, answer) => {
    expect(await dig(a, ...words)).toBe(answer);
  });

  test("the host itself may ask, the outside may not", async () => {
    expect(await dig(lab.host, "lima-beta.internal")).toBe("192.168.105.3");
    expect(await dig(outside, "lima-beta.internal")).toContain("no servers could be reached");
    expect((await outside.run("ping", "-n", "-c1", "-W1", OUTSIDE)).code).toBe(0);
  });

  test("where the port is taken the network is there without DNS of its own, and that is said", async () => {
    await lab.stop();
    const other = await lab.host.serve(
      ...(["udp", 53, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--pid-file="] as const),
      `--address=/theirs.test/${FAR}`,
    );
    await lab.start(...SHARED);
    expect(lab.log).toContain(`Cannot serve DNS on ${VMNET_GATEWAY}`);
    const guest = await lab.guest();
    await guest.dhcp();
    expect(await dig(guest, "theirs.test")).toBe(FAR);
    other.kill("SIGTERM");
  });
});
