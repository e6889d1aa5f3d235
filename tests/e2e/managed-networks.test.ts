/**
 * Networks of mode shared, host and bridged with real sudo, an ordinary user and limanet's own daemon, on a host of network
 * namespaces: what root refuses to do, that daemons come and go with the machines, and who reaches the machines.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LIMANET } from "../support/lab.ts";
import { Home } from "../support/machines.ts";
import { canUseSudo, PrivateEtc } from "../support/private-etc.ts";

const LIMIT = 240_000;
const PROGRAM = "/opt/limanet/bin/socket_vmnet";
const SUDOERS = "/etc/sudoers.d/limanet";
const SOCKET = "/run/limanet/socket_vmnet.shared";
const PID_FILE = "/run/limanet/shared_socket_vmnet.pid";
/** what stands for limanet where a script of the test's is in its place */
const REAL = "/opt/limanet/real/socket_vmnet";
const FOREIGN = "/opt/limanet/foreign";
const OUTSIDE = "203.0.113.1";
/** the host's namespace is connected with another, where there is a DHCP server */
const CONNECT = `
ip link set lo up
ip netns add outside
ip link add up0 type veth peer name in0 netns outside
ip addr add 203.0.113.2/24 dev up0
ip link set up0 up
ip route add default via ${OUTSIDE}
ip -n outside addr add ${OUTSIDE}/24 dev in0
ip -n outside link set in0 up
ip netns exec outside dnsmasq --port=0 --interface=in0 --leasefile-ro --pid-file=/run/dnsmasq.pid \\
  --user=root --dhcp-range=203.0.113.100,203.0.113.110 --dhcp-option=3,${OUTSIDE}
`;
/** said of a machine that has come past its networks */
const WENT_ON = "has not come within 1 s";
const START = `sudo --user root --group root --non-interactive ${PROGRAM} --pidfile=${PID_FILE} --socket-group=nogroup --vmnet-mode=shared --vmnet-gateway=192.168.105.1 --vmnet-dhcp-end=192.168.105.254 --vmnet-mask=255.255.255.0 ${SOCKET}`;

describe.skipIf(!canUseSudo)("networks that root serves", () => {
  let etc: PrivateEtc;
  let home: Home;
  let networksFile: string;
  let networksText: string;
  /** a process that has nothing to do with any of this */
  let bystander: { kill(signal: "SIGKILL"): void } | undefined;

  const installProgram = async (text?: string) => {
    if (text !== undefined) return etc.write(PROGRAM, text, "755");
    // the executable once, under two names
    await etc.must(["ln", "-f", REAL, PROGRAM]);
  };
  const installSudoers = async () => etc.write(SUDOERS, await home.must("sudoers"), "644");
  /** the daemon's pid; 0: none */
  const daemon = async (): Promise<number> => {
    const { code, stdout } = await etc.root(["pgrep", ...etc.here, "-f", `^(${PROGRAM}|${REAL}) `]);
    return code === 0 ? Number(stdout) : 0;
  };
  const guest = (more: string) =>
    home.template(
      "guest",
      `images:
  - arch: x86_64
    kernel: { location: ${home.path("vmlinuz")}, cmdline: console=ttyS0 quiet }
    initrd: { location: ${home.path("initrd")} }
cpus: 1
memory: 256MiB
${more}`,
    );
  /** what a machine has got by DHCP, which may come after ssh does */
  const addressOf = async (name: string, card: string): Promise<string> => {
    for (;;) {
      const shown = await home.must("shell", name, "ip", "-4", "addr", "show", card);
      const address = /inet ([\d.]+)\/24/.exec(shown)?.[1];
      if (address !== undefined) return address;
      await Bun.sleep(100);
    }
  };
  /** waits until the host reaches an address */
  const answers = async (address: string): Promise<void> => {
    while ((await etc.root(["ping", "-n", "-c", "1", "-W", "1", address])).code !== 0);
  };
  const outside = (...words: string[]) => ["ip", "netns", "exec", "outside", ...words];
  const onShared = () => guest("networks: [{ lima: shared }]");
  /** Starts a machine that cannot be started; what was said. */
  const refused = async () => {
    const { code, stderr } = await home.limanet("start", "--name", "vm", onShared());
    expect(code).toBe(1);
    expect(await home.processes()).toEqual([]);
    expect(await daemon()).toBe(0);
    await home.must("delete", "--force", "vm");
    return stderr;
  };

  beforeAll(async () => {
    etc = new PrivateEtc({ hasNetwork: true, more: CONNECT });
    await etc.open();
    await etc.must(["mkdir", "-p", "/opt/limanet/bin", "/opt/limanet/real"]);
    await etc.must(["install", "-m", "755", LIMANET, REAL]);
    const foreign = readFileSync(new URL("../support/socket_vmnet.py", import.meta.url), "utf8");
    await etc.write(FOREIGN, foreign, "755");
    home = new Home(".cache/guest", ["vmlinuz", "initrd"], etc.enter);
    await home.must("network", "list");
    networksFile = join(home.limanetHome, "_config/networks.yaml");
    networksText = readFileSync(networksFile, "utf8");
  });
  afterAll(async () => {
    await home.close();
    await etc.must(["pkill", "-F", "/run/dnsmasq.pid"]);
    await etc.close();
  }, LIMIT);
  // all is in order, whatever the test before has left
  beforeEach(async () => {
    writeFileSync(networksFile, networksText);
    await etc.must(["rm", "-rf", "/run/limanet", "/run/attempts", "/etc/sudoers.d/z"]);
    await etc.must(["chmod", "755", "/etc/sudoers.d"]);
    await installProgram();
    await installSudoers();
  });
  afterEach(async () => {
    const names = (await home.list()).map(({ name }) => name);
    await home.limanet("delete", "--force", ...names, "none");
    const left = await daemon();
    if (left !== 0) await etc.root(["kill", "-9", String(left)]);
    bystander?.kill("SIGKILL");
    bystander = undefined;
  }, LIMIT);

  test("without a program the sentence says where it belongs", async () => {
    await etc.must(["rm", PROGRAM]);
    const sentence = `networks.yaml: "${PROGRAM}" (\`paths.socketVMNet\`) has to be installed: `;
    expect(await refused()).toContain(sentence);
    const { code, stdout, stderr } = await home.limanet("sudoers");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(sentence);
  });

  test(
    "sudoers prints what sudo understands, and --check follows the file that is installed",
    async () => {
      await etc.must(["rm", SUDOERS]);
      const text = await home.must("sudoers");
      await etc.must(["visudo", "--check", "--file=/dev/stdin"], text);
      expect(text).toStartWith(
        "%nogroup ALL=(root:root) NOPASSWD:NOSETENV: /bin/mkdir -m 775 -p /run/limanet\n",
      );
      expect(text.match(/^# Manage "(bridged|host|shared)" network daemons$/gm)).toHaveLength(3);

      const missing = await home.limanet("sudoers", "--check");
      expect(missing.code).toBe(1);
      expect(missing.stderr).toContain(
        `can't read \`${SUDOERS}\`: there is no such file (Hint: run \`limanet sudoers >etc_sudoers.d_limanet && sudo install -o root etc_sudoers.d_limanet "${SUDOERS}"\`)`,
      );
      // passwords that sudo remembers do not count
      expect(missing.stderr).toMatch(/running: sudo -k"\n.*running: sudo --user root .* true"\n/);

      // as the hint says
      writeFileSync(home.path("copy"), text);
      await etc.must(["install", "-o", "root", home.path("copy"), SUDOERS]);
      const good = await home.limanet("sudoers", "--check");
      expect(good).toMatchObject({
        code: 0,
        stdout: `\`${SUDOERS}\` is up-to-date (or sudo doesn't require a password)\n`,
      });

      await etc.write(SUDOERS, text.replace(".254", ".200").replace(/\n# Manage "shared"[^]*/, ""));
      const stale = await home.limanet("sudoers", "--check");
      expect(stale.code).toBe(1);
      expect(stale.stderr).toContain(
        `sudoers file \`${SUDOERS}\` is out of sync and must be regenerated (Hint: run `,
      );
      expect(stale.stderr).toMatch(/^ {2}-\d+: .*--vmnet-dhcp-end=192\.168\.106\.200 /m);
      expect(stale.stderr).toMatch(/^ {2}\+\d+: .*--vmnet-dhcp-end=192\.168\.106\.254 /m);
      expect(stale.stderr).toMatch(/^ {2}\+\d+: # Manage "shared" network daemons$/m);
      expect(await refused()).toContain("is out of sync and must be regenerated (Hint: run ");

      expect((await home.limanet("sudoers", "--check", home.path("copy"))).code).toBe(0);
      expect((await home.limanet("sudoers", home.path("copy"))).stderr).toContain(
        "only for --check",
      );
    },
    LIMIT,
  );

  test(
    "where nobody may look into the folder, sudo is asked",
    async () => {
      await etc.must(["chmod", "750", "/etc/sudoers.d"]);
      expect((await home.limanet("sudoers", "--check")).code).toBe(0);
      await etc.write(SUDOERS, (await home.must("sudoers")).replace(".254", ".200"));
      const { code, stderr } = await home.limanet("sudoers", "--check");
      expect(code).toBe(1);
      expect(stderr).toMatch(/can't read `[^`]*`: .*permission denied.* \(Hint: /i);
      await etc.must(["chmod", "755", "/etc/sudoers.d"]);
    },
    LIMIT,
  );

  test.each([
    [
      ["chown", "nobody", "/opt/limanet/bin"],
      /`paths\.socketVMNet` error: folder \/opt\/limanet\/bin does not belong to root \(owner 65534, group 0, mode 0755\): sudo chown root \/opt\/limanet\/bin/,
      ["chown", "root", "/opt/limanet/bin"],
    ],
    [
      ["chmod", "777", "/opt/limanet"],
      /folder \/opt\/limanet can be written by .*mode 0777\): sudo chmod go-w/,
      ["chmod", "755", "/opt/limanet"],
    ],
    [
      ["chmod", "o+w", PROGRAM],
      /file \/opt\/limanet\/bin\/socket_vmnet can be written by everybody/,
      ["chmod", "755", PROGRAM],
    ],
    [
      ["chmod", "o+w", "/run"],
      /`paths\.varRun` error: folder \/run can be written by everybody/,
      ["chmod", "o-w", "/run"],
    ],
    [
      ["chown", "nobody", SUDOERS],
      /`paths\.sudoers` error: file \/etc\/sudoers\.d\/limanet does not belong/,
      ["chown", "root", SUDOERS],
    ],
  ])("after %j nothing is asked of root", async (spoil, sentence, repair) => {
    await etc.must(spoil);
    const said = await refused();
    await etc.must(repair);
    expect(said).toMatch(sentence);
    expect(said).not.toContain("running: sudo");
    expect((await home.limanet("sudoers", "--check")).code).toBe(0);
  });

  test(
    "two machines get addresses and reach each other; the daemon ends with the second",
    async () => {
      const first = await home.limanet("start", "--name", "alpha", onShared());
      expect(first.stderr).toContain(
        "running: sudo --user root --group root --non-interactive /bin/mkdir -m 775 -p /run/limanet",
      );
      expect(first.stderr).toContain(`running: ${START}`);
      expect(first.code).toBe(0);
      const pid = await daemon();
      expect(pid).toBeGreaterThan(0);
      expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(
        /^Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0$/m,
      );
      const log = join(home.limanetHome, "_networks/shared_socket_vmnet.stderr.log");
      expect(readFileSync(log, "utf8")).toContain("network ready mode=shared ");

      await home.must("start", "--name", "beta", onShared());
      expect(await daemon()).toBe(pid);
      const [alpha, beta] = [await addressOf("alpha", "lima0"), await addressOf("beta", "lima0")];
      expect(alpha).toMatch(/^192\.168\.105\./);
      expect(alpha).not.toBe(beta);
      expect(await home.must("shell", "alpha", "/usr/bin/ping", "-c", "2", beta)).toContain(
        " 0% packet loss",
      );
      // at their own addresses: from the host, to the outside, and not from there
      await etc.must(["ping", "-c", "1", "-W", "2", alpha]);
      await etc.must(["ping", "-c", "1", "-W", "2", beta]);
      await home.must("shell", "alpha", "/usr/bin/ping", "-c", "1", OUTSIDE);
      expect(await home.must("shell", "alpha", "ip", "route", "get", OUTSIDE)).toContain(
        "dev lima0",
      );
      await etc.must(outside("ip", "route", "add", "192.168.105.0/24", "via", "203.0.113.2"));
      expect((await etc.root(outside("ping", "-c", "1", "-W", "1", alpha))).code).toBe(1);
      const asked = ["nslookup", "lima-beta.internal", "192.168.105.1"];
      expect(await home.must("shell", "alpha", ...asked)).toContain(beta);
      // the first card is on the default network all the same
      expect(await home.must("shell", "beta", "ip", "-4", "addr", "show", "eth0")).toContain(
        "192.168.5.15/24",
      );
      const shown = JSON.parse(await home.must("network", "show", "--json", "shared"));
      expect(shown).toMatchObject({ mode: "shared", socket: SOCKET, daemon: "running", pid });
      const { stdout } = await home.run(["pgrep", "-af", "qemu-system.*lima-alpha"]);
      // one that cannot connect twice listens
      expect(stdout).toMatch(
        /stream,id=net1,server=(on,addr\.type=unix,addr\.path=\S+\/net1\.sock |off,addr\.type=unix,addr\.path=\/run\/limanet\/socket_vmnet\.shared,reconnect)/,
      );

      await home.must("stop", "alpha");
      expect(await daemon()).toBe(pid);
      await home.must("stop", "beta");
      expect(await daemon()).toBe(0);
      expect((await etc.root(["cat", PID_FILE])).code).not.toBe(0);
      await home.must("delete", "alpha", "beta");
    },
    LIMIT,
  );

  test(
    "a guest that gets no address on the network is told about, and runs all the same",
    async () => {
      await installProgram(`#!/bin/sh\nexec ${REAL} --vmnet-disable-dhcp "$@"\n`);
      const { code, stderr } = await home.limanet("start", "--name", "vm", onShared());
      expect(stderr).toContain(
        "warning: The guest has got no address on shared within 15 s: its system may not ask for one",
      );
      expect(stderr.split("no address")).toHaveLength(2);
      expect(code).toBe(0);
      expect((await home.list())[0]).toMatchObject({ name: "vm", status: "Running" });
      await home.must("delete", "--force", "vm");
    },
    LIMIT,
  );

  test(
    "a daemon that is killed under a machine is started again, and the machine is where it was",
    async () => {
      await home.must("start", "--name", "vm", onShared());
      const address = await addressOf("vm", "lima0");
      for (let kills = 0; kills < 2; kills++) {
        const before = await daemon();
        await etc.must(["kill", "-9", String(before)]);
        await answers(address);
        expect(await daemon()).not.toBe(before);
      }
      expect(await addressOf("vm", "lima0")).toBe(address);
      await home.must("delete", "--force", "vm");
      expect(await daemon()).toBe(0);
    },
    LIMIT,
  );

  test(
    "a machine on host and bridged: reached by the host, and from the local network",
    async () => {
      writeFileSync(networksFile, networksText.replace(/interface: \S+/, "interface: up0"));
      await installSudoers();
      const before = await etc.must(["ip", "-br", "addr"]);
      const cards = guest("networks: [{ lima: host }, { lima: bridged }]");
      await home.must("start", "--name", "vm", cards);
      const own = await addressOf("vm", "lima0");
      const local = await addressOf("vm", "lima1");
      expect(own).toMatch(/^192\.168\.106\./);
      expect(local).toMatch(/^203\.0\.113\.1\d\d$/);
      await etc.must(["ping", "-c", "1", "-W", "2", own]);
      await etc.must(outside("ping", "-c", "1", "-W", "2", local));
      expect(await home.must("shell", "vm", "ip", "route")).not.toContain("via 192.168.106.");
      await home.must("stop", "vm");
      expect(await daemon()).toBe(0);
      expect(await etc.must(["ip", "-br", "addr"])).toBe(before);
      expect((await etc.must(["nft", "list", "ruleset"])).trim()).toBe("");
      await home.must("delete", "vm");
    },
    LIMIT,
  );

  test.each([
    ["limanet vmnet", REAL],
    ["another program that speaks QEMU's framing", FOREIGN],
  ])(
    "socket: a machine is attached to what serves there, and root is asked for nothing: %s",
    async (_what, program) => {
      const socket = "/run/other/net.sock";
      await etc.must(["mkdir", "-p", "/run/other"]);
      const words = [
        "--vmnet-mode=shared",
        "--vmnet-gateway=192.168.105.1",
        "--vmnet-mask=255.255.255.0",
      ];
      const serve = async () => {
        const files = [`--pidfile=${socket}.pid`, "--socket-group=nogroup"];
        const child = Bun.spawn([...etc.enter, program, ...files, ...words, socket], {
          stderr: "ignore",
        });
        // a socket that a killed one has left counts for nothing
        while ((await etc.root(["cat", `${socket}.pid`])).stdout.trim() !== String(child.pid))
          await Bun.sleep(20);
        while ((await etc.root(["test", "-S", socket])).code !== 0) await Bun.sleep(20);
        return child;
      };
      let server = await serve();
      const { code, stderr } = await home.limanet(
        ...["start", "--name", "vm", guest(`networks: [{ socket: ${socket} }]`)],
      );
      expect(code).toBe(0);
      expect(stderr).not.toContain("running: sudo");
      const address = await addressOf("vm", "lima0");
      expect(address).toMatch(/^192\.168\.105\./);
      if (program === REAL) {
        await answers(address);
        server.kill("SIGKILL");
        await server.exited;
        server = await serve();
        await answers(address);
      }
      await home.must("delete", "--force", "vm");
      server.kill("SIGTERM");
      expect(await server.exited).toBe(0);
    },
    LIMIT,
  );

  /** Has limanet start and end a machine on the network that boots nothing; what was said. */
  const passing = async () => {
    const { stderr } = await home.limanet("start", "--name", "vm", "--timeout", "1", onShared());
    await home.must("delete", "--force", "vm");
    return stderr;
  };

  test(
    "what a daemon warns of when it comes up is handed on",
    async () => {
      await installProgram(`#!/bin/sh
echo 'time="2026-01-01" level=warn msg="Docker drops \\"them\\""' >&2
exec /opt/limanet/bin/switch "$@"
`);
      const said = await passing();
      expect(said).toContain('level=warn msg="Docker drops \\"them\\""');
    },
    LIMIT,
  );

  test(
    "a daemon that ends is started again",
    async () => {
      await installProgram(`#!/bin/sh
echo "attempt" >>/run/attempts
if [ "$(wc -l </run/attempts)" -lt 3 ]; then echo "no luck" >&2; exit 3; fi
exec ${REAL} "$@"
`);
      const said = await passing();
      expect(said.split(`running: ${START}`)).toHaveLength(4);
      expect(said).toContain(WENT_ON);
      expect(await daemon()).toBe(0);
    },
    LIMIT,
  );

  test(
    "after a start that was killed halfway the next one goes through, and one daemon is there",
    async () => {
      await installProgram(`#!/bin/sh\nsleep 1\nexec ${REAL} "$@"\n`);
      const killed = home.spawn([home.path("limanet"), "start", "--name", "vm", onShared()]);
      let said = "";
      for await (const chunk of killed.stderr) {
        said += new TextDecoder().decode(chunk);
        if (said.includes(START)) break;
      }
      killed.kill("SIGKILL");
      await killed.exited;
      expect(await daemon()).toBe(0);
      await home.must("start", "vm");
      const pid = await daemon();
      expect(pid).toBeGreaterThan(0);
      expect(await etc.must(["cat", PID_FILE])).toBe(String(pid));
      await home.must("delete", "--force", "vm");
      expect(await daemon()).toBe(0);
    },
    LIMIT,
  );

  test(
    "a pid file with somebody else's number is in nobody's way, and he lives on",
    async () => {
      const other = Bun.spawn(["sleep", "infinity"], { stdio: ["ignore", "ignore", "ignore"] });
      bystander = other;
      await etc.write(PID_FILE, String(other.pid));
      const said = await passing();
      expect(said).toContain(`running: ${START}`);
      expect(said).toContain(WENT_ON);
      expect(await daemon()).toBe(0);

      // daemon and host agent are killed under a machine, and the daemon's number is given away
      await home.must("start", "--name", "vm", onShared());
      process.kill((await home.list())[0]!.hostAgentPID, "SIGKILL");
      await etc.must(["kill", "-9", String(await daemon())]);
      await etc.write(PID_FILE, String(other.pid));
      await home.must("stop", "--force", "vm");
      expect(other.exitCode).toBe(null);
      await etc.must(["rm", PID_FILE]);
      await home.must("start", "vm");
      expect(await daemon()).toBeGreaterThan(0);
      await home.must("delete", "--force", "vm");
      expect(await daemon()).toBe(0);
      expect(other.exitCode).toBe(null);
    },
    LIMIT,
  );

  test(
    "a daemon that limanet has not started is used and left alone",
    async () => {
      const sudoStart = START.split(" ").slice(6);
      await etc.must(["mkdir", "-p", "/run/limanet"]);
      const own = Bun.spawn([...etc.enter, ...sudoStart], { stderr: "ignore" });
      while ((await etc.root(["test", "-S", SOCKET])).code !== 0) await Bun.sleep(20);
      const said = await passing();
      expect(said).toContain(WENT_ON);
      expect(said).not.toContain(START);
      expect(await daemon()).toBe(own.pid);
      own.kill("SIGTERM");
      await own.exited;
    },
    LIMIT,
  );

  test(
    "a user whom sudo obeys but the socket's group does not know is told",
    async () => {
      writeFileSync(networksFile, networksText.replace(/^group: .*$/m, "group: daemon"));
      await installSudoers();
      const notIn = await refused();
      expect(notIn).toMatch(/as root: .*password is required.*members of the group daemon/);
      await etc.write("/etc/sudoers.d/z", "nobody ALL=(ALL:ALL) NOPASSWD: ALL\n", "440");
      const { stderr } = await home.limanet("start", "--name", "vm", onShared());
      expect(stderr).toContain(
        `Cannot attach to the network shared: only members of the group daemon may connect to ${SOCKET}`,
      );
      await home.must("delete", "--force", "vm");
      expect(await daemon()).toBe(0);

      // for him no file is needed
      await etc.must(["rm", SUDOERS]);
      expect((await home.limanet("sudoers", "--check")).code).toBe(0);
      writeFileSync(networksFile, networksText.replace(/^ *sudoers: .*\n/m, ""));
      expect((await home.limanet("sudoers", "--check")).stderr).toContain(
        `no sudoers file defined in \`${networksFile}\``,
      );
      expect(await passing()).toContain(WENT_ON);
      await etc.must(["rm", "/etc/sudoers.d/z"]);
      expect(await refused()).toContain("sudo wants a password (set paths.sudoers");
    },
    LIMIT,
  );

  test(
    "deleting a network ends its daemon",
    async () => {
      await home.must("start", "--name", "vm", onShared());
      expect(await daemon()).toBeGreaterThan(0);
      expect((await home.limanet("network", "delete", "shared")).code).toBe(1);
      await home.must("network", "delete", "--force", "shared");
      expect(await daemon()).toBe(0);
      expect(existsSync(join(home.limanetHome, "_networks/shared_socket_vmnet.started"))).toBe(
        false,
      );
    },
    LIMIT,
  );
});
