/** Instances with the small guest of the demo, from the compiled executable, by an ordinary user. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { guestYaml, Home } from "../support/machines.ts";

const IMAGES = ".cache/guest";
const LIMIT = 90_000;

let home: Home;
beforeAll(() => {
  home = new Home(IMAGES, ["vmlinuz", "initrd"]);
});
afterAll(() => home.close(), LIMIT);

const agentLines = (name: string) =>
  readFileSync(join(home.limanetHome, name, "ha.stdout.log"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { stage?: string; status?: Record<string, unknown> });

describe("one instance on the default network", () => {
  const http = 20_000 + (process.pid % 10_000);
  beforeAll(async () => {
    const template = home.template(
      "one",
      guestYaml(
        home,
        `
env: { GREETING: "hello guest" }
hostResolver:
  hosts: { printer.test: 203.0.113.5 }
portForwards:
  - { guestPort: 8000, hostPort: ${http}, static: true }
provision:
  - { mode: system, script: "#!/bin/sh\\nid -un >/tmp/system-ran\\n" }
  - { mode: user, script: "#!/bin/sh\\necho $(id -un) $GREETING >/tmp/user-ran\\n" }
`,
      ),
    );
    await home.must("start", "--name", "one", template);
  }, LIMIT);

  const shell = (...words: string[]) => home.must("shell", "one", ...words);

  test("it is listed as running, with its ssh port", async () => {
    const [listed] = await home.list();
    expect(listed).toMatchObject({
      name: "one",
      status: "Running",
      dir: join(home.limanetHome, "one"),
    });
    expect(listed!.sshLocalPort).toBeGreaterThan(0);
    expect((await home.must("list")).split("\n")[1]).toMatch(
      /^one +Running +127\.0\.0\.1:\d+ +1 +256MiB +default/,
    );
  });

  test("the host agent told the stages in order", () => {
    const stages = agentLines("one").flatMap(({ stage }) => (stage === undefined ? [] : [stage]));
    expect(stages).toEqual(["network", "machine", "address", "ssh", "guest", "ready"]);
  });

  test("the guest has Lima's addresses", async () => {
    expect(await shell("ip", "-4", "addr", "show", "eth0")).toContain("inet 192.168.5.15/24");
    expect(await shell("ip", "route")).toContain("default via 192.168.5.2 dev eth0");
    expect(await shell("cat", "/etc/resolv.conf")).toContain("nameserver 192.168.5.3");
  });

  test("names of hostResolver.hosts, of the guest itself, of host and gateway resolve", async () => {
    expect(await shell("nslookup", "printer.test")).toContain("203.0.113.5");
    expect(await shell("nslookup", "lima-one.internal")).toContain("192.168.5.15");
    expect(await shell("nslookup", "host.lima.internal")).toContain("192.168.5.2");
    expect(await shell("nslookup", "gateway.lima.internal")).toContain("192.168.5.2");
  });

  test("a shell command's arguments, output and exit code come through unchanged", async () => {
    expect(await shell("printf", "%s|", "a b", "$HOME", "it's")).toBe("a b|$HOME|it's|");
    expect((await home.limanet("shell", "one", "sh", "-c", "exit 7")).code).toBe(7);
    expect((await home.limanet("shell", "one", "--", "sh", "-c", "exit 7")).code).toBe(7);
    expect(await home.must("shell", "--workdir", "/etc", "one", "pwd")).toBe("/etc\n");
  });

  test("env and provision scripts were applied in the guest", async () => {
    expect(await shell("cat", "/etc/environment")).toContain("GREETING=hello guest");
    expect(await shell("cat", "/tmp/system-ran")).toBe("root\n");
    expect(await shell("cat", "/tmp/user-ran")).toMatch(/^(?!root )\w+ hello guest\n$/);
  });

  test("a forwarded port leads into the guest", async () => {
    await shell("sh", "-c", serving("from-the-guest"));
    expect(await (await fetch(`http://127.0.0.1:${http}/`)).text()).toBe("from-the-guest\n");
  });

  test.each(["cmd", "args", "config"])(
    "show-ssh --format %s works with ssh itself",
    async (format) => {
      const text = (await home.must("show-ssh", "--format", format, "one")).trim();
      const config = home.path("printed-ssh-config");
      await Bun.write(config, `${text}\n`);
      const command = {
        cmd: `${text} hostname`,
        args: `ssh ${text} 127.0.0.1 hostname`,
        config: `ssh -F ${config} lima-one hostname`,
      }[format]!;
      expect((await home.run(["sh", "-c", command])).stdout).toBe("lima-one\n");
    },
  );

  test("tunnel serves a proxy at the same port again and again, and says how to use it", async () => {
    const proxy = await tunnelOf("one");
    expect(await through(proxy, "http://lima-one.internal:8000/")).toBe("from-the-guest\n");
    const said = await home.must("tunnel", "one");
    expect(said).toContain(`socks5h://${proxy}`);
    expect(said).toContain("<http://lima-one.internal>");
    expect((await home.limanet("tunnel", "--socks-port", "80", "one")).code).toBe(2);
    const taken = await home.limanet("tunnel", "--socks-port", String(http), "one");
    expect(taken.code).toBe(1);
    expect(taken.stderr).toMatch(/^limanet: Cannot open a tunnel into one: .*in use/);
  });

  test("starting it once more, deleting it or editing it while it runs is refused", async () => {
    for (const words of [
      ["start", "one"],
      ["delete", "one"],
      ["edit", "one", "--cpus=2"],
    ]) {
      const { code, stderr } = await home.limanet(...words);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^limanet: Cannot .* the instance one: it runs/);
    }
  });

  test(
    "it stops, starts again with its configuration, and stops leaving nothing running",
    async () => {
      const proxyBefore = await tunnelOf("one");
      await home.must("stop", "one");
      expect((await home.list())[0]!.status).toBe("Stopped");
      expect(await home.processes()).toEqual([]);
      await home.must("start", "one");
      expect(await tunnelOf("one")).toBe(proxyBefore);
      expect(await shell("nslookup", "printer.test")).toContain("203.0.113.5");
      await home.must("stop", "one");
      expect(await home.processes()).toEqual([]);
      await home.must("delete", "one");
      expect(existsSync(join(home.limanetHome, "one"))).toBe(false);
    },
    LIMIT,
  );
});

describe("what goes wrong around a running instance", () => {
  beforeAll(async () => {
    const provision = `
provision:
  - mode: system
    script: |
      #!/bin/sh
      (while [ ! -e /tmp/please-power-off ]; do sleep 0.2; done; poweroff) >/dev/null 2>&1 &
`;
    await home.must(
      ...["start", "--name", "crash", "--network", "lima:user-v2"],
      home.template("crash", guestYaml(home, provision)),
    );
  }, LIMIT);
  afterAll(() => home.limanet("delete", "--force", "crash"), LIMIT);

  const isStopped = async () => {
    while ((await home.list()).find(({ name }) => name === "crash")?.status !== "Stopped")
      await Bun.sleep(50);
  };
  const pidOf = (file: string) => Number(readFileSync(join(home.limanetHome, file), "utf8"));

  test(
    "a host agent that is killed leaves a machine, which the next start ends and replaces",
    async () => {
      const qemu = pidOf("crash/qemu.pid");
      process.kill((await home.list())[0]!.hostAgentPID, "SIGKILL");
      await isStopped();
      await home.must("start", "crash");
      expect(pidOf("crash/qemu.pid")).not.toBe(qemu);
      expect(existsSync(`/proc/${qemu}`)).toBe(false);
      expect(await home.must("shell", "crash", "hostname")).toBe("lima-crash\n");
    },
    LIMIT,
  );

  test(
    "a machine that dies is noticed and said",
    async () => {
      process.kill(pidOf("crash/qemu.pid"), "SIGKILL");
      await isStopped();
      const last = agentLines("crash").at(-1)!;
      expect(JSON.stringify(last.status)).toContain("virtual machine ended unexpectedly");
      await home.must("start", "crash");
    },
    LIMIT,
  );

  test(
    "a network daemon that is killed does not stand in the way of the next start",
    async () => {
      process.kill(pidOf("_networks/user-v2/usernet_user-v2.pid"), "SIGKILL");
      await home.must("stop", "--force", "crash");
      await home.must("start", "crash");
      expect(await home.must("shell", "crash", "ip", "-4", "addr")).toContain("192.168.104.");
      await home.must("stop", "crash");
      expect(await home.processes()).toEqual([]);
    },
    LIMIT,
  );

  test(
    "a guest that powers itself off ends its instance",
    async () => {
      await home.must("start", "crash");
      await home.must("shell", "crash", "touch", "/tmp/please-power-off");
      await isStopped();
      expect(await home.processes()).toEqual([]);
    },
    LIMIT,
  );
});

/** a command of the guest that serves a text on port 8000 */
const serving = (said: string) =>
  `mkdir -p /tmp/www; echo ${said} >/tmp/www/index.html; busybox httpd -p 8000 -h /tmp/www`;
const tunnelOf = async (name: string, ...more: string[]) =>
  (JSON.parse(await home.must("tunnel", "--json", ...more, name)) as { proxy: string }).proxy;
const through = async (proxy: string, url: string) =>
  (await home.run(["curl", "-sS", "-m", "20", "--socks5-hostname", proxy, url])).stdout;

test(
  "two instances on user-v2 reach each other by name, and the network ends with the last of them",
  async () => {
    const template = home.template("pair", guestYaml(home));
    await Promise.all(
      ["left", "right"].map((name) =>
        home.must("start", "--name", name, "--network", "lima:user-v2", template),
      ),
    );
    expect(
      await home.must("shell", "left", "/usr/bin/ping", "-c", "2", "lima-right.internal"),
    ).toContain("2 received");
    expect(await home.must("shell", "right", "nslookup", "lima-left.internal")).toMatch(
      /192\.168\.104\.\d+/,
    );
    await home.must("shell", "right", "sh", "-c", serving("from-right"));
    const proxy = await tunnelOf("left");
    expect(await through(proxy, "http://lima-right.internal:8000/")).toBe("from-right\n");
    await home.must("stop", "left");
    expect((await home.processes()).some((line) => line.includes("usernet"))).toBe(true);
    await home.must("stop", "right");
    expect(await home.processes()).toEqual([]);
    await home.must("delete", "left", "right");
  },
  LIMIT,
);

test(
  "--slirp=qemu has QEMU carry the default network, with its forwards",
  async () => {
    const port = 21_000 + (process.pid % 10_000);
    const forwards = `portForwards: [{ guestPort: 8000, hostPort: ${port}, proto: tcp, static: true }]\n`;
    const template = home.template("slirp", guestYaml(home, forwards));
    await home.must("start", "--slirp", "qemu", "--name", "slirp", template);
    expect(await home.must("shell", "slirp", "ip", "-4", "addr", "show", "eth0")).toContain(
      "192.168.5.15",
    );
    await home.must("shell", "slirp", "sh", "-c", serving("by-slirp"));
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("by-slirp\n");
    const proxy = await tunnelOf("slirp");
    expect(await through(proxy, "http://127.0.0.1:8000/")).toBe("by-slirp\n");
    await home.must("delete", "--force", "slirp");
    expect(await home.processes()).toEqual([]);
  },
  LIMIT,
);

test(
  "plain: true gives network and ssh, and nothing else is done in the guest",
  async () => {
    const script = 'provision:\n  - { mode: system, script: "#!/bin/sh\\ntouch /tmp/ran\\n" }\n';
    await home.must(
      "start",
      "--plain",
      "--name",
      "plain",
      home.template("plain", guestYaml(home, script)),
    );
    expect((await home.limanet("shell", "plain", "ls", "/tmp/ran")).code).toBe(1);
    await home.must("delete", "--force", "plain");
  },
  LIMIT,
);

test(
  "Ctrl-C while an instance starts leaves nothing running",
  async () => {
    const child = home.spawn([
      home.path("limanet"),
      "start",
      "--name",
      "interrupted",
      home.template("interrupted", guestYaml(home)),
    ]);
    let said = "";
    for await (const chunk of child.stderr) {
      said += new TextDecoder().decode(chunk);
      if (said.includes("machine:")) child.kill("SIGINT");
    }
    expect(await child.exited).toBe(1);
    expect(said).toContain("interrupted; nothing is left running");
    expect(await home.processes()).toEqual([]);
    await home.must("delete", "interrupted");
  },
  LIMIT,
);

test(
  "template:demo starts without anything from outside, and on a terminal it is seen how far it has come",
  async () => {
    const onTerminal = ["python3", "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"];
    const words = [home.path("limanet"), "start", "--name", "demo", "template:demo"];
    const environment = { LIMANET_GUEST: home.folder, TERM: "xterm" };
    const { code, stdout } = await home.run([...onTerminal, ...words], environment);
    expect(code).toBe(0);
    const drawn = stdout.split("\r\u001B[2K");
    expect(drawn.join("\n")).toMatch(/^\[ +\d+\.\d s\] █+░+ waiting for (address|ssh)$/m);
    // what stays: each line after the last time that it was cleared
    const lines = stdout
      .split("\n")
      .map((line) => line.replaceAll("\r", "").split("\u001B[2K").at(-1)!);
    const stages = lines.flatMap((line) => /^\[ +\d+\.\d s\] (\w+)/.exec(line)?.[1] ?? []);
    expect(stages).toEqual(["image", "network", "machine", "address", "ssh", "guest", "ready"]);
    expect(lines.at(-1)).toBe("");
    expect(await home.must("shell", "demo", "hostname")).toBe("lima-demo\n");
    await home.must("delete", "--force", "demo");
  },
  LIMIT,
);
