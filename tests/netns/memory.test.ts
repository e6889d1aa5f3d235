/** What a load takes is given back when it is over: connections' rings, and what the engine's thread has allocated. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { canMakeNamespaces, GATEWAY, Lab, NETTOOL } from "../support/lab.ts";

const PORT = 7001;
const CONNECTIONS = 1000;

test.skipIf(!canMakeNamespaces)(
  "1000 connections and many short ones leave little behind",
  async () => {
    await using lab = await Lab.open();
    const residentKiB = () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${lab.pid}/status`, "utf8"))![1]);
    await lab.host.serve("tcp", PORT, NETTOOL, "serve", String(PORT), "127.0.0.1");
    const guest = await lab.guest();
    await guest.dhcp();
    const idle = residentKiB();
    const shortOnes = await guest.run(NETTOOL, "crr", GATEWAY, String(PORT), "2", "64");
    expect(JSON.parse(shortOnes.stdout)).toMatchObject({ errors: 0 });
    const held = guest.run(NETTOOL, "hold", GATEWAY, String(PORT), String(CONNECTIONS), "3");
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, residentKiB())), 100);
    expect(JSON.parse((await held).stdout)).toMatchObject({ held: CONNECTIONS, failed: 0 });
    clearInterval(watch);
    expect(most).toBeGreaterThan(idle);
    while (residentKiB() - idle > (most - idle) / 2) await Bun.sleep(500);
    expect(await guest.run(NETTOOL, "crr", GATEWAY, String(PORT), "1", "8")).toMatchObject({
      stdout: expect.stringContaining('"errors":0'),
    });
  },
  90_000,
);
