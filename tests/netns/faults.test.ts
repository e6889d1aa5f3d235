/** What the host does to a daemon that runs: no room, no descriptors, no way, another time, no time at all. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  canMakeNamespaces,
  FAR_ADDRESS,
  GATEWAY,
  Lab,
  NETTOOL,
  type Guest,
  type Outcome,
} from "../support/lab.ts";
import { until } from "../support/until.ts";

const ECHO = 7001;
const LIMIT = 60_000;

/** Says words of 10 octets and wants each back before the next; "whole", or how it ended. */
const TALK = `
import socket, sys, time
host, port, words, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
c = socket.create_connection((host, port), 10)
c.settimeout(20)
print("connected", flush=True)
for n in range(words):
    word = b"%09d\\n" % n
    c.sendall(word)
    got = b""
    while len(got) < len(word):
        piece = c.recv(len(word) - len(got))
        if not piece: raise SystemExit("closed at %d" % n)
        got += piece
    if got != word: raise SystemExit("changed at %d: %r" % (n, got))
    time.sleep(pause)
print("whole")`;
const WHOLE = { code: 0, stdout: "connected\nwhole\n", stderr: "" };

const talk = (guest: Guest, words: number, pause = 0.02, to = FAR_ADDRESS): Promise<Outcome> =>
  guest.run("python3", "-c", TALK, to, String(ECHO), String(words), String(pause));
const serveEcho = (lab: Lab) =>
  lab.far.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), FAR_ADDRESS);
const leasesOf = async (lab: Lab) =>
  JSON.parse((await lab.api("GET", "/leases")).body) as Record<string, string>;
const run = (...words: string[]) => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(words);
  return { code: exitCode, text: stdout.toString() + stderr.toString() };
};
const must = (...words: string[]) => {
  const { code, text } = run(...words);
  if (code !== 0) throw new Error(`${words.join(" ")}: ${text}`);
  return text;
};

describe.skipIf(!canMakeNamespaces)("when no descriptor is left", () => {
  let lab: Lab;
  let guest: Guest;
  beforeAll(async () => {
    lab = await Lab.open();
    await serveEcho(lab);
    guest = await lab.guest();
    await guest.dhcp();
  });
  afterAll(() => lab.close());

  /** hundredths of a second that the processor has worked for the daemon */
  const work = () => {
    const [, fields] = readFileSync(`/proc/${lab.pid}/stat`, "utf8").split(") ");
    const words = fields!.split(" ");
    return Number(words[11]) + Number(words[12]);
  };

  test(
    "what is connected goes on, what wants to connect waits without work for the processor, and gets its turn",
    async () => {
      const conversation = talk(guest, 200);
      await until(async () => (await lab.stats())["tcpFlows"] === 1);
      must("prlimit", "--pid", String(lab.pid), "--nofile=3:");
      const api = lab.api("GET", "/stats").catch(() => ({ status: 0 }));
      const another = lab.guest();
      const refused = await talk(guest, 1);
      expect(refused.stderr).toContain("ConnectionRefusedError");
      await conversation.then((outcome) => expect(outcome).toEqual(WHOLE));
      await api;
      const before = work();
      await Bun.sleep(2000);
      expect(work() - before).toBeLessThan(50);
      must("prlimit", "--pid", String(lab.pid), "--nofile=10000:");
      expect((await (await another).dhcp())["ip"]).toStartWith("192.168.104.");
      await until(() =>
        lab.api("GET", "/stats").then(
          ({ status }) => status === 200,
          () => false,
        ),
      );
      expect(await talk(guest, 3)).toEqual(WHOLE);
    },
    LIMIT,
  );
});

describe.skipIf(!canMakeNamespaces)("when the disk is full", () => {
  let lab: Lab;
  const disk = (name = "") => join(lab.folder, "disk", name);
  beforeAll(async () => {
    lab = await Lab.openBy((folder) => {
      mkdirSync(join(folder, "disk"));
      must("mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", join(folder, "disk"));
      const at = (name: string) => join(folder, "disk", name);
      return {
        by: [],
        log: at("log"),
        options: ["--lease-file", at("leases"), "--capture", at("capture")],
      };
    });
    await serveEcho(lab);
  });
  afterAll(async () => {
    must("umount", "--lazy", disk());
    await lab.close();
  });

  test(
    "leases, log and capture wait for room, and nothing of them is cut or lost but frames",
    async () => {
      const first = await lab.guest();
      const ip = (await first.dhcp())["ip"]!;
      run("dd", "if=/dev/zero", `of=${disk("filler")}`, "bs=64k");
      const stored = readFileSync(disk("leases"), "utf8");
      const second = await lab.guest();
      const other = (await second.dhcp())["ip"]!;
      expect(readFileSync(disk("leases"), "utf8")).toBe(stored);
      expect(await talk(first, 50, 0)).toEqual(WHOLE);
      // more than the ring of a capture holds
      const much = await first.run(NETTOOL, "xfer", FAR_ADDRESS, String(ECHO), "4", "2", "1000000");
      expect(JSON.parse(much.stdout)).toMatchObject({ ok: 4 });
      expect(run("tcpdump", "-n", "-r", disk("capture")).code).toBe(0);
      rmSync(disk("filler"));
      const log = () => readFileSync(disk("log"), "utf8");
      await until(() => log().includes("are stored in"));
      expect(readFileSync(disk("leases"), "utf8")).toContain(`"ip":"${other}"`);
      expect(readFileSync(disk("leases"), "utf8")).toContain(`"ip":"${ip}"`);
      expect(log()).toMatch(/Cannot write \S+leases: the disk is full \(free some space/);
      expect(log().match(/guest attached/g)).toHaveLength(2);
      for (const line of log().trimEnd().split("\n")) expect(line).toMatch(/^time="[^"]+" level=/);
      await lab.api("POST", "/limanet/capture", { path: null });
      expect(run("tcpdump", "-n", "-r", disk("capture")).code).toBe(0);
      expect(log()).toMatch(/Cannot write \S+capture: the disk is full/);
    },
    LIMIT,
  );

  test("a home that becomes read-only costs no lease while the daemon runs, and a sentence when it starts", async () => {
    const home = join(lab.folder, "home");
    mkdirSync(home);
    must("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", home);
    const own = await Lab.openBy(() => ({
      by: [],
      options: ["--lease-file", join(home, "leases")],
    }));
    try {
      const guest = await own.guest();
      const { ip } = await guest.dhcp();
      must("mount", "-o", "remount,ro", home);
      const second = await own.guest();
      const { ip: other } = await second.dhcp();
      expect(await leasesOf(own)).toMatchObject({ [ip!]: expect.anything() });
      await until(() => own.log.includes("the file system is read-only"));
      const start = await own.host.run(
        ...[join(import.meta.dir, "../../dist/limanet"), "usernet"],
        ...["-p", join(home, "pid"), "-e", join(home, "api"), "--subnet", "192.168.105.0/24"],
      );
      expect(start.code).toBe(1);
      expect(start.stderr).toContain("the file system is read-only (choose another LIMANET_HOME");
      must("mount", "-o", "remount,rw", home);
      await until(() => own.log.includes("are stored in"));
      expect(readFileSync(join(home, "leases"), "utf8")).toContain(`"ip":"${other}"`);
    } finally {
      await own.close();
      must("umount", "--lazy", home);
    }
  });
});

describe.skipIf(!canMakeNamespaces)("a capture whose disk is slow", () => {
  test(
    "holds up nothing, and is whole as far as it goes",
    async () => {
      const lab = await Lab.open();
      try {
        await serveEcho(lab);
        const guest = await lab.guest();
        await guest.dhcp();
        const pipe = join(lab.folder, "pipe");
        must("mkfifo", pipe);
        const refused = await lab.api("POST", "/limanet/capture", { path: pipe });
        expect(refused).toEqual({
          status: 500,
          body: `Cannot write ${pipe}: nobody reads from this pipe (start its reader first)\n`,
        });
        const reader = openSync(pipe, "r+");
        expect((await lab.api("POST", "/limanet/capture", { path: pipe })).status).toBe(200);
        const words = [NETTOOL, "xfer", FAR_ADDRESS, String(ECHO), "8", "2", "3000000"];
        const { stdout } = await guest.run(...words);
        expect(JSON.parse(stdout)).toMatchObject({ ok: 8 });
        expect(await talk(guest, 20)).toEqual(WHOLE);
        // what stands in the pipe and in the ring comes when it is read
        const tcpdump = Bun.spawn(["tcpdump", "-n", "-r", pipe], { stdout: "pipe" });
        await guest.run("ping", "-c", "1", GATEWAY);
        expect((await lab.api("POST", "/limanet/capture", { path: null })).status).toBe(200);
        closeSync(reader);
        const text = await new Response(tcpdump.stdout).text();
        expect(text).toContain(`${FAR_ADDRESS}.${ECHO}: Flags [S]`);
        expect(await tcpdump.exited).toBe(0);
      } finally {
        await lab.close();
      }
    },
    LIMIT,
  );
});

describe.skipIf(!canMakeNamespaces)("when the wall clock is set", () => {
  const HOUR = 3600;
  let lab: Lab;
  let guest: Guest;
  let ip: string;
  /** off by these seconds, in the daemon alone */
  const setClock = (seconds: number) =>
    writeFileSync(join(lab.folder, "clock"), new BigInt64Array([BigInt(seconds)]), { flag: "r+" });
  beforeAll(async () => {
    lab = await Lab.openBy((folder) => {
      writeFileSync(join(folder, "clock"), new BigInt64Array(1));
      const library = join(import.meta.dir, "../../.cache/side-by-side/wall-clock.so");
      return {
        by: ["env", `LD_PRELOAD=${library}`, `WALL_CLOCK=${join(folder, "clock")}`],
        options: ["--lease-file", join(folder, "leases")],
      };
    });
    await lab.host.serve(
      ...(["udp", 53, "dnsmasq", "-d", "-C", "/dev/null", "-R", "-h", "-i", "lo", "-z"] as const),
      ...["-u", "root", "--log-queries", "--local-ttl=600", "--address=/a.example.test/192.0.2.1"],
    );
    await serveEcho(lab);
    guest = await lab.guest();
    ip = (await guest.dhcp())["ip"]!;
  });
  afterAll(() => lab.close());
  const dig = async (name: string) =>
    (await guest.run("dig", "+noall", "+answer", name, `@${GATEWAY}`)).stdout;

  test.each([
    ["two hours forward", 2 * HOUR],
    ["three hours back", -HOUR],
    ["back to what it was", 0],
  ])("%s: leases are in force, the DNS cache counts on, connections go on", async (_name, to) => {
    const conversation = talk(guest, 50);
    const name = `n${to + 10_000}.a.example.test`;
    expect(await dig(name)).toContain("192.0.2.1");
    const stamps = () => lab.log.match(/time="[^"]+"/g)!;
    setClock(to);
    const other = await lab.guest();
    const { ip: given, lease } = await other.dhcp();
    expect(lease).toBe("3600");
    expect(Object.keys(await leasesOf(lab))).toEqual(expect.arrayContaining([ip, given!]));
    // the log tells the wall clock's time: the daemon sees it
    const seen = Date.parse(/"([^"]+)"/.exec(stamps().at(-1)!)![1]!) - Date.now();
    expect(Math.abs(seen / 1000 - to)).toBeLessThan(60);
    const seconds = Number((await dig(name)).split(/\s+/)[1]);
    expect(seconds).toBeGreaterThan(500);
    expect(seconds).toBeLessThanOrEqual(600);
    await conversation.then((outcome) => expect(outcome).toEqual(WHOLE));
    await lab.unplug();
  });

  test("a daemon that starts after that gives everybody the address they had", async () => {
    const again = await lab.guest({ mac: "52:55:55:00:00:77", reconnects: true });
    const before = (await again.dhcp())["ip"];
    setClock(-24 * HOUR);
    await lab.kill();
    await lab.start();
    const end = Date.now() - 24 * HOUR * 1000 + HOUR * 1000;
    const stored = JSON.parse(readFileSync(join(lab.folder, "leases"), "utf8")) as unknown[];
    expect(stored.length).toBeGreaterThan(1);
    expect((await again.dhcp())["ip"]).toBe(before!);
    const now = JSON.parse(readFileSync(join(lab.folder, "leases"), "utf8")) as {
      expiresAt: number;
    }[];
    // those of the other time end no later than one that is given now
    for (const { expiresAt } of now) expect(expiresAt).toBeLessThan(end + 60_000);
  });
});

describe.skipIf(!canMakeNamespaces)("when the daemon is stopped for seconds (SIGSTOP)", () => {
  test(
    "conversations go on, leases are kept, and its timers make no storm",
    async () => {
      const lab = await Lab.open();
      try {
        await serveEcho(lab);
        const guest = await lab.guest();
        const { ip } = await guest.dhcp();
        const conversations = Promise.all([1, 2, 3].map(() => talk(guest, 150)));
        const held = guest.run(NETTOOL, "hold", FAR_ADDRESS, String(ECHO), "200", "20");
        await until(async () => (await lab.stats())["tcpFlows"] === 203);
        process.kill(lab.pid, "SIGSTOP");
        await Bun.sleep(5000);
        process.kill(lab.pid, "SIGCONT");
        for (const outcome of await conversations) expect(outcome).toEqual(WHOLE);
        const sent = (await lab.stats())["framesSent"]!;
        await Bun.sleep(1000);
        // 200 connections that say nothing
        expect((await lab.stats())["framesSent"]! - sent).toBeLessThan(50);
        expect(JSON.parse((await held).stdout)).toMatchObject({ held: 200, failed: 0 });
        expect(Object.keys(await leasesOf(lab))).toContain(ip!);
        expect((await guest.dhcp())["ip"]).toBe(ip!);
      } finally {
        await lab.close();
      }
    },
    LIMIT,
  );
});

describe.skipIf(!canMakeNamespaces)("what the host's sockets say when they fail", () => {
  const OTHER = "198.51.100.9";
  let lab: Lab;
  let guest: Guest;
  beforeAll(async () => {
    lab = await Lab.open();
    await serveEcho(lab);
    guest = await lab.guest();
    await guest.dhcp();
    // who says nothing is given up after 3 s
    await lab.host.set("net.ipv4.tcp_syn_retries", "1");
  });
  afterAll(() => lab.close());

  const nft = (...words: string[]) => lab.host.run("nft", ...words);
  /** Rules for what leaves the host; the kernel says EPERM to whoever sends what is dropped. */
  const rule = async (verdict: string) => {
    const text = `table ip t { chain c { type filter hook output priority 0; ip daddr ${OTHER} ${verdict}; }; }`;
    const { code, stderr } = await nft(text);
    if (code !== 0) throw new Error(stderr);
    return async () => void (await nft("delete", "table", "ip", "t"));
  };
  const route = async (kind: string, ...more: string[]) => {
    await lab.host.ip("route", "add", kind, OTHER, ...more);
    return () => lab.host.ip("route", "del", kind, OTHER);
  };

  /** the word for what connect() says to a guest */
  const connect = async (to: string, port = 80) => {
    const { stdout } = await guest.run(
      "python3",
      "-c",
      `
import errno, socket
s = socket.socket(); s.settimeout(20)
try: s.connect(("${to}", ${port})); print("connected")
except OSError as e: print(errno.errorcode.get(e.errno, str(e)))`,
    );
    return stdout.trim();
  };

  test.each<[string, () => Promise<() => Promise<void>>, string]>([
    ["EHOSTUNREACH, of a route", () => route("unreachable"), "EHOSTUNREACH"],
    ["ENETUNREACH, of a route", () => route("throw"), "EHOSTUNREACH"],
    ["EACCES, of a route", () => route("prohibit"), "ECONNREFUSED"],
    ["EINVAL, of a route", () => route("blackhole"), "ECONNREFUSED"],
    ["ECONNREFUSED, by a rule", () => rule("reject with tcp reset"), "ECONNREFUSED"],
    ["EHOSTUNREACH, by a rule", () => rule("reject with icmp host-unreachable"), "EHOSTUNREACH"],
    ["ETIMEDOUT, by a rule that drops", () => rule("drop"), "ECONNREFUSED"],
    [
      "EADDRNOTAVAIL, as all ports are in use",
      async () => {
        await lab.host.set("net.ipv4.ip_local_port_range", "40000 40001");
        // connections of earlier tests that have just ended may still have a port of the two
        const taken = `import errno, socket, time
held = []
try:
    while True: held.append(socket.create_connection(("${FAR_ADDRESS}", ${ECHO})))
except OSError as why:
    if why.errno != errno.EADDRNOTAVAIL: raise
print("held", flush=True)
time.sleep(60)`;
        const holder = lab.host.spawn("python3", "-c", taken);
        let text = "";
        for await (const chunk of holder.stdout) {
          text += new TextDecoder().decode(chunk);
          if (text.includes("held")) break;
        }
        expect(text).toContain("held");
        return async () => {
          holder.kill("SIGKILL");
          await holder.exited;
          await lab.host.set("net.ipv4.ip_local_port_range", "32768 60999");
        };
      },
      "EHOSTUNREACH",
    ],
  ])(
    "%s: the guest is told, and the next connection works",
    async (what, make, told) => {
      const undo = await make();
      const to = what.startsWith("EADDRNOTAVAIL") ? [FAR_ADDRESS, ECHO] : [OTHER, 80];
      const said = await connect(to[0] as string, to[1] as number);
      await undo();
      expect(said).toBe(told);
      expect(await talk(guest, 2)).toEqual(WHOLE);
      await until(async () => (await lab.stats())["tcpFlows"] === 0);
    },
    LIMIT,
  );

  test("EPERM and ENOBUFS for datagrams: they are lost and counted, and the next ones go", async () => {
    const failed = async () => (await lab.stats())["udp-send-failed"] ?? 0;
    // each longer than the one before: of several that leave with one call a queue tells nothing if it takes a part
    const send = (to: string, datagrams: number) =>
      guest.run(
        "python3",
        "-c",
        `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(${datagrams}): s.sendto(b"x" * (1200 + n), ("${to}", 9))`,
      );
    const undo = await rule("drop");
    await send(OTHER, 3);
    await until(async () => (await failed()) === 3);
    await undo();
    const queue = ["dev", "eth0", "root", "tbf", "rate", "8kbit", "burst", "1540", "limit", "1540"];
    expect((await lab.host.run("tc", "qdisc", "add", ...queue)).code).toBe(0);
    await send(FAR_ADDRESS, 50);
    await until(async () => (await failed()) > 3);
    await lab.host.run("tc", "qdisc", "del", "dev", "eth0", "root");
    const echo = await lab.far.serve("udp", 9, NETTOOL, "udpecho", "9", FAR_ADDRESS);
    const answered = await guest.run(
      "python3",
      "-c",
      `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
s.connect(("${FAR_ADDRESS}", 9)); s.send(b"ask"); print(s.recv(9).decode())`,
    );
    expect(answered.stdout).toBe("ask\n");
    echo.kill("SIGKILL");
  });

  test("ECONNRESET and EPIPE in the midst of a stream: the guest sees a reset, and others go on", async () => {
    const conversation = talk(guest, 100);
    const kill = `
import socket, struct
l = socket.create_server(("${FAR_ADDRESS}", 7009))
while True:
    c, _ = l.accept(); c.recv(1)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close()`;
    await lab.far.serve("tcp", 7009, "python3", "-c", kill);
    const { stdout } = await guest.run(
      "python3",
      "-c",
      `
import errno, socket
c = socket.create_connection(("${FAR_ADDRESS}", 7009))
try:
    while True: c.sendall(b"x" * 65536)
except OSError as e: print(errno.errorcode[e.errno])`,
    );
    expect(["ECONNRESET\n", "EPIPE\n"]).toContain(stdout);
    expect(await conversation).toEqual(WHOLE);
  });
});

describe.skipIf(!canMakeNamespaces)("when the upstream name server is dead", () => {
  test(
    "questions get SERVFAIL before the client gives up, and answers again as soon as it is back",
    async () => {
      const lab = await Lab.open();
      try {
        const words = [
          "dnsmasq",
          "-d",
          "-C",
          "/dev/null",
          "-R",
          "-h",
          "-i",
          "lo",
          "-z",
          "-u",
          "root",
        ];
        const serve = () =>
          lab.host.serve("udp", 53, ...words, "--address=/example.test/192.0.2.1");
        let server = await serve();
        const guest = await lab.guest();
        await guest.dhcp();
        let asked = 0;
        const dig = async (seconds: number, type = "a") =>
          (
            await guest.run(
              ...["dig", "+tries=1", `+time=${seconds}`, "+noall", "+comments", type],
              ...[`n${asked++}.example.test`, `@${GATEWAY}`],
            )
          ).stdout;
        expect(await dig(5)).toContain("status: NOERROR");
        for (const death of ["killed", "silent"]) {
          if (death === "killed") {
            server.kill("SIGKILL");
            await server.exited;
          } else process.kill(server.pid, "SIGSTOP");
          for (const type of ["a", "mx"]) expect(await dig(5, type)).toContain("status: SERVFAIL");
          if (death === "killed") server = await serve();
          else process.kill(server.pid, "SIGCONT");
          // who asks once, and waits a second
          expect(await dig(1)).toContain("status: NOERROR");
          // it has none of those, and says so itself
          expect(await dig(1, "mx")).toContain("status: REFUSED");
        }
      } finally {
        await lab.close();
      }
    },
    LIMIT,
  );
});
