/** Ports of SOCKS proxies, on real engines. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_DNS_POLICY } from "../../../lib/daemon/network/host-responder.ts";
import {
  startNetworkService,
  type NetworkService,
} from "../../../lib/daemon/network/network-service.ts";
import { SocksPorts, stableSocksPort } from "../../../lib/daemon/network/socks-ports.ts";
import { userV2Plan } from "../../../lib/daemon/usernet.ts";
import { lineLog } from "../../../lib/trace/log.ts";

test("a network's port depends on where its control API is, and is below those of clients", () => {
  const ports = Array.from({ length: 200 }, (_, i) => stableSocksPort(`/home/me/${i}.sock`));
  expect(Math.min(...ports)).toBeGreaterThanOrEqual(20_000);
  expect(Math.max(...ports)).toBeLessThan(32_768);
  expect(new Set(ports).size).toBeGreaterThan(190);
  expect(stableSocksPort("/home/me/7.sock")).toBe(ports[7]!);
});

describe("SocksPorts", () => {
  let folder: string;
  const services: NetworkService[] = [];
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "limanet-socks-"));
  });
  const network = async (name: string) => {
    const service = await startNetworkService({
      plan: userV2Plan("192.168.104.0/24", 1500, undefined),
      listen: [],
      endpoint: undefined,
      dnsTcpPath: join(folder, `${name}.sock`),
      leaseFile: undefined,
      hosts: {},
      dns: DEFAULT_DNS_POLICY,
      capture: undefined,
      log: lineLog(
        "error",
        "text",
        () => 0,
        () => {},
      ),
    });
    services.push(service);
    return service;
  };
  afterAll(async () => {
    for (const service of services) await service.close();
    rmSync(folder, { recursive: true });
  });

  test("the network's own port is free again after its end, and another is taken while it is not", async () => {
    const endpoint = join(folder, "ep.sock");
    const own = stableSocksPort(endpoint);
    const first = await network("first");
    const ports = new SocksPorts(first.engine, endpoint);
    // asked at the same time, it is opened once
    expect(await Promise.all([ports.open(0), ports.open(0), ports.open(own)])).toEqual([
      own,
      own,
      own,
    ]);
    const second = new SocksPorts((await network("second")).engine, endpoint);
    const other = await second.open(0);
    expect(other).not.toBe(own);
    expect(await second.open(0)).toBe(other);
    // not by expect().rejects, in which Bun waits without taking the engine's messages
    const refusal = await second.open(own).catch((error: Error) => error.message);
    expect(refusal).toContain("the address is in use");
    await first.close();
    expect(await second.open(own)).toBe(own);
  });
});
