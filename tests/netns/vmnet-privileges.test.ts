/** What the daemon of a vmnet network may still do when it serves: of root's privileges as few as it needs (docs/privileges.md). */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { NOT_PERMITTED } from "../../lib/privilege/commands.ts";
import { canMakeNamespaces } from "../support/lab.ts";
import { GROUP, SHARED, UPLINK, VMNET_GATEWAY, VmnetLab } from "../support/vmnet-lab.ts";

const NOBODY = 65_534;
const [CHOWN, DAC_OVERRIDE, NET_BIND_SERVICE, NET_ADMIN] = [0, 1, 10, 12];
const BRIDGED = ["--vmnet-mode=bridged", `--vmnet-interface=${UPLINK}`];

/** an ordinary user who is a member of the sockets' group, with a TUN device that users may open, and some capabilities */
const asUser = (folder: string, ...capabilities: string[]) => {
  const all = capabilities.map((name) => `+${name}`).join(",");
  return [
    ...[
      "sh",
      "-c",
      'mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec "$@"',
    ],
    ...[
      "tun",
      "env",
      `XDG_RUNTIME_DIR=${folder}`,
      "setpriv",
      `--reuid=${NOBODY}`,
      `--regid=${NOBODY}`,
    ],
    ...["--groups=1", ...(all === "" ? [] : [`--inh-caps=${all}`, `--ambient-caps=${all}`])],
  ];
};

interface Thread {
  uid: number;
  isFinal: boolean;
  /** of its system calls */
  isFiltered: boolean;
  /** of the sets that a thread has and could ever get, in numbers of capability.h */
  effective: number[];
  permitted: number[];
  bounding: number[];
}

/** what each thread of a process may do */
function threadsOf(pid: number): Thread[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\w+)`, "m").exec(status)![1]!;
    const set = (name: string) => {
      const bits = BigInt(`0x${field(name)}`);
      return Array.from({ length: 64 }, (_, bit) => bit).filter(
        (bit) => (bits >> BigInt(bit)) & 1n,
      );
    };
    return {
      uid: Number(field("Uid")),
      isFinal: field("NoNewPrivs") === "1",
      isFiltered: field("Seccomp") === "2",
      effective: set("CapEff"),
      permitted: set("CapPrm"),
      bounding: set("CapBnd"),
    };
  });
}

describe.skipIf(!canMakeNamespaces)("privileges of limanet vmnet", () => {
  let lab: VmnetLab;
  beforeEach(async () => {
    lab = await VmnetLab.open();
    await lab.openOutside();
  });
  afterEach(() => lab.close());

  test.each<[string, string[], number[], (lab: VmnetLab) => void]>([
    ["a shared network", SHARED, [CHOWN, NET_BIND_SERVICE, NET_ADMIN], () => {}],
    ["a bridged network", BRIDGED, [CHOWN, NET_ADMIN], () => {}],
    [
      "sockets for root's own group",
      [...SHARED, "--socket-group=root"],
      [NET_BIND_SERVICE, NET_ADMIN],
      () => {},
    ],
    [
      "sockets in a user's folder",
      SHARED,
      [CHOWN, DAC_OVERRIDE, NET_BIND_SERVICE, NET_ADMIN],
      ({ folder }) => chownSync(folder, NOBODY, NOBODY),
    ],
  ])("root keeps what it needs, in every thread: %s", async (_what, options, kept, prepare) => {
    prepare(lab);
    await lab.start(...options);
    const threads = threadsOf(lab.pid);
    expect(threads.length).toBeGreaterThan(3);
    const thread = {
      uid: 0,
      isFinal: true,
      isFiltered: true,
      effective: kept,
      permitted: kept,
      bounding: kept,
    };
    expect(threads).toEqual(threads.map(() => thread));
    expect(await lab.stop()).toBe(0);
  });

  test("root starts from a user's folder that is closed to whoever has given his privileges away", async () => {
    const closed = join(lab.folder, "closed");
    mkdirSync(closed);
    chownSync(closed, NOBODY, NOBODY);
    const copy = `cp "$1" ${closed}/limanet; chmod 700 ${closed}; shift; exec ${closed}/limanet "$@"`;
    await lab.isUp(lab.spawnBy(["sh", "-c", copy, "sh"], ...SHARED));
    expect(threadsOf(lab.pid)[0]!.effective).toEqual([CHOWN, NET_BIND_SERVICE, NET_ADMIN]);
    expect(await lab.stop()).toBe(0);
  });

  test("an ordinary user with CAP_NET_ADMIN has a whole network, and nothing is left of it", async () => {
    chownSync(lab.folder, NOBODY, NOBODY);
    const folder = join(lab.folder, "runtime");
    mkdirSync(folder);
    chownSync(folder, NOBODY, NOBODY);
    const state = async () =>
      (
        await lab.host.run(
          "sh",
          "-c",
          "ip -br link; ip -br addr; nft list ruleset; sysctl net.ipv4.ip_forward",
        )
      ).stdout;
    const before = await state();
    const user = asUser(folder, "net_admin", "net_bind_service", "net_raw");
    await lab.isUp(lab.spawnBy(user, ...SHARED));
    for (const { uid, effective, permitted } of threadsOf(lab.pid))
      expect({ uid, effective, permitted }).toEqual({
        uid: NOBODY,
        effective: [NET_BIND_SERVICE, NET_ADMIN],
        permitted: [NET_BIND_SERVICE, NET_ADMIN],
      });
    const guest = await lab.guest();
    const lease = await guest.dhcp();
    expect(lease["dns"]).toBe(VMNET_GATEWAY);
    expect((await guest.run("ping", "-c1", "-W2", "203.0.113.1")).code).toBe(0);
    expect(await lab.stop()).toBe(0);
    expect(await state()).toBe(before);

    await lab.isUp(lab.spawnBy(user, ...SHARED));
    await lab.stop("SIGKILL");
    expect(await lab.limanet(["vmnet", "--cleanup"], user).exited).toBe(0);
    expect(await state()).toBe(before);
  });

  test("without CAP_NET_ADMIN the refusal says who may, and is told from other failures by its code", async () => {
    chownSync(lab.folder, NOBODY, NOBODY);
    expect(await lab.spawnBy(asUser(lab.folder), ...SHARED).exited).toBe(NOT_PERMITTED);
    expect(lab.log).toContain("only root may do that, or who has CAP_NET_ADMIN");
    const check = (...capabilities: string[]) =>
      lab.limanet(["vmnet", "--check"], asUser(lab.folder, ...capabilities)).exited;
    expect(await check()).toBe(NOT_PERMITTED);
    expect(await check("net_admin")).toBe(0);
  });

  test("nothing of the environment that it was started in is left to root's daemon", async () => {
    const hostile = {
      PATH: lab.folder,
      TMPDIR: lab.folder,
      BUN_JSC_useConcurrentJIT: "0",
      NODE_OPTIONS: "--inspect",
      LD_LIBRARY_PATH: lab.folder,
      LOCALDOMAIN: "example.test",
      DEBUG: "*",
    };
    const words = Object.entries(hostile).map((pair) => pair.join("="));
    await lab.isUp(lab.spawnBy(["/usr/bin/env", "-i", ...words], ...SHARED));
    const left = readFileSync(`/proc/${lab.pid}/environ`, "utf8");
    expect(left).toBe("PATH=/usr/sbin:/usr/bin:/sbin:/bin\0");
    expect(await lab.stop()).toBe(0);
  });

  test.each(["000", "077"])(
    "with umask %s of sudo's user what the daemon makes has its modes all the same",
    async (umask) => {
      await lab.isUp(lab.spawnBy(["sh", "-c", `umask ${umask}; exec "$@"`, "sh"], ...SHARED));
      const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8);
      expect(modeOf(lab.pidFile)).toBe("644");
      for (const suffix of ["", ".datagram", ".descriptor"])
        expect(modeOf(`${lab.socket}${suffix}`)).toBe("770");
      const journal = join(lab.folder, "run/vmnet");
      expect(modeOf(journal)).toBe("700");
      expect(readdirSync(journal).filter((name) => name.endsWith(".json"))).toHaveLength(1);
      for (const name of readdirSync(journal))
        expect(Number(`0o${modeOf(join(journal, name))}`) & 0o022).toBe(0);
      expect(await lab.stop()).toBe(0);
    },
  );

  test("a journal of somebody else's is not carried out", async () => {
    const run = join(lab.folder, "run");
    mkdirSync(join(run, "vmnet"), { mode: 0o700 });
    chownSync(join(run, "vmnet"), NOBODY, NOBODY);
    expect(await lab.limanet(["vmnet", "--cleanup"]).exited).toBe(1);
  });

  test.each<[string, (run: string) => void, string]>([
    [
      "whose folder a group may change",
      (run) => {
        chownSync(run, 0, GROUP.gid);
        chmodSync(run, 0o775);
      },
      "folder /run/limanet can be written by a group other than root (owner 0, group 1, mode 0775): sudo chmod g-w /run/limanet",
    ],
    [
      "whose folder a user owns",
      (run) => {
        mkdirSync(join(run, "vmnet"), { mode: 0o700 });
        chownSync(run, NOBODY, 0);
      },
      "folder /run/limanet does not belong to root (owner 65534",
    ],
    [
      "that is a symbolic link",
      (run) => {
        mkdirSync(join(lab.folder, "elsewhere"), { mode: 0o700 });
        symlinkSync(join(lab.folder, "elsewhere"), join(run, "vmnet"));
      },
      "it is not a folder of ours alone",
    ],
  ])("root carries out no journal %s", async (_what, prepare, sentence) => {
    prepare(join(lab.folder, "run"));
    const { stderr, exited } = lab.limanet(["vmnet", "--cleanup"]);
    expect(await new Response(stderr).text()).toContain(sentence);
    expect(await exited).toBe(1);
  });

  test.each<[string, (pidFile: string, victim: string) => void]>([
    ["a symbolic link", (pidFile, victim) => symlinkSync(victim, pidFile)],
    ["another name of a file", (pidFile, victim) => linkSync(victim, pidFile)],
    ["a FIFO", (pidFile) => void Bun.spawnSync(["mkfifo", pidFile])],
  ])(
    "%s in the pid file's place: root writes nothing there, waits for nobody, and goes back",
    async (_what, place) => {
      chownSync(lab.folder, NOBODY, NOBODY);
      const victim = join(lab.folder, "victim");
      writeFileSync(victim, "root:x:0:0\n");
      place(lab.pidFile, victim);
      expect(await lab.spawn(...SHARED).exited).toBe(1);
      expect(lab.log).toContain(`Cannot lock ${lab.pidFile}: it is `);
      expect(readFileSync(victim, "utf8")).toBe("root:x:0:0\n");
      expect((await lab.host.run("ip", "-br", "link")).stdout).not.toContain("lm-");
    },
  );
});
