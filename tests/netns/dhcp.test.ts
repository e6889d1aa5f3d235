/** Addresses by DHCP, asked for by real clients. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { canMakeNamespaces, GATEWAY, HOSTS, type Lab } from "../support/lab.ts";

describe.skipIf(!canMakeNamespaces).each(HOSTS)("DHCP over %s", (_host, openLab) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab("--mtu", "9000", "--leases", "192.168.104.77=52:55:55:77:77:77");
  });
  afterAll(() => lab.close());

  test("udhcpc is given address, router, name server, MTU and lease time", async () => {
    const guest = await lab.guest({ mtu: 9000 });
    expect(await guest.dhcp()).toMatchObject({
      ip: "192.168.104.1",
      mask: "24",
      router: GATEWAY,
      dns: GATEWAY,
      serverid: GATEWAY,
      mtu: "9000",
      lease: "3600",
    });
    const { stdout } = await guest.run("ip", "-4", "addr", "show", "tap0");
    expect(stdout).toContain("inet 192.168.104.1/24");
    expect(stdout).toContain("mtu 9000");
  });

  test("a guest that comes back gets its address again, and another one gets another", async () => {
    const mac = "52:55:55:01:02:03";
    const guest = await lab.guest({ mac });
    const first = await guest.dhcp();
    const other = await (await lab.guest()).dhcp();
    const again = await guest.dhcp();
    expect(again["ip"]).toBe(first["ip"]!);
    expect(other["ip"]).not.toBe(first["ip"]);
    const leases = JSON.parse((await lab.api("GET", "/leases")).body) as Record<string, string>;
    expect(leases[first["ip"]!]).toBe(mac);
  });

  test("a guest with an address of its own in --leases gets that one", async () => {
    const guest = await lab.guest({ mac: "52:55:55:77:77:77" });
    expect(await guest.dhcp()).toMatchObject({ ip: "192.168.104.77" });
  });

  test("dhclient is given the same, and gives its address back", async () => {
    const guest = await lab.guest({ mac: "52:55:55:0a:0b:0c" });
    const file = (name: string) => join(lab.folder, `dhclient.${name}`);
    writeFileSync(
      file("conf"),
      "request subnet-mask, routers, domain-name-servers, interface-mtu, dhcp-lease-time;\ntimeout 10;\n",
    );
    const dhclient = (...words: string[]) =>
      guest.run(
        ...["dhclient", "-v", "-1", "-cf", file("conf"), "-lf", file("leases"), "-pf", file("pid")],
        ...["-sf", "/bin/true", ...words, "tap0"],
      );
    const { code, stderr } = await dhclient();
    expect(stderr).toMatch(/DHCPACK of 192\.168\.104\.\d+ from 192\.168\.104\.2/);
    expect(code).toBe(0);
    const lease = await Bun.file(file("leases")).text();
    expect(lease).toContain(`option routers ${GATEWAY};`);
    expect(lease).toContain(`option domain-name-servers ${GATEWAY};`);
    expect(lease).toContain("option interface-mtu 9000;");
    expect(lease).toContain("option dhcp-lease-time 3600;");
    const address = /fixed-address ([\d.]+);/.exec(lease)![1]!;
    await guest.ip("addr", "add", `${address}/24`, "dev", "tap0");
    const released = await dhclient("-r");
    expect(released.stderr).toContain("DHCPRELEASE");
    for (;;) {
      const leases = JSON.parse((await lab.api("GET", "/leases")).body) as Record<string, string>;
      if (leases[address] === undefined) break;
      await Bun.sleep(10);
    }
  });
});
