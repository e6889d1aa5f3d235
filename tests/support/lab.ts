/**
 * A small internet in network namespaces, for the tests that need Linux's own TCP as guest and as host:
 *
 *   guests ── tapstream ── unix socket ── limanet usernet (in "host") ── 10.200.1.0/24 ── router ── 203.0.113.0/24 ── far
 *
 * Nothing can leave the machine: no namespace has a way out.
 */
import { test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requestUnixHttp } from "../../lib/host/unix-http.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
export const LIMANET = join(ROOT, "dist/limanet");
const PLAIN_NETWORK = join(ROOT, "tests/support/plain-network.ts");
/** what the executable for musl needs on this machine */
export const MUSL_LIBRARIES = join(ROOT, ".cache/musl");
const TAPSTREAM = join(ROOT, ".cache/side-by-side/tapstream");
export const NETTOOL = join(ROOT, ".cache/side-by-side/nettool");
const DHCP_SCRIPT = join(ROOT, "scripts/side-by-side/udhcpc.sh");

/** Namespaces and TAP devices need root; without it these tests do not run, and that is said. */
export const canMakeNamespaces = process.getuid?.() === 0;
if (!canMakeNamespaces)
  process.stderr.write("skipped: tests in network namespaces (they need root)\n");

export const GATEWAY = "192.168.104.2";
export const HOST_ADDRESS = "10.200.1.1";
export const FAR_ADDRESS = "203.0.113.9";
/** the router says of it that it is unreachable */
export const UNREACHABLE_ADDRESS = "203.0.113.66";
/** nobody is there and nobody says so */
export const DEAD_ADDRESS = "203.0.113.50";

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** what the tests need of a child of Bun.spawn */
interface Process {
  readonly pid: number;
  readonly stdin: { write(text: string): unknown; flush(): unknown; end(): unknown };
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly stderr: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly exited: Promise<number>;
  readonly exitCode: number | null;
  readonly signalCode: unknown;
  kill(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void;
}

async function command(...words: string[]): Promise<void> {
  const child = Bun.spawn(words, { stderr: "pipe", stdout: "ignore" });
  if ((await child.exited) !== 0)
    throw new Error(`${words.join(" ")}: ${await new Response(child.stderr).text()}`);
}

/** One network namespace and the processes that were started in it. */
export class Space {
  readonly name: string;
  readonly #processes: Process[] = [];

  constructor(name: string) {
    this.name = name;
  }

  async open(files: Record<string, string>): Promise<void> {
    await command("ip", "netns", "add", this.name);
    await this.ip("link", "set", "lo", "up");
    mkdirSync(`/etc/netns/${this.name}`, { recursive: true });
    for (const [name, text] of Object.entries(files))
      writeFileSync(`/etc/netns/${this.name}/${name}`, text);
    await this.set("net.ipv4.ping_group_range", "0 2147483647");
  }

  ip(...words: string[]): Promise<void> {
    return command("ip", "-n", this.name, ...words);
  }

  set(key: string, value: string): Promise<void> {
    return command("ip", "netns", "exec", this.name, "sysctl", "-qw", `${key}=${value}`);
  }

  spawn(...words: string[]): Process {
    const child = Bun.spawn(["ip", "netns", "exec", this.name, ...words], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#processes.push(child);
    return child;
  }

  /** Runs a command to its end. */
  async run(...words: string[]): Promise<Outcome> {
    const child = this.spawn(...words);
    void child.stdin.end();
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  /** Starts a server and waits until it listens. */
  async serve(protocol: "tcp" | "udp", port: number, ...words: string[]): Promise<Process> {
    const child = this.spawn(...words);
    const flag = protocol === "tcp" ? "-Htln" : "-Huln";
    for (;;) {
      const { stdout } = await this.run("ss", flag, `sport = :${port}`);
      if (stdout !== "") return child;
      if (child.exitCode !== null)
        throw new Error(`${words.join(" ")}: ${await new Response(child.stderr).text()}`);
      await Bun.sleep(5);
    }
  }

  async close(): Promise<void> {
    for (const child of this.#processes) child.kill("SIGTERM");
    const late = setTimeout(() => {
      for (const child of this.#processes) child.kill("SIGKILL");
    }, 3000);
    await Promise.all(this.#processes.map((child) => child.exited));
    clearTimeout(late);
    await command("ip", "netns", "del", this.name).catch(() => {});
    rmSync(`/etc/netns/${this.name}`, { recursive: true, force: true });
  }
}

/** The daemon, and the network over the plain host (`plain-host.ts`), which is the reference: the same tests run over both. */
export const HOSTS = [
  ["limanet", (...options: string[]) => Lab.open(...options)],
  ["the plain host", (...options: string[]) => Lab.openPlain(...options)],
] as const;
export type LabHost = (typeof HOSTS)[number][0];
/** for what the plain host has not */
export const testOf = (host: LabHost) => test.skipIf(host !== "limanet");

export interface GuestOptions {
  mac?: string;
  mtu?: number;
  mode?: "stream" | "dgram" | "fdpass" | "vpnkit" | "vhost";
  /** connect again when the daemon has gone, as QEMU does (mode stream) */
  reconnects?: boolean;
  /** not the daemon's own */
  socket?: string;
}

export class Guest extends Space {
  /** Gets an address by udhcpc; the options as its script sees them. */
  async dhcp(...more: string[]): Promise<Record<string, string>> {
    const { code, stdout, stderr } = await this.run(...UDHCPC, "-q", "-n", "-t", "5", ...more);
    if (code !== 0) throw new Error(`udhcpc: ${stderr}`);
    return Object.fromEntries(
      [...stdout.matchAll(/^dhcp: ([a-z0-9]+)=(.*)$/gm)].map(([, key, value]) => [key!, value!]),
    );
  }

  /** A client that stays; its output has a line "dhcp: ip=…" for each time that it has got or renewed its lease. */
  udhcpc(): Process {
    return this.spawn(...UDHCPC);
  }
}

const UDHCPC = [
  ...["env", "-i", `PATH=${process.env["PATH"]}`],
  ...["busybox", "udhcpc", "-i", "tap0", "-f", "-s", DHCP_SCRIPT],
  ...["-O", "search", "-O", "mtu", "-O", "staticroutes", "-O", "lease"],
];

export type Pump = Bun.Subprocess<"ignore", "pipe", "pipe">;

/** Puts a TAP device into a guest's namespace and carries its frames to and from a socket, as a virtual machine does. */
export async function plugIn(
  guest: Space,
  socket: string,
  mode: NonNullable<GuestOptions["mode"]>,
  mac: string,
  mtu: number,
  reconnects = false,
): Promise<Pump> {
  const pump = Bun.spawn(
    [
      ...(reconnects ? [TAPSTREAM, "--reconnect"] : [TAPSTREAM]),
      ...["--sock", socket, "--mode", mode, "--no-ipv6"],
      ...["--netns", `/run/netns/${guest.name}`, "--mac", mac, "--mtu", String(mtu)],
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  );
  for await (const chunk of pump.stdout)
    if (new TextDecoder().decode(chunk).includes("ready")) return pump;
  throw new Error(`tapstream: ${await new Response(pump.stderr).text()}`);
}

interface Call {
  by: readonly string[];
  log?: string;
  options: readonly string[];
  /** in place of `limanet usernet` */
  program?: readonly string[];
}

export class Lab {
  static #count = 0;
  readonly folder = mkdtempSync(join(tmpdir(), "limanet-lab-"));
  readonly host: Space;
  readonly router: Space;
  readonly far: Space;
  /** what limanet has said */
  log = "";
  /** what usernet is called with, and by way of which command */
  #call: Call = { by: [], options: [] };
  #daemon: Process | undefined;
  #guests: Guest[] = [];

  private constructor(name: string) {
    this.host = new Space(`${name}h`);
    this.router = new Space(`${name}r`);
    this.far = new Space(`${name}f`);
  }

  /** The namespaces with their links, and the daemon in "host", ready for guests. */
  static open(...usernetOptions: string[]): Promise<Lab> {
    return Lab.openBy(() => ({ by: [], options: usernetOptions }));
  }

  /** The same with the network over the plain host. */
  static openPlain(...options: string[]): Promise<Lab> {
    return Lab.openBy(() => ({ by: [], options, program: [process.execPath, PLAIN_NETWORK] }));
  }

  /**
   * The same with the daemon called by way of another command. `log`: a file into which its messages go. `set` gets the lab's
   * folder, in which files and options may be.
   */
  static async openBy(set: (folder: string) => Call): Promise<Lab> {
    const lab = new Lab(`lab${process.pid}x${Lab.#count++}`);
    lab.#call = set(lab.folder);
    try {
      await lab.#link();
      await lab.start();
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async #link(): Promise<void> {
    const { host, router, far } = this;
    await host.open({
      "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
      hosts: "127.0.0.1 localhost\n203.0.113.7 only-in-hosts.example.test\n",
      "nsswitch.conf": "hosts: files dns\n",
    });
    await router.open({});
    await far.open({});
    for (const [near, there, nearAddress, thereAddress] of [
      [host, router, `${HOST_ADDRESS}/24`, "10.200.1.254/24"],
      [far, router, `${FAR_ADDRESS}/24`, "203.0.113.1/24"],
    ] as const) {
      await near.ip("link", "add", "eth0", "type", "veth", "peer", near.name, "netns", there.name);
      await near.ip("addr", "add", nearAddress, "dev", "eth0");
      await near.ip("link", "set", "eth0", "up");
      await there.ip("addr", "add", thereAddress, "dev", near.name);
      await there.ip("link", "set", near.name, "up");
    }
    await host.ip("route", "add", "default", "via", "10.200.1.254");
    await far.ip("route", "add", "default", "via", "203.0.113.1");
    await router.set("net.ipv4.ip_forward", "1");
    await router.set("net.ipv4.icmp_ratelimit", "0");
    await router.ip("route", "add", "unreachable", UNREACHABLE_ADDRESS);
    await router.ip("route", "add", "blackhole", DEAD_ADDRESS);
  }

  socket(name: string): string {
    return join(this.folder, `${name}.sock`);
  }

  /** Starts the daemon, also a second time. */
  async start(): Promise<void> {
    const { by, options, log, program = [LIMANET, "usernet"] } = this.#call;
    const into = log === undefined ? [] : ["sh", "-c", 'exec "$@" 2>>"$0"', log];
    const written = () => (log !== undefined && existsSync(log) ? readFileSync(log, "utf8") : "");
    const before = written().length;
    const daemon = this.host.spawn(
      ...[
        ...by,
        ...into,
        ...program,
        "-e",
        this.socket("api"),
        "--listen-qemu",
        this.socket("stream"),
      ],
      ...[
        "--listen",
        this.socket("fdpass"),
        "--listen-vfkit",
        this.socket("dgram"),
        "--listen-vhost-user",
        this.socket("vhost"),
        "--subnet",
        "192.168.104.0/24",
        ...options,
      ],
    );
    this.#daemon = daemon;
    const ready = Promise.withResolvers<void>();
    const since = this.log.length;
    void (async () => {
      for await (const chunk of daemon.stderr) {
        this.log += new TextDecoder().decode(chunk);
        if (this.log.includes("network ready", since)) ready.resolve();
      }
      ready.reject(new Error(`limanet usernet: ${this.log}`));
    })();
    if (log === undefined) {
      await ready.promise;
      return;
    }
    ready.promise.catch(() => {});
    while (!written().includes("network ready", before)) await Bun.sleep(5);
  }

  /** process id of limanet itself: `ip netns exec` becomes the command it runs */
  get pid(): number {
    return this.#daemon!.pid;
  }

  /** Kills the daemon, as nobody should. */
  async kill(): Promise<void> {
    this.#daemon!.kill("SIGKILL");
    await this.#daemon!.exited;
  }

  get isAlive(): boolean {
    return this.#daemon?.exitCode === null && this.#daemon.signalCode === null;
  }

  /** Attaches a guest; it has no address until it asks for one. */
  async guest({
    mac,
    mtu = 1500,
    mode = "stream",
    reconnects = false,
    ...given
  }: GuestOptions = {}): Promise<Guest> {
    const index = this.#guests.length;
    const guest = new Guest(`${this.host.name}${index}`);
    this.#guests.push(guest);
    await guest.open({ "resolv.conf": `nameserver ${GATEWAY}\noptions timeout:2 attempts:2\n` });
    const address = mac ?? `52:55:55:00:00:${(16 + index).toString(16)}`;
    // VPNKit's guests come through the control API
    const socket = given.socket ?? this.socket(mode === "vpnkit" ? "api" : mode);
    this.#pumps.push(await plugIn(guest, socket, mode, address, mtu, reconnects));
    return guest;
  }

  readonly #pumps: Pump[] = [];

  /** The guest that was plugged in last stands still, with all that it has, or goes on. */
  standStill(does: boolean): void {
    this.#pumps.at(-1)!.kill(does ? "SIGSTOP" : "SIGCONT");
  }

  /** Ends the virtual machine of the last guest, so to say. */
  async unplug(): Promise<void> {
    const pump = this.#pumps.pop()!;
    pump.kill("SIGKILL");
    await pump.exited;
  }

  async api(method: "GET" | "POST", path: string, body?: unknown) {
    return requestUnixHttp(this.socket("api"), method, path, body);
  }

  async stats(): Promise<Record<string, number>> {
    return JSON.parse((await this.api("GET", "/stats")).body) as Record<string, number>;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async close(): Promise<void> {
    for (const pump of this.#pumps) {
      pump.kill("SIGTERM");
      pump.kill("SIGCONT");
    }
    await Promise.all(this.#pumps.map((pump) => pump.exited));
    for (const space of [...this.#guests, this.host, this.router, this.far]) await space.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
