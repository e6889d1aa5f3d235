/** macOS' side of `limanet vmnet` (lib/daemon/vmnet/apple-side.ts) against the fake of Apple's frameworks (native/fake). */
import { afterAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { join, relative } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;
const DAEMON_ON_FAKE = new URL("vmnet/daemon-on-fake.ts", import.meta.url).pathname;
const folder = mkdtempSync("/tmp/limanet-vmnet-daemon-");
afterAll(() => rmSync(folder, { recursive: true }));

async function run(...words: string[]) {
  const child = Bun.spawn(words, { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { stdout, stderr, code: await child.exited };
}

test("the daemon gives vmnet its settings, carries frames both ways, and ends when the interface goes", async () => {
  for (const part of ["lib", "tests/native/vmnet"])
    cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  expect(await run("scripts/build-native", "fake")).toMatchObject({ stderr: "", code: 0 });
  mkdirSync(join(folder, "dist/native"), { recursive: true });
  cpSync(
    join(ROOT, "dist/native/limanet-fake.so"),
    join(folder, `dist/native/limanet-linux-${process.arch}.so`),
  );
  const driver = join(folder, relative(ROOT, DAEMON_ON_FAKE));
  const { stdout, stderr } = await run(process.execPath, driver, join(folder, "socket_vmnet.fake"));
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual({
    retries: process.getuid!() === 0 ? 1 : 0,
    described: {
      operation_mode: "1001",
      start_address: "192.168.105.1",
      end_address: "192.168.105.100",
      subnet_mask: "255.255.255.0",
      interface_id: "4c1f5f6e2b1a4d0c9a430f3f7e0d6a11",
      nat66_prefix: "fd12:3456:789a:bcde::",
    },
    ready: "mode=shared",
    // the guest that played DHCP server was not heard
    outward: `0200000000fe52555500000188b5${"11".repeat(50)}`,
    inward: `000000405255550000010200000000fe88b5${"22".repeat(50)}`,
    end: "Cannot go on with the network: the host's interface has gone: VMNET_INVALID_ACCESS",
    left: [],
  });
}, 60_000);
