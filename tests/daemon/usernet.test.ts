import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { userV2Plan } from "../../lib/daemon/usernet.ts";
import { tryLockPidFile } from "../../lib/host/lock.ts";
import { isServed, requestUnixHttp } from "../../lib/host/unix-http.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const LIMIT = 20_000;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-usernet-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string) => join(folder, name);
const usernet = (...args: string[]) =>
  Bun.spawn([process.execPath, MAIN, "usernet", ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });

test("userV2Plan() makes the second address router, DNS server and the way to the host", () => {
  expect(userV2Plan("10.9.8.64/26", 9000, undefined)).toMatchObject({
    gateway: "10.9.8.66",
    dns: "10.9.8.66",
    hostAliases: ["10.9.8.66"],
    mtu: 9000,
    staticLeases: [],
  });
});

test("userV2Plan() leaves out leases of other subnets and of the gateway's address", () => {
  const leases =
    "192.168.104.7=52:55:55:00:00:01,10.0.0.7=52:55:55:00:00:02,192.168.104.2=52:55:55:00:00:03";
  expect(userV2Plan("192.168.104.0/24", 1500, leases).staticLeases).toEqual([
    { ip: "192.168.104.7", mac: "52:55:55:00:00:01" },
  ]);
});

test.each([
  ["10.0.0.0/30", 1500, undefined, "subnet"],
  ["10.0.0.0", 1500, undefined, "subnet"],
  ["10.0.0.0/24", 575, undefined, "MTU"],
  ["10.0.0.0/24", 65521, undefined, "MTU"],
  ["10.0.0.0/24", 1500, "10.0.0.7", "IP=MAC"],
  ["10.0.0.0/24", 1500, "10.0.0.7=nonsense", "IP=MAC"],
])("userV2Plan(%s, %d, %s) is refused with a word about %s", (subnet, mtu, leases, word) => {
  expect(() => userV2Plan(subnet, mtu, leases)).toThrow(word);
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "usernet ends on %s with exit code 0 and removes its pid file and its sockets",
  async (signal) => {
    const daemon = usernet(
      "-p",
      at("n.pid"),
      "-e",
      at("n_ep.sock"),
      "--listen-qemu",
      at("n_qemu.sock"),
    );
    try {
      while (!(existsSync(at("n_ep.sock")) && (await isServed(at("n_ep.sock")))))
        await Bun.sleep(10);
      expect(readFileSync(at("n.pid"), "utf8")).toBe(`${daemon.pid}\n`);
      const stats = await requestUnixHttp(at("n_ep.sock"), "GET", "/stats");
      expect(stats.status).toBe(200);
      daemon.kill(signal);
      expect(await daemon.exited).toBe(0);
      expect(readdirSync(folder)).toEqual([]);
    } finally {
      daemon.kill("SIGKILL");
    }
  },
  LIMIT,
);

test(
  "usernet refuses a pid file that a running process holds, and does not touch its sockets",
  async () => {
    const lock = tryLockPidFile(join(folder, "n.pid"));
    const daemon = usernet("-p", join(folder, "n.pid"), "-e", join(folder, "ep.sock"));
    expect(await daemon.exited).toBe(1);
    expect(await new Response(daemon.stderr).text()).toContain(
      "already exists and its process runs",
    );
    expect(readdirSync(folder)).toEqual(["n.pid"]);
    lock?.release();
  },
  LIMIT,
);

test("usernet called with a socket in a folder that is not there tells which, and what to do", async () => {
  const daemon = usernet("-e", at("none/ep.sock"));
  expect(await daemon.exited).toBe(2);
  expect(await new Response(daemon.stderr).text()).toBe(
    `limanet: Cannot make ${at("none/ep.sock")}: there is no folder ${at("none")} (make it, or name another)\n`,
  );
});

test.each([
  ["no socket at all", []],
  ["a subnet that is none", ["--endpoint=ep.sock", "--subnet=10.0.0.0/33"]],
  ["an MTU that is none", ["--endpoint=ep.sock", "--mtu=big"]],
])(
  "usernet called with %s tells so, ends with exit code 2 and leaves no file",
  async (_name, args) => {
    const daemon = usernet("-p", join(folder, "n.pid"), ...args);
    expect(await daemon.exited).toBe(2);
    expect(await new Response(daemon.stderr).text()).toMatch(/^(limanet|error): /);
    expect(readdirSync(folder)).toEqual([]);
  },
  LIMIT,
);
