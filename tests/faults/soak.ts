/**
 * Mixed traffic against a running daemon for some minutes, in network namespaces, and whether anything of it stays: descriptors,
 * threads, memory, wake-ups of timers, entries of tables. Called by scripts/soak; exit code 1 on a leak.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FAR_ADDRESS, GATEWAY, HOST_ADDRESS, Lab, NETTOOL, plugIn } from "../support/lab.ts";
import { Load, serveEcho, told } from "./load.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);
const complain = (line: string) => process.stderr.write(`${line}\n`);

const MINUTES = Number(process.argv[2] ?? 30);
const ECHO = 7001;
const BULK = 7002;
const INNER = 7003;
const SHORT = 7004;
const WARM_UP_MS = 60_000;
const SAMPLE_MS = 60_000;
/** the idle limit of UDP is 90 s */
const DRAIN_MS = 180_000;
const NAMES = "soak.example.test";
const ADDRESS = "192.0.2.33";

interface Sample {
  descriptors: number;
  threads: number;
  /** MiB */
  memory: number;
  tcp: number;
  udp: number;
  socks: number;
  guests: number;
}

const lab = await Lab.openBy((folder) => ({
  by: [],
  options: ["--lease-file", join(folder, "leases")],
}));
const problems: string[] = [];

async function sample(): Promise<Sample> {
  const stats = await lab.stats();
  const status = readFileSync(`/proc/${lab.pid}/status`, "utf8");
  return {
    descriptors: readdirSync(`/proc/${lab.pid}/fd`).length,
    threads: readdirSync(`/proc/${lab.pid}/task`).length,
    memory: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 102.4) / 10,
    tcp: stats["tcpFlows"]!,
    udp: stats["datagramFlows"]!,
    socks: stats["socksConnections"]!,
    guests: stats["ports"]!,
  };
}

/** times that the threads have gone to sleep in ten seconds in which nothing is asked of them */
async function wakeUps(): Promise<number> {
  const tasks = () => readdirSync(`/proc/${lab.pid}/task`);
  const sleeps = (task: string) => {
    const text = readFileSync(`/proc/${lab.pid}/task/${task}/status`, "utf8");
    return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(text)![1]);
  };
  const before = new Map(tasks().map((task) => [task, sleeps(task)]));
  await Bun.sleep(10_000);
  return tasks().reduce((sum, task) => sum + sleeps(task) - (before.get(task) ?? 0), 0);
}

/** Waits until the tables are empty, and a collection of garbage later. */
async function idle(guests: number): Promise<Sample> {
  const limit = performance.now() + DRAIN_MS;
  for (;;) {
    const now = await sample();
    if (now.tcp + now.udp + now.socks === 0 && now.guests === guests) break;
    if (performance.now() > limit) {
      problems.push(`the tables are not empty after ${DRAIN_MS / 1000} s: ${JSON.stringify(now)}`);
      break;
    }
    await Bun.sleep(1000);
  }
  await Bun.sleep(15_000);
  return sample();
}

const row = (when: string, of: Sample) =>
  say(
    `| ${when.padStart(8)} | ${String(of.descriptors).padStart(5)} | ${String(of.threads).padStart(5)} | ${of.memory.toFixed(1).padStart(6)} | ${String(of.tcp).padStart(5)} | ${String(of.udp).padStart(5)} | ${String(of.socks).padStart(5)} | ${String(of.guests).padStart(6)} |`,
  );

const counts: Record<string, number> = {};
const done = (what: string, number = 1) => (counts[what] = (counts[what] ?? 0) + number);
let isOver = false;

/** Does something again and again; what goes wrong in it ends the soak with its name. */
async function again(name: string, pauseMs: number, work: () => Promise<void>): Promise<void> {
  while (!isOver) {
    try {
      await work();
      done(name);
    } catch (error) {
      if (!isOver) problems.push(`${name}: ${(error as Error).message}`);
    }
    await Bun.sleep(pauseMs);
  }
}

function check(what: string, holds: boolean): void {
  if (!holds) throw new Error(what);
}

try {
  await lab.host.serve(
    ...(["udp", 53, "dnsmasq", "-d", "-C", "/dev/null", "-R", "-h", "-i", "lo", "-z"] as const),
    ...["-u", "root", "--local-ttl=60", `--address=/${NAMES}/${ADDRESS}`],
  );
  await serveEcho(lab.far, FAR_ADDRESS, ECHO);
  await lab.far.serve("tcp", BULK, NETTOOL, "serve", String(BULK), FAR_ADDRESS);
  await lab.far.serve("tcp", SHORT, NETTOOL, "serve", String(SHORT), FAR_ADDRESS);
  const [busy, other, renewing] = [await lab.guest(), await lab.guest(), await lab.guest()];
  const address = (await busy.dhcp())["ip"]!;
  const inner = (await other.dhcp())["ip"]!;
  await serveEcho(other, inner, INNER);
  const roaming = await lab.guest();
  await lab.unplug();
  const socks = await lab.api("POST", "/limanet/socks", { port: 0 });
  const socksPort = /:(\d+)"/.exec(socks.body)![1]!;

  const run = async (
    durationMs: number,
    isWarm: boolean,
    onSample: (minute: number) => Promise<void>,
  ) => {
    isOver = false;
    const loads = [
      new Load("TCP to the outside", busy, "tcp", FAR_ADDRESS, String(ECHO), "400000"),
      new Load("TCP between guests", busy, "tcp", inner, String(INNER), "400000"),
      new Load("TCP by the proxy", lab.host, "tcp", inner, String(INNER), "100000", socksPort),
      new Load("UDP", busy, "udp", FAR_ADDRESS, String(ECHO)),
      new Load("DNS", busy, "dns", GATEWAY, NAMES, ADDRESS),
    ];
    const loops = [
      again("bulk transfers of 4 × 3 MB", 500, async () => {
        const { stdout } = await busy.run(
          NETTOOL,
          "xfer",
          FAR_ADDRESS,
          String(BULK),
          "4",
          "2",
          "3000000",
        );
        check(stdout, stdout.includes('"ok":4'));
      }),
      again("seconds of short connections", 2000, async () => {
        const { stdout } = await other.run(NETTOOL, "crr", FAR_ADDRESS, String(SHORT), "1", "8");
        check(stdout, stdout.includes('"errors":0'));
      }),
      again("UDP conversations, 20 at once", 5000, async () => {
        await other.run(NETTOOL, "udpflows", FAR_ADDRESS, String(ECHO), "20");
      }),
      again("DHCP renewals", 1000, async () => {
        const { ip } = await renewing.dhcp();
        check(
          `${ip} instead of the address it had`,
          (counts["address"] ??= Number(ip!.split(".")[3])) === Number(ip!.split(".")[3]),
        );
      }),
      again("forwards opened, used and closed", 500, async () => {
        const local = `127.0.0.1:${18_000 + (done("port") % 1000)}`;
        const forward = { local, remote: `${inner}:${INNER}`, protocol: "tcp" };
        check(
          "expose",
          (await lab.api("POST", "/services/forwarder/expose", forward)).status === 200,
        );
        const { stdout } = await lab.host.run(
          ...["python3", "-c"],
          `import socket; c = socket.create_connection(("127.0.0.1", ${local.split(":")[1]}), 10); c.settimeout(10); c.sendall(b"hello"); print(c.recv(5).decode())`,
        );
        check(`forward: ${stdout}`, stdout === "hello\n");
        check(
          "unexpose",
          (await lab.api("POST", "/services/forwarder/unexpose", forward)).status === 200,
        );
      }),
      again("guests attached and detached", 3000, async () => {
        const mac = `52:55:55:00:02:0${done("mac") % 8}`;
        const pump = await plugIn(roaming, lab.socket("stream"), "stream", mac, 1500);
        try {
          await roaming.dhcp();
          check("ping", (await roaming.run("ping", "-c", "1", "-W", "5", GATEWAY)).code === 0);
        } finally {
          pump.kill("SIGKILL");
          await pump.exited;
        }
      }),
      again("captures begun and ended", 15_000, async () => {
        const path = join(lab.folder, "capture");
        check("on", (await lab.api("POST", "/limanet/capture", { path })).status === 200);
        await Bun.sleep(2000);
        check("off", (await lab.api("POST", "/limanet/capture", { path: null })).status === 200);
        const { code, stderr } = await lab.host.run("tcpdump", "-n", "-r", path, "-w", "/dev/null");
        check(`capture: ${stderr}`, code === 0);
      }),
      again("requests of the control API", 200, async () => {
        for (const path of ["/stats", "/leases", "/cam", "/services/forwarder/all"])
          check(path, (await lab.api("GET", path)).status === 200);
      }),
    ];
    const started = performance.now();
    for (let minute = 1; minute * SAMPLE_MS <= durationMs; minute++) {
      await Bun.sleep(started + minute * SAMPLE_MS - performance.now());
      await onSample(minute);
      if (!lab.isAlive) throw new Error(`the daemon has ended: ${lab.log.slice(-2000)}`);
    }
    isOver = true;
    await Promise.all(loops);
    for (const load of loads) {
      await load.stop();
      if (load.counts.changed + load.counts.reset > 0 || load.counts.whole === 0)
        problems.push(`${load.name}: ${told(load.counts)}`);
      if (isWarm) say(`${load.name}: ${told(load.counts)}`);
    }
  };

  say(`soak of ${MINUTES} minutes, guests ${address} and ${inner}, host ${HOST_ADDRESS}`);
  await run(WARM_UP_MS, false, async () => {});
  const before = await idle(3);
  const wakesBefore = await wakeUps();
  for (const name of Object.keys(counts)) if (name !== "address") counts[name] = 0;
  say("|     when |   fds | thrds | MiB    |   TCP |   UDP | SOCKS | guests |");
  say("| -------- | ----- | ----- | ------ | ----- | ----- | ----- | ------ |");
  row("idle", before);
  const samples: Sample[] = [];
  await run(MINUTES * 60_000, true, async (minute) => {
    samples.push(await sample());
    row(`${minute} min`, samples.at(-1)!);
  });
  const after = await idle(3);
  row("idle", after);
  const wakesAfter = await wakeUps();
  for (const name of ["address", "port", "mac"]) delete counts[name];
  say(told(counts));
  const part = samples.length >> 2;
  const mean = (of: Sample[]) => of.reduce((sum, { memory }) => sum + memory, 0) / of.length;
  const [early, late] = [mean(samples.slice(part, 2 * part + 1)), mean(samples.slice(-part - 1))];
  say(
    `wake-ups in 10 idle seconds: ${wakesBefore} before, ${wakesAfter} after; memory under load: ${early.toFixed(1)} MiB in the second quarter, ${late.toFixed(1)} MiB in the last`,
  );
  const most = Math.max(...samples.slice(0, part + 1).map(({ threads }) => threads));
  const names = readdirSync(`/proc/${lab.pid}/task`)
    .map((task) => readFileSync(`/proc/${lab.pid}/task/${task}/comm`, "utf8").trim())
    .join(", ");
  say(`threads: ${names}`);
  const bounds: [string, boolean][] = [
    // sockets of the resolver are kept for a while
    [
      `descriptors: ${before.descriptors} → ${after.descriptors}`,
      after.descriptors <= before.descriptors + 4,
    ],
    // the runtime's pool makes and ends threads as there is work: they are bounded, and a leak is not
    [`threads: ${most} at first, ${after.threads} after`, after.threads <= most],
    [
      `memory when idle: ${before.memory} → ${after.memory} MiB`,
      after.memory <= before.memory * 1.25 + 8,
    ],
    [`memory under load: ${early.toFixed(1)} → ${late.toFixed(1)} MiB`, late <= early * 1.15 + 8],
    [`wake-ups: ${wakesBefore} → ${wakesAfter}`, wakesAfter <= 2 * wakesBefore + 20],
  ];
  for (const [what, holds] of bounds) if (!holds) problems.push(`a leak of ${what}`);
} catch (error) {
  problems.push((error as Error).stack ?? String(error));
} finally {
  await lab.close();
}
for (const problem of problems.slice(0, 40)) complain(`FAIL ${problem}`);
say(problems.length === 0 ? "nothing leaks" : `${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
