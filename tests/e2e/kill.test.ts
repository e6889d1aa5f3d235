/**
 * kill -9 of any process at any moment, with real machines: the next command works, and nothing is left behind. The first
 * cases have each been a bug; then comes a loop. LIMANET_KILL_SEED repeats a run, LIMANET_KILL_ROUNDS makes it longer.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Home } from "../support/machines.ts";
import { mulberry } from "../support/mulberry.ts";

const LIMIT = 120_000;
const ROUNDS = Number(process.env["LIMANET_KILL_ROUNDS"] ?? 6);
const SEED = Number(process.env["LIMANET_KILL_SEED"] ?? Date.now() % 1_000_000);
/** the moment of a kill is chosen within this time after a command has begun */
const SPAN_MS = 5000;

let home: Home;
beforeAll(() => {
  home = new Home(".cache/guest", ["vmlinuz", "initrd"]);
});
afterAll(() => home.close(), LIMIT);

const template = (name: string, more = "") =>
  home.template(
    name,
    `
images:
  - arch: x86_64
    kernel: { location: ${home.path("vmlinuz")}, cmdline: console=ttyS0 quiet }
    initrd: { location: ${home.path("initrd")} }
cpus: 1
memory: 256MiB
${more}`,
  );

/** All that is wrong with what is left of stopped instances and their networks. */
function leftBehind(): string[] {
  const folders = ["", "_networks/"].flatMap((below) => {
    const path = join(home.limanetHome, below);
    return existsSync(path) ? readdirSync(path).map((name) => `${below}${name}`) : [];
  });
  return folders
    .filter((name) => !name.startsWith("_config"))
    .flatMap((folder) =>
      readdirSync(join(home.limanetHome, folder))
        .filter((file) => /\.(pid|sock|tmp)$/.test(file))
        .map((file) => `${folder}/${file}`),
    );
}

/** Waits for processes that end by themselves, and gives those that do not. */
async function orphans(): Promise<string[]> {
  for (let step = 0; step < 100 && home.pids().size > 0; step++) await Bun.sleep(50);
  return [...home.pids().values()];
}

const networkPid = () =>
  Number(readFileSync(join(home.limanetHome, "_networks/user-v2/usernet_user-v2.pid"), "utf8"));
const addressOf = async (name: string) =>
  /inet (192\.168\.\d+\.\d+)/.exec(
    await home.must("shell", name, "ip", "-4", "addr", "show", "eth0"),
  )?.[1];

describe("a machine on user-v2", () => {
  beforeAll(async () => {
    const forwards = `portForwards: [{ guestPort: 8000, static: true, hostSocket: ${home.path("www.sock")} }]\n`;
    await home.must(
      "start",
      "--name",
      "user",
      "--network",
      "lima:user-v2",
      template("user", forwards),
    );
  }, LIMIT);
  afterAll(() => home.limanet("delete", "--force", "user"), LIMIT);

  test(
    "is on its network again when the network's daemon was killed: address, ssh, names, forwards",
    async () => {
      await home.must(
        "shell",
        "user",
        "sh",
        "-c",
        "mkdir /tmp/www; echo here >/tmp/www/index.html; busybox httpd -p 8000 -h /tmp/www",
      );
      const page = async () =>
        (await fetch("http://guest/", { unix: home.path("www.sock") })).text().catch(() => "");
      const address = await addressOf("user");
      expect(await page()).toBe("here\n");
      for (let round = 0; round < 3; round++) {
        const before = networkPid();
        process.kill(before, "SIGKILL");
        // the connection that ssh commands share has ended with the daemon
        while ((await home.limanet("shell", "user", "true")).code !== 0) await Bun.sleep(50);
        expect(networkPid()).not.toBe(before);
        expect(await addressOf("user")).toBe(address);
        expect(await home.must("shell", "user", "nslookup", "lima-user.internal")).toContain(
          address!,
        );
        expect(await page()).toBe("here\n");
      }
    },
    LIMIT,
  );
});

describe("what a host agent leaves that is killed", () => {
  const yaml = () =>
    template(
      "left",
      `portForwards: [{ guestPort: 8000, static: true, hostSocket: ${home.path("left.sock")} }]\n`,
    );
  const agentPid = async () =>
    (await home.list()).find(({ name }) => name === "left")!.hostAgentPID;
  beforeAll(async () => {
    await home.must("start", "--name", "left", "--network", "lima:user-v2", yaml());
  }, LIMIT);
  afterAll(() => home.limanet("delete", "--force", "left"), LIMIT);

  const qemuPid = () => Number(readFileSync(join(home.limanetHome, "left/qemu.pid"), "utf8"));

  test(
    "a machine that listens to nothing any more is ended all the same, and its forwards are made anew",
    async () => {
      const address = await addressOf("left");
      const qemu = qemuPid();
      process.kill(qemu, "SIGSTOP");
      process.kill(await agentPid(), "SIGKILL");
      await home.must("start", "left");
      expect(qemuPid()).not.toBe(qemu);
      expect(existsSync(`/proc/${qemu}/exe`)).toBe(false);
      expect(await addressOf("left")).toBe(address);
      const { forwards } = JSON.parse(await home.must("network", "show", "--json", "user-v2")) as {
        forwards: { local: string }[];
      };
      expect(forwards.map(({ local }) => local)).toContain(home.path("left.sock"));
    },
    LIMIT,
  );

  test(
    "a machine without its monitor's socket and its pid file is no reason to start a second one",
    async () => {
      const qemu = qemuPid();
      process.kill(await agentPid(), "SIGKILL");
      for (const name of ["qmp.sock", "qemu.pid"])
        rmSync(join(home.limanetHome, "left", name), { force: true });
      const { code, stderr } = await home.limanet("start", "left");
      expect(code).toBe(1);
      expect(stderr).toContain("Cannot end the virtual machine that a killed host agent has left");
      process.kill(qemu, "SIGKILL");
      await home.must("start", "left");
    },
    LIMIT,
  );

  test(
    "ssh's shared connection ends with the machine, although nothing passes through it",
    async () => {
      const master = [...home.pids()].find(([, command]) => command.includes("[mux]"))![0];
      process.kill(await agentPid(), "SIGKILL");
      process.kill(qemuPid(), "SIGKILL");
      while (existsSync(`/proc/${master}/exe`)) await Bun.sleep(20);
      await home.must("stop", "left");
    },
    LIMIT,
  );

  test(
    "a start that is killed is taken up by the next one",
    async () => {
      const child = home.spawn([home.path("limanet"), "start", "left"]);
      let said = "";
      for await (const chunk of child.stderr) {
        said += new TextDecoder().decode(chunk);
        if (said.includes("machine:")) child.kill("SIGKILL");
      }
      await home.must("start", "left");
      expect(await home.must("shell", "left", "hostname")).toBe("lima-left\n");
      expect((await home.limanet("start", "left")).stderr).toContain("it runs already");
    },
    LIMIT,
  );
});

describe("whatever is killed, whenever", () => {
  const random = mulberry(SEED);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const networks: Record<string, string[]> = { own: [], joined: ["--network", "lima:user-v2"] };
  const addresses: Record<string, string | undefined> = {};
  let story: string[] = [];

  const statusOf = async (name: string) =>
    (await home.list()).find((listed) => listed.name === name)?.status ?? "absent";
  const startWords = (name: string, status: string) =>
    status === "absent"
      ? ["start", "--name", name, ...networks[name]!, template(name)]
      : ["start", name];

  /** Runs a command while something is killed. */
  async function disturbed(words: string[]): Promise<void> {
    const child = home.spawn([home.path("limanet"), ...words]);
    const output = Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    const kills = 1 + Math.floor(random() * 2);
    for (let kill = 0; kill < kills; kill++) {
      await Bun.sleep(random() * SPAN_MS * (words[0] === "start" ? 1 : 0.3));
      const victims = [...home.pids()];
      if (victims.length === 0) continue;
      const [pid, command] = pick(victims);
      story.push(`  kill -9 of ${command.replaceAll(home.folder, "").slice(0, 60)}`);
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // it was quicker
      }
    }
    await child.exited;
    story.push(
      `  ${words.slice(0, 3).join(" ")}: ${(await output).join("").trim().split("\n").at(-1)}`,
    );
  }

  async function round(): Promise<void> {
    const name = pick(Object.keys(networks));
    const status = await statusOf(name);
    const commands =
      status === "Running"
        ? [["stop", name], ["stop", "--force", name], ["delete", "--force", name], ["list"]]
        : [startWords(name, status)];
    const words = pick(commands);
    story.push(`${name} is ${status}: ${words.slice(0, 3).join(" ")}`);
    await disturbed(words);

    const after = await statusOf(name);
    const next = pick(["start", "stop", "delete"]);
    story.push(`  then ${name} is ${after}: ${next}`);
    if (after !== "absent" && next === "delete") await home.must("delete", "--force", name);
    else if (after !== "absent" && (next === "stop" || after === "Running"))
      await home.must("stop", name);
    const now = await statusOf(name);
    expect(["Stopped", "absent"]).toContain(now);
    await home.must(...startWords(name, now));
    const address = await addressOf(name);
    addresses[name] ??= address;
    expect(address).toBe(addresses[name]);
    if (random() < 0.5) await home.must("stop", name);
    if ((await home.list()).every((listed) => listed.status === "Stopped"))
      await expectNothingLeft();
  }

  async function expectNothingLeft(): Promise<void> {
    // a machine whose host agent was killed, and which nobody has spoken of since, ends with the next command on it
    const names = (await home.list()).map((listed) => listed.name);
    if (names.length > 0) await home.must("stop", ...names);
    expect(await orphans()).toEqual([]);
    expect(leftBehind()).toEqual([]);
  }

  for (let number = 1; number <= ROUNDS; number++) {
    test(
      `round ${number} (LIMANET_KILL_SEED=${SEED})`,
      async () => {
        story = [];
        try {
          await round();
        } catch (error) {
          throw new Error(
            `${story.join("\n")}\n${(error as Error).message}\n${[...home.pids().values()].join("\n")}`,
            {
              cause: error,
            },
          );
        }
      },
      2 * LIMIT,
    );
  }

  test(
    "in the end nothing is left",
    async () => {
      await expectNothingLeft();
    },
    LIMIT,
  );
});
