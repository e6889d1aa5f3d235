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
import {
  reconcile,
  removeNetwork,
  startNetwork,
  stopNetwork,
  userV2Network,
} from "../../lib/daemon/reconcile.ts";
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
  for (const name of [...Object.keys(NETWORKS.networks), "third", "undefined"]) {
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
  "startNetwork() does not take a daemon that is being killed for one that runs",
  async () => {
    // for a moment it still holds its lock, and its sockets take connections
    await startNetwork(home, "user-v2", NETWORKS);
    for (let round = 0; round < 10; round++) {
      process.kill(lockHolder(paths.pid), "SIGKILL");
      await startNetwork(home, "user-v2", NETWORKS);
      expect(await leases()).toEqual({ "192.168.104.2": GATEWAY_MAC });
    }
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
  writeFileSync(join(folder, "lima-version"), "limanet 0.1.0\n");
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

const on = (...networks: string[]) =>
  `images: [{location: /disk.img}]\nnetworks: [${networks.map((name) => `{lima: ${name}}`).join(", ")}]\n`;

/** Two user-v2 networks that run already, and one that does not. */
async function threeNetworks(): Promise<void> {
  const network = (name: string, third: number) =>
    `  ${name}: { mode: user-v2, gateway: 192.168.${third}.1, netmask: 255.255.255.0 }\n`;
  mkdirSync(join(home, "_config"), { recursive: true });
  writeFileSync(
    join(home, "_config/networks.yaml"),
    `networks:\n${network("user-v2", 104)}${network("third", 108)}`,
  );
  for (const name of ["user-v2", "undefined"]) {
    const networks = { ...NETWORKS.networks, undefined: NETWORKS.networks["small"]! };
    await startNetwork(home, name, { ...NETWORKS, networks });
  }
}

interface Row {
  name: string;
  /** makes instances; what it gives is released in the end */
  given: () => ({ release(): void } | undefined)[];
  options?: { starting?: string; ending?: string };
  /** networks that run afterwards; "undefined" is one that networks.yaml does not have any more */
  running: string[];
  warning?: string;
}

const ROWS: Row[] = [
  {
    name: "stops all networks when there is no instance, also one that networks.yaml has lost",
    given: () => [],
    running: [],
  },
  {
    name: "starts what a running instance needs, and stops the rest",
    given: () => [instance("a", on("third")).run()],
    running: ["third"],
  },
  {
    name: "counts an instance that is about to start",
    given: () => (instance("a", on("third", "user-v2")), []),
    options: { starting: "a" },
    running: ["third", "user-v2"],
  },
  {
    name: "does not count an instance that is about to end",
    given: () => [instance("a", on("third")).run(), instance("b", on("user-v2")).run()],
    options: { ending: "a" },
    running: ["user-v2"],
  },
  {
    name: "keeps a network that networks.yaml has lost while a running instance uses it, and says so",
    given: () => [instance("a", on("undefined", "third")).run()],
    running: ["third", "undefined"],
    warning: "The network undefined of a running instance is not defined in networks.yaml",
  },
  {
    name: "goes on after an unknown network of a running instance",
    given: () => [instance("a", on("nowhere", "third")).run()],
    running: ["third"],
    warning: "The network nowhere of a running instance is not defined in networks.yaml",
  },
  {
    name: "stops nothing while an instance's lima.yaml is not right, and says so",
    given: () => (instance("a", "images: ["), []),
    running: ["undefined", "user-v2"],
    warning: "left running, since a may use them",
  },
  {
    name: "stops nothing while an instance's lima.yaml cannot be read",
    given: () => (mkdirSync(join(home, "a/lima.yaml"), { recursive: true }), []),
    running: ["undefined", "user-v2"],
    warning: "left running, since a may use them",
  },
  {
    name: "counts an instance of Lima's, whose host agent holds no lock",
    given: () => {
      instance("a", on("user-v2"));
      rmSync(join(home, "a/lima-version"));
      writeFileSync(join(home, "a/ha.pid"), `${process.pid}\n`);
      return [];
    },
    running: ["user-v2"],
  },
  {
    name: "does not count an instance whose pid file tells a number that is somebody else's",
    given: () => {
      instance("a", on("user-v2"));
      writeFileSync(join(home, "a/ha.pid"), `${process.pid}\n`);
      return [];
    },
    running: [],
  },
];

test.each(ROWS.map((row): [string, Row] => [row.name, row]))(
  "reconcile() %s",
  async (_name, { given, options, running, warning }) => {
    await threeNetworks();
    const held = given();
    try {
      await reconcile(home, { ...options, warn });
      const served = [];
      for (const name of ["third", "undefined", "user-v2"])
        if (await isServed(networkPaths(home, name).endpoint)) served.push(name);
      expect(served).toEqual(running);
      expect(warnings.join("\n")).toEqual(
        warning === undefined ? "" : expect.stringContaining(warning),
      );
    } finally {
      for (const lock of held) lock?.release();
    }
  },
  LIMIT,
);

test(
  "reconcile() sees to every network before it tells the first that failed",
  async () => {
    await threeNetworks();
    const lock = instance("a", on("third", "user-v2")).run();
    mkdirSync(networkPaths(home, "third").dir, { recursive: true });
    writeFileSync(networkPaths(home, "third").endpoint, "precious");
    await expect(reconcile(home, { warn })).rejects.toThrow("Cannot start the network third");
    expect(await isServed(paths.endpoint)).toBe(true);
    expect(lockHolder(networkPaths(home, "undefined").pid)).toBe(0);
    lock.release();
  },
  LIMIT,
);

test(
  "addresses that Lima has given are kept by our daemon, and told to Lima again at its end",
  async () => {
    const theirs = { "192.168.104.77": "52:55:55:00:00:0a", "192.168.104.2": GATEWAY_MAC };
    mkdirSync(paths.dir, { recursive: true });
    writeFileSync(paths.leases, `${JSON.stringify(theirs)}\n`);
    for (let round = 0; round < 2; round++) {
      await startNetwork(home, "user-v2", NETWORKS, warn);
      await stopNetwork(home, "user-v2");
      expect(JSON.parse(readFileSync(paths.leases, "utf8"))).toEqual(theirs);
    }
    expect(warnings).toEqual([]);
  },
  LIMIT,
);

test(
  "removeNetwork() ends the daemon and forgets its leases",
  async () => {
    await startNetwork(home, "user-v2", NETWORKS);
    await removeNetwork(home, "user-v2");
    expect(existsSync(paths.dir)).toBe(false);
    await removeNetwork(home, "user-v2");
  },
  LIMIT,
);

/** A daemon that holds no lock of ours, as Lima's own. */
async function limasDaemon(...options: string[]) {
  mkdirSync(paths.dir, { recursive: true });
  const main = new URL("../../main.ts", import.meta.url).pathname;
  const command = [process.execPath, main, "usernet", "-e", paths.endpoint, ...options];
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  writeFileSync(paths.pid, `${child.pid}\n`);
  while (!(await isServed(paths.endpoint))) await Bun.sleep(10);
  return child;
}

test(
  "a daemon of Lima's is used, and neither ended nor robbed of its files",
  async () => {
    const theirs = await limasDaemon("--listen-qemu", paths.qemu);
    try {
      const files = readdirSync(paths.dir);
      await startNetwork(home, "user-v2", NETWORKS);
      await stopNetwork(home, "user-v2");
      expect(theirs.exitCode).toBeNull();
      expect(readdirSync(paths.dir)).toEqual(files);
      expect(readFileSync(paths.pid, "utf8")).toBe(`${theirs.pid}\n`);
    } finally {
      theirs.kill("SIGKILL");
      await theirs.exited;
    }
    // it has left all its files, which are in nobody's way
    await startNetwork(home, "user-v2", NETWORKS);
    expect(await leases()).toEqual({ "192.168.104.2": GATEWAY_MAC });
    await stopNetwork(home, "user-v2");
  },
  LIMIT,
);

test(
  "a daemon of somebody else's that takes no guests is refused, and not ended",
  async () => {
    const theirs = await limasDaemon();
    try {
      await expect(startNetwork(home, "user-v2", NETWORKS)).rejects.toThrow(
        /^Cannot use the network user-v2: another program serves .*_ep\.sock and takes no guests of QEMU/,
      );
      expect(theirs.exitCode).toBeNull();
    } finally {
      theirs.kill("SIGKILL");
      await theirs.exited;
    }
  },
  LIMIT,
);

test(
  "a daemon that does not end on SIGINT is killed after a while, and leaves nothing",
  async () => {
    await startNetwork(home, "user-v2", NETWORKS);
    process.kill(lockHolder(paths.pid), "SIGSTOP");
    await stopNetwork(home, "user-v2");
    expect(lockHolder(paths.pid)).toBe(0);
    expect(readdirSync(paths.dir).filter((name) => !/\.(log|json)$/.test(name))).toEqual([]);
  },
  LIMIT,
);
