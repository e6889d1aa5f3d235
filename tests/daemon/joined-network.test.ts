import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { UnixSocketListener } from "bun";
import { networkPaths, type NetworkPaths } from "../../lib/config/paths.ts";
import { JoinedNetwork } from "../../lib/daemon/joined-network.ts";
import { startNetwork, stopNetwork } from "../../lib/daemon/reconcile.ts";
import { lockHolder } from "../../lib/host/lock.ts";
import { requestUnixHttp } from "../../lib/host/unix-http.ts";
import { loadNetworks } from "../../lib/instance/settings.ts";

const LIMIT = 30_000;
const ZONE = { Name: "test.", Records: [{ Name: "a", IP: "192.168.104.9" }] };

let home: string;
let paths: NetworkPaths;
let states: string[];
let errors: string[];
let joined: JoinedNetwork;
/** connections that a QEMU has got which listens */
let connections: number;
let qemu: UnixSocketListener<undefined>;

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "limanet-joined-"));
  paths = networkPaths(home, "user-v2");
  states = [];
  errors = [];
  connections = 0;
  await startNetwork(home, "user-v2", loadNetworks(home));
  joined = new JoinedNetwork({
    home,
    network: "user-v2",
    log: { error: (line) => errors.push(line), warn: () => {} },
    onState: (network, state) => states.push(`${network} ${state}`),
  });
  qemu = Bun.listen({
    unix: join(home, "net0.sock"),
    socket: { data() {}, open: () => void connections++ },
  });
});
afterEach(async () => {
  await joined.close();
  qemu.stop(true);
  await stopNetwork(home, "user-v2");
  rmSync(home, { recursive: true, force: true });
}, LIMIT);

const get = async (route: string): Promise<unknown> =>
  JSON.parse((await requestUnixHttp(paths.endpoint, "GET", route)).body);
const zones = async () =>
  ((await get("/services/dns/all")) as { Name: string }[]).map((z) => z.Name);
const forward = () => ({
  local: join(home, "f.sock"),
  remote: "192.168.104.9:80",
  protocol: "unix" as const,
});

async function killDaemon(): Promise<void> {
  const seen = states.length;
  process.kill(lockHolder(paths.pid), "SIGKILL");
  while (states.length < seen + 2) await Bun.sleep(10);
}

test(
  "a network whose daemon is killed is restored with connection, zones and forwards, again and again",
  async () => {
    expect(joined.backend(join(home, "net0.sock"))).toMatchObject({
      stream: paths.qemu,
      listen: join(home, "net0.sock"),
    });
    await joined.attached(false);
    await joined.addZone(ZONE);
    await joined.expose(forward());
    for (let kills = 1; kills <= 3; kills++) {
      await killDaemon();
      expect(await zones()).toContain("test.");
      expect(await get("/services/forwarder/all")).toEqual([forward()]);
      expect(connections).toBe(1 + kills);
      expect(((await get("/stats")) as { ports: number }).ports).toBe(1);
    }
    expect(states).toEqual([1, 2, 3].flatMap(() => ["user-v2 lost", "user-v2 restored"]));
    expect(errors).toEqual([]);
  },
  LIMIT,
);

test(
  "a QEMU that is connected is not connected to once more, and one that is gone cannot be",
  async () => {
    const attach = (path: string) =>
      requestUnixHttp(paths.endpoint, "POST", "/extension/attach", { path });
    const path = join(home, "net0.sock");
    expect((await attach(path)).status).toBe(200);
    expect((await attach(path)).status).toBe(200);
    expect(((await get("/stats")) as { ports: number }).ports).toBe(1);
    expect(await attach("net0.sock")).toMatchObject({ status: 400 });
    expect(await attach(join(home, "none.sock"))).toEqual({
      status: 500,
      body: `Cannot connect to ${join(home, "none.sock")}: ENOENT (does the machine run?)\n`,
    });
    expect(connections).toBe(1);
  },
  LIMIT,
);

test(
  "a QEMU that comes back by itself is not connected to",
  async () => {
    joined.backend(join(home, "net0.sock"));
    await joined.attached(true);
    await killDaemon();
    expect(connections).toBe(0);
  },
  LIMIT,
);

test(
  "a QEMU that shares its guest's memory connects itself, to a daemon that takes that",
  async () => {
    const warnings: string[] = [];
    const member = new JoinedNetwork({
      home,
      network: "user-v2",
      log: { error: () => {}, warn: (line) => warnings.push(line) },
      onState: () => {},
      sharesMemory: true,
    });
    expect(member.backend(join(home, "net0.sock"))).toMatchObject({
      vhostUser: paths.vhostUser,
      listen: undefined,
    });
    await member.attached(false);
    expect([connections, warnings]).toEqual([0, []]);
    rmSync(paths.vhostUser);
    expect(member.backend(join(home, "net0.sock")).vhostUser).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining("vhostUser has no effect on user-v2")]);
    await member.close();
  },
  LIMIT,
);

test(
  "what is asked for while the daemon is away is there once it is back",
  async () => {
    process.kill(lockHolder(paths.pid), "SIGKILL");
    await Promise.all([joined.addZone(ZONE), joined.expose(forward())]);
    expect(await zones()).toContain("test.");
    expect(await get("/services/forwarder/all")).toEqual([forward()]);
    expect(errors).toEqual([]);
  },
  LIMIT,
);

test(
  "a forward that the daemon refuses is an error, and is not tried again after a restart",
  async () => {
    const nowhere = {
      local: join(home, "none/f.sock"),
      remote: "192.168.104.9:80",
      protocol: "unix" as const,
    };
    await expect(joined.expose(nowhere)).rejects.toThrow("its folder does not exist");
    await joined.expose(forward());
    await expect(joined.expose(forward())).rejects.toThrow("proxy already running");
    await killDaemon();
    expect(await get("/services/forwarder/all")).toEqual([forward()]);
    expect(errors).toEqual([]);
  },
  LIMIT,
);

test(
  "who leaves takes his forwards along, and starts no network any more",
  async () => {
    await joined.expose(forward());
    await joined.close();
    expect(await get("/services/forwarder/all")).toEqual([]);
    process.kill(lockHolder(paths.pid), "SIGKILL");
    while (lockHolder(paths.pid) !== 0) await Bun.sleep(5);
    await Bun.sleep(300);
    expect(lockHolder(paths.pid)).toBe(0);
    expect(states).toEqual([]);
    expect(existsSync(paths.pid)).toBe(true);
  },
  LIMIT,
);

test(
  "a daemon that somebody else has started again before its end was noticed is told everything anew",
  async () => {
    await joined.addZone(ZONE);
    const reconcile = new URL("../../lib/daemon/reconcile.ts", import.meta.url).href;
    const settings = new URL("../../lib/instance/settings.ts", import.meta.url).href;
    const script = `
      const { startNetwork } = await import(${JSON.stringify(reconcile)});
      const { loadNetworks } = await import(${JSON.stringify(settings)});
      await startNetwork(${JSON.stringify(home)}, "user-v2", loadNetworks(${JSON.stringify(home)}));
      process.exit(0);`;
    process.kill(lockHolder(paths.pid), "SIGKILL");
    // nothing is noticed in this process until the other one has ended
    expect(Bun.spawnSync([process.execPath, "-e", script]).exitCode).toBe(0);
    while (!states.includes("user-v2 restored")) await Bun.sleep(10);
    expect(await zones()).toContain("test.");
  },
  LIMIT,
);

test(
  "several members of one network restore it together",
  async () => {
    const others = Array.from({ length: 4 }, (_, i) => {
      const log = { error: (line: string) => errors.push(line), warn: () => {} };
      const restored = Promise.withResolvers<void>();
      const onState = (_network: string, state: string) => {
        if (state === "restored") restored.resolve();
      };
      return { i, restored, member: new JoinedNetwork({ home, network: "user-v2", log, onState }) };
    });
    for (const { i, member } of others) await member.addZone({ ...ZONE, Name: `zone${i}.` });
    await killDaemon();
    await Promise.all(others.map(({ restored }) => restored.promise));
    expect(await zones()).toEqual(expect.arrayContaining(others.map(({ i }) => `zone${i}.`)));
    expect(errors).toEqual([]);
    await Promise.all(others.map(({ member }) => member.close()));
  },
  LIMIT,
);

const HOSTS = { "a.test": "192.0.2.1", "*.b.test": "192.0.2.2" };

test(
  "static hosts take the place of those before, also after the daemon's end",
  async () => {
    const status = async (name: string) =>
      ((await get(`/limanet/dns/explain?name=${name}&type=A`)) as { source: string }).source;
    await joined.setHosts("vm", { ...HOSTS, "gone.lima.internal": "192.0.2.3" });
    expect(await zones()).toContain("test.");
    expect(await status("gone.lima.internal")).toBe("static");
    await joined.setHosts("vm", HOSTS);
    expect(await status("gone.lima.internal")).toBe("no-such-own-name");
    await killDaemon();
    expect(await status("a.test")).toBe("static");
    expect(await status("x.b.test")).toBe("static");
    await joined.setHosts("vm", {});
    expect(await zones()).not.toContain("test.");
    expect(errors).toEqual([]);
  },
  LIMIT,
);

test(
  "a daemon of Lima's own gets what zones can say, and the user is told what it cannot know",
  async () => {
    const other = mkdtempSync(join(tmpdir(), "limanet-joined-"));
    const { endpoint } = networkPaths(other, "user-v2");
    mkdirSync(dirname(endpoint), { recursive: true });
    const added: unknown[] = [];
    const daemon = Bun.serve({
      unix: endpoint,
      async fetch(request) {
        if (new URL(request.url).pathname !== "/services/dns/add")
          return new Response("404 page not found\n", { status: 404 });
        added.push(await request.json());
        return new Response("");
      },
    });
    const warnings: string[] = [];
    const log = { error: () => {}, warn: (line: string) => void warnings.push(line) };
    const member = new JoinedNetwork({ home: other, network: "user-v2", log, onState: () => {} });
    await member.setHosts("vm", HOSTS);
    expect(added).toEqual([{ Name: "test.", Records: [{ Name: "a", IP: "192.0.2.1" }] }]);
    expect(warnings).toEqual(["the network's daemon does not know *.b.test: 404 page not found"]);
    await member.close();
    await daemon.stop(true);
    rmSync(other, { recursive: true, force: true });
  },
  LIMIT,
);
