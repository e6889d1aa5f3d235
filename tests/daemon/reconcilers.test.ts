/**
 * Many at once start and stop one network, and are killed -9 as it happens, as is its daemon: there is one daemon at most,
 * and in the end none. LIMANET_KILL_SEED repeats a run, LIMANET_RECONCILER_ROUNDS makes it longer.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networkPaths } from "../../lib/config/paths.ts";
import { startNetwork, stopNetwork } from "../../lib/daemon/reconcile.ts";
import { lockHolder } from "../../lib/host/lock.ts";
import { isServed } from "../../lib/host/unix-http.ts";
import { mulberry } from "../support/mulberry.ts";

const LIMIT = 60_000;
const ROUNDS = Number(process.env["LIMANET_RECONCILER_ROUNDS"] ?? 4);
const SEED = Number(process.env["LIMANET_KILL_SEED"] ?? Date.now() % 1_000_000);
const RECONCILERS = 8;
const NETWORKS = {
  paths: { socketVMNet: "", varRun: "", sudoers: "" },
  group: "",
  networks: {
    n: { mode: "user-v2" as const, gateway: "192.168.104.1", netmask: "255.255.255.0" },
  },
};

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "limanet-reconcilers-"));
});
afterAll(() => {
  for (const pid of daemons()) process.kill(pid, "SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

const SCRIPT = `
  const { startNetwork, stopNetwork } = await import(${JSON.stringify(new URL("../../lib/daemon/reconcile.ts", import.meta.url).pathname)});
  const [home, ...steps] = process.argv.slice(1);
  for (const step of steps) {
    try {
      if (step === "start") await startNetwork(home, "n", ${JSON.stringify(NETWORKS)});
      else await stopNetwork(home, "n");
    } catch (error) {
      process.stdout.write(step + ": " + error.message + "\\n");
    }
  }`;

/** pids of the network's daemons, whatever pid files say */
function daemons(): number[] {
  return readdirSync("/proc").flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const words = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      const isOurs = words.includes("usernet") && words.some((word) => word.includes(home));
      return isOurs ? [Number(entry)] : [];
    } catch {
      return [];
    }
  });
}

/** One that is about to end has released its lock already, so two may be seen for a moment, but not twice. */
async function severalDaemons(): Promise<number[]> {
  let seen = daemons();
  for (let look = 0; look < 20 && seen.length > 1; look++) {
    await Bun.sleep(50);
    const now = daemons();
    seen = seen.filter((pid) => now.includes(pid));
  }
  return seen.length > 1 ? seen : [];
}

const random = mulberry(SEED);
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;

for (let round = 1; round <= ROUNDS; round++) {
  test(
    `${RECONCILERS} at once, round ${round} (LIMANET_KILL_SEED=${SEED})`,
    async () => {
      const reconcilers = Array.from({ length: RECONCILERS }, () => {
        const steps = Array.from({ length: 5 }, () => pick(["start", "start", "stop"]));
        const command = [process.execPath, "-e", SCRIPT, home, ...steps];
        return Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
      });
      const output = Promise.all(
        reconcilers.flatMap(({ stdout, stderr }) => [
          new Response(stdout).text(),
          new Response(stderr).text(),
        ]),
      );
      for (let kill = 0; kill < RECONCILERS; kill++) {
        await Bun.sleep(random() * 250);
        const alive = reconcilers.filter(
          ({ exitCode, signalCode }) => exitCode === null && signalCode === null,
        );
        const victims = [...(alive.length > 0 ? [pick(alive).pid] : []), ...daemons()];
        if (victims.length > 0) {
          try {
            process.kill(pick(victims), "SIGKILL");
          } catch {
            // it was quicker
          }
        }
        expect(await severalDaemons()).toEqual([]);
      }
      await Promise.all(reconcilers.map(({ exited }) => exited));
      // a daemon that was killed while it started is the only reason for which a start may fail
      for (const line of (await output).join("").split("\n"))
        expect(line).toMatch(
          /^$|^start: Cannot start the network n: its daemon ended with SIGKILL/,
        );

      await startNetwork(home, "n", NETWORKS);
      expect(daemons()).toEqual([lockHolder(networkPaths(home, "n").pid)]);
      await stopNetwork(home, "n");
      while (daemons().length > 0) await Bun.sleep(10);
      const paths = networkPaths(home, "n");
      expect(await isServed(paths.endpoint)).toBe(false);
      expect(readdirSync(paths.dir).filter((name) => !/\.(log|json)$/.test(name))).toEqual([]);
    },
    LIMIT,
  );
}
