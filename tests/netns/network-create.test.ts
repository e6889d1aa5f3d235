/** `limanet network create` on a machine with interfaces and routes: which subnets it takes and refuses. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canMakeNamespaces, Space } from "../support/lab.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

describe.skipIf(!canMakeNamespaces)("on a machine of two cards with a VPN", () => {
  const host = new Space(`limanet-create-${process.pid}`);
  const home = mkdtempSync(join(tmpdir(), "limanet-create-"));
  beforeAll(async () => {
    await host.open({});
    await host.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1");
    for (const card of ["up0", "up1"]) await host.ip("link", "set", card, "up");
    await host.ip("addr", "add", "192.168.107.5/24", "dev", "up0");
    await host.ip("addr", "add", "10.64.0.1/10", "dev", "up1");
    await host.ip("route", "add", "default", "via", "192.168.107.1");
    await host.ip("route", "add", "192.168.108.0/22", "via", "192.168.107.1");
    await host.ip("route", "add", "blackhole", "10.9.9.0/24");
    // what OpenVPN adds to come before the default route
    for (const half of ["0.0.0.0/1", "128.0.0.0/1"])
      await host.ip("route", "add", half, "dev", "up1");
  });
  afterAll(async () => {
    await host.close();
    rmSync(home, { recursive: true, force: true });
  });

  const network = (...words: string[]) =>
    host.run("env", `LIMANET_HOME=${home}`, process.execPath, MAIN, "network", ...words);
  const gatewayOf = async (name: string) => {
    const { stdout } = await network("list", "--json", name);
    return (JSON.parse(stdout) as { gateway: string }).gateway;
  };

  test.each([
    ["192.168.107.1", "192.168.107.0/24 overlaps with the interface up0"],
    ["192.168.109.1", "192.168.109.0/24 overlaps with a route by up0"],
    ["10.70.0.1/16", "10.70.0.0/16 overlaps with the interface up1"],
    ["10.9.0.1/16", "10.9.0.0/16 overlaps with a route that leads nowhere"],
  ])("a network with the gateway %s is refused: %s", async (gateway, why) => {
    const { code, stderr } = await network("create", "x", "--gateway", gateway);
    expect(stderr).toBe(
      `limanet: Cannot create the network x: ${why} (--gateway auto finds a free one)\n`,
    );
    expect(code).toBe(1);
  });

  test("--gateway auto goes by interfaces, routes and networks, and VPNs take no subnet", async () => {
    expect(await network("create", "first", "--gateway", "auto")).toMatchObject({ code: 0 });
    expect(await gatewayOf("first")).toBe("192.168.112.1");
    await host.ip("route", "add", "192.168.0.0/16", "dev", "up1");
    expect(await network("create", "second", "--gateway", "auto")).toMatchObject({ code: 0 });
    expect(await gatewayOf("second")).toBe("172.16.104.1");
  });
});
