import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NetworksConfig } from "../../lib/config/networks.ts";
import { networkPaths, type NetworkPaths } from "../../lib/config/paths.ts";
import { reconcile, startNetwork, stopNetwork, userV2Network } from "../../lib/daemon/reconcile.ts";
import { lockHolder, tryLockPidFile, withLock } from "../../lib/host/lock.ts";
import { isServed, requestUnixHttp } from "../../lib/host/unix-http.ts";

const LIMIT = 30_000;
const warnings: string[] = [];
const warn = (sentence: string) => void warnings.push(sentence);
const GATEWAY_MAC = "5a:94:ef:e4:0c:dd";
const NETWORKS: NetworksConfig = {
  paths: { socketVMNet: "", varRun: "", sudoers: "" },
  group: "",
  networks: {
    "user-v2": { mode: "user-v2", gateway: "192.168.104.1", netmask: "255.255.255.0" },
    small: { mode: "user-v2", gateway: "10.9.8.65", netmask: "255.255.255.192", mtu: 9000 },
    tiny: { mode: "user-v2", gateway: "10.9.8.1", netmask: "255.255.255.252" },
    shared: { mode: "shared", gateway: "192.168.105.1" },
    broken: { mode: "user-v2", gateway: "10.0.0.1", netmask: "255.0.255.0" },
  },
};

let home: string;
let paths: NetworkPaths;

beforeEach(() => {
  warnings.length = 0;
  home = mkdtempSync(join(tmpdir(), "limanet-networks-"));
  paths = networkPaths(home, "user-v2");
});
afterEach(() => {
  for (const name of Object.keys(NETWORKS.networks)) {
    const pid = lockHolder(networkPaths(home, name).pid);
    if (pid !== 0 && pid !== process.pid) process.kill(pid, "SIGKILL");
  }
  rmSync(home, { recursive: true, force: true });
});

const leases = async (): Promise<unknown> => {
  const { status, body } = await requestUnixHttp(paths.endpoint, "GET", "/services/dhcp/leases");
  expect(status).toBe(200);
  return JSON.parse(body);
};

/** Kills a daemon as the kernel would, and waits until it is gone. */
async function kill(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  while (lockHolder(paths.pid) !== 0) await Bun.sleep(5);
}

test.each([
  ["user-v2", { subnet: "192.168.104.0/24" }],
  ["small", { subnet: "10.9.8.64/26", mtu: 9000 }],
])("userV2Network() derives the subnet of %s from gateway and netmask", (name, expected) => {
  expect(userV2Network(NETWORKS, name)).toMatchObject(expected);
});

test.each([
  ["nowhere", "it is not defined"],
  ["shared", "its mode is shared"],
  ["constructor", "it is not defined"],
  ["broken", "do not make a subnet"],
])("userV2Network() says why %s cannot be used", (name, why) => {
  expect(() => userV2Network(NETWORKS, name)).toThrow(why);
});

test(
  "startNetwork() starts one daemon with private sockets, and stopNetwork() ends it and leaves only logs and leases",
  async () => {
    await startNetwork(home, "user-v2", NETWORKS);
    const pid = lockHolder(paths.pid);
    expect(pid).toBeGreaterThan(0);
    expect(readFileSync(paths.pid, "utf8")).toBe(`${pid}\n`);
    for (const socket of [paths.endpoint, paths.qemu, paths.descriptor]) {
      expect(statSync(socket).isSocket()).toBe(true);
      expect(statSync(socket).mode & 0o777).toBe(0o600);
    }
    expect(await leases()).toEqual({ "192.168.104.2": GATEWAY_MAC });

    await startNetwork(home, "user-v2", NETWORKS);
    expect(lockHolder(paths.pid)).toBe(pid);

    await stopNetwork(home, "user-v2");
    expect(lockHolder(paths.pid)).toBe(0);
    expect(JSON.parse(readFileSync(paths.leases, "utf8"))).toEqual({
      "192.168.104.2": GATEWAY_MAC,
    });
    expect(readdirSync(paths.dir).filter((name) => !/\.(log|json)$/.test(name))).toEqual([]);
    await stopNetwork(home, "user-v2");
  },
  LIMIT,
);

test("stopNetwork() does nothing for a network that was never started", async () => {
  await stopNetwork(home, "user-v2");
  expect(existsSync(paths.dir)).toBe(false);
  mkdirSync(join(home, "_networks"));
  await stopNetwork(home, "user-v2");
  expect(existsSync(paths.dir)).toBe(false);
});

test(
  "startNetwork() called by several at once starts one daemon",
  async () => {
    await Promise.all([1, 2, 3].map(() => startNetwork(home, "user-v2", NETWORKS)));
    expect(await leases()).toEqual({ "192.168.104.2": GATEWAY_MAC });
    await stopNetwork(home, "user-v2");
    expect(await isServed(paths.endpoint)).toBe(false);
  },
  LIMIT,
);

test(
  "startNetwork() starts anew over all that a daemon killed with -9 has left",
  async () => {
    await startNetwork(home, "user-v2", NETWORKS);
    const first = lockHolder(paths.pid);
    await kill(first);
    for (const left of [paths.pid, paths.endpoint, paths.qemu]) expect(existsSync(left)).toBe(true);
    await startNetwork(home, "user-v2", NETWORKS);
    const second = lockHolder(paths.pid);
    expect(second).toBeGreaterThan(0);
    expect(second).not.toBe(first);
    expect(await leases()).toEqual({ "192.168.104.2": GATEWAY_MAC });
    await stopNetwork(home, "user-v2");
  },
  LIMIT,
);

test(
  "startNetwork() does not trust a pid file whose number belongs to somebody else, and never signals that process",
  async () => {
    const bystander = Bun.spawn(["sleep", "60"]);
    mkdirSync(paths.dir, { recursive: true });
    writeFileSync(paths.pid, `${bystander.pid}\n`);
    try {
      await stopNetwork(home, "user-v2");
      await startNetwork(home, "user-v2", NETWORKS);
      expect(lockHolder(paths.pid)).not.toBe(bystander.pid);
      await stopNetwork(home, "user-v2");
      expect(bystander.exitCode).toBeNull();
      expect(bystander.signalCode).toBeNull();
    } finally {
      bystander.kill("SIGKILL");
      await bystander.exited;
    }
  },
  LIMIT,
);

test(
  "startNetwork() tells the daemon's own reason when it does not come up, and leaves nothing running",
  async () => {
    const tiny = networkPaths(home, "tiny");
    await expect(startNetwork(home, "tiny", NETWORKS)).rejects.toThrow(
      /Cannot start the network tiny: .*at least 8 addresses/,
    );
    expect(lockHolder(tiny.pid)).toBe(0);
    expect(existsSync(tiny.endpoint)).toBe(false);
  },
  LIMIT,
);

test(
  "startNetwork() refuses to replace a file that is no socket",
  async () => {
    mkdirSync(paths.dir, { recursive: true });
    writeFileSync(paths.endpoint, "precious");
    await expect(startNetwork(home, "user-v2", NETWORKS)).rejects.toThrow(
      "a file that is no socket stands there",
    );
    expect(readFileSync(paths.endpoint, "utf8")).toBe("precious");
    expect(lockHolder(paths.pid)).toBe(0);
  },
  LIMIT,
);

/** An instance on user-v2, which counts as running while `lock` is held. */
function instance(
  name: string,
  yaml = "images: [{location: /disk.img}]\nnetworks: [{lima: user-v2}]\n",
) {
  const folder = join(home, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "lima.yaml"), yaml);
  return { run: () => tryLockPidFile(join(folder, "ha.pid"))! };
}

test(
  "reconcile() keeps a network until its last running instance is gone",
  async () => {
    instance("stopped");
    const lock = instance("runs").run();
    await startNetwork(home, "user-v2", NETWORKS);
    await reconcile(home, { warn });
    expect(await isServed(paths.endpoint)).toBe(true);
    lock.release();
    await reconcile(home, { warn });
    expect(await isServed(paths.endpoint)).toBe(false);
    expect(lockHolder(paths.pid)).toBe(0);
  },
  LIMIT,
);

test(
  "reconcile() keeps a network that an instance has begun to use while it waited for the network's lock",
  async () => {
    const starting = instance("starting");
    await startNetwork(home, "user-v2", NETWORKS);
    const gate = Promise.withResolvers<void>();
    const busy = withLock(paths.dir, () => gate.promise);
    const stopping = reconcile(home, { warn });
    await Bun.sleep(50);
    const lock = starting.run();
    gate.resolve();
    await Promise.all([busy, stopping]);
    expect(await isServed(paths.endpoint)).toBe(true);
    lock.release();
    await stopNetwork(home, "user-v2");
  },
  LIMIT,
);

test(
  "reconcile() stops nothing while an instance cannot be read",
  async () => {
    instance("unreadable", "images: [");
    await startNetwork(home, "user-v2", NETWORKS);
    await reconcile(home, { warn });
    expect(await isServed(paths.endpoint)).toBe(true);
    await stopNetwork(home, "user-v2");
  },
  LIMIT,
);
