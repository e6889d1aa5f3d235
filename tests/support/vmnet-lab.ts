/**
 * A vmnet network in network namespaces, with `limanet vmnet` called as socket_vmnet is:
 *
 *   guests ── tapstream ── unix socket ── limanet vmnet ── TAP ── bridge 192.168.105.1 (in "host")
 *
 * `openOutside` connects the host with others:
 *
 *   host: up0 203.0.113.2 ── 203.0.113.1: outside, which has 198.51.100.9, too, and a route to the guests by the host
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockHolder } from "../../lib/host/lock.ts";
import { Guest, LIMANET, plugIn, Space, type GuestOptions, type Pump } from "./lab.ts";

export const VMNET_GATEWAY = "192.168.105.1";
/** a group that every system has, and root is not in */
export const GROUP = { name: "daemon", gid: 1 };
/** the options with which Lima starts a network of mode shared (specification of vmnet, section 2.2) */
export const SHARED = [
  "--vmnet-mode=shared",
  `--vmnet-gateway=${VMNET_GATEWAY}`,
  "--vmnet-dhcp-end=192.168.105.254",
  "--vmnet-mask=255.255.255.0",
];

export const UPLINK = "up0";
export const OUTSIDE = "203.0.113.1";
export const HOST_OUTSIDE = "203.0.113.2";
/** behind the router at OUTSIDE */
export const FAR = "198.51.100.9";

/** Runs a command with a folder of its own in the place of /run/limanet, where networks' journals and leases are. */
const WITH_OWN_RUN = [
  "sh",
  "-c",
  'mkdir -p /run/limanet && mount --bind "$0" /run/limanet && exec "$@"',
];

const SUFFIX = { stream: "", dgram: ".datagram", fdpass: ".descriptor" } as const;
type Mode = keyof typeof SUFFIX;

export class VmnetLab {
  static #count = 0;
  readonly folder = mkdtempSync(join(tmpdir(), "limanet-vmnet-"));
  readonly host: Space;
  readonly pidFile: string;
  readonly socket: string;
  readonly #id = `vml${process.pid}x${VmnetLab.#count++}`;
  readonly #run: string;
  readonly #ownSpaces: Space[] = [];
  readonly #guests: Guest[] = [];
  readonly #pumps: Pump[] = [];
  #daemon: ReturnType<Space["spawn"]> | undefined;
  /** what limanet has said */
  log = "";

  private constructor(name: string, neighbour: VmnetLab | undefined) {
    this.pidFile = join(this.folder, `${name}_socket_vmnet.pid`);
    this.socket = join(this.folder, `socket_vmnet.${name}`);
    this.host = neighbour?.host ?? new Space(this.#id);
    this.#run = join(neighbour?.folder ?? this.folder, "run");
  }

  /** The host's namespace, in which there is no network yet; `neighbour` is another network of the same host. */
  static async open(name = "net", neighbour?: VmnetLab): Promise<VmnetLab> {
    const lab = new VmnetLab(name, neighbour);
    if (neighbour !== undefined) return lab;
    mkdirSync(lab.#run);
    lab.#ownSpaces.push(lab.host);
    await lab.host.open({ hosts: "127.0.0.1 localhost\n203.0.113.7 only-in-hosts.example.test\n" });
    return lab;
  }

  /** Connects the host with the outside. */
  async openOutside(): Promise<Space> {
    const { host } = this;
    const outside = new Space(`${this.#id}o`);
    this.#ownSpaces.push(outside);
    await outside.open({});
    for (const words of [
      `link add ${UPLINK} type veth peer name in0 netns ${outside.name}`,
      `addr add ${HOST_OUTSIDE}/24 brd + dev ${UPLINK}`,
      `link set ${UPLINK} up`,
      `route add default via ${OUTSIDE}`,
    ])
      await host.ip(...words.split(" "));
    for (const words of [
      `addr add ${OUTSIDE}/24 dev in0`,
      `addr add ${FAR}/32 dev lo`,
      "link set in0 up",
      `route add 192.168.0.0/16 via ${HOST_OUTSIDE}`,
    ])
      await outside.ip(...words.split(" "));
    return outside;
  }

  /** Runs limanet in the host's namespace, by way of another command if one is given. */
  limanet(words: readonly string[], by: readonly string[] = []): ReturnType<Space["spawn"]> {
    return this.host.spawn(...WITH_OWN_RUN, this.#run, ...by, LIMANET, ...words);
  }

  /** Calls the daemon; `start` waits for it. */
  spawn(...options: string[]): ReturnType<Space["spawn"]> {
    return this.spawnBy([], ...options);
  }

  spawnBy(by: readonly string[], ...options: string[]): ReturnType<Space["spawn"]> {
    const named = [`--pidfile=${this.pidFile}`, `--socket-group=${GROUP.name}`];
    const daemon = this.limanet(["vmnet", ...named, ...options, this.socket], by);
    this.#daemon = daemon;
    this.log = "";
    void (async () => {
      for await (const chunk of daemon.stderr) this.log += new TextDecoder().decode(chunk);
    })();
    return daemon;
  }

  /** Starts the daemon and waits, as Lima does, for its pid file. */
  async start(...options: string[]): Promise<ReturnType<Space["spawn"]>> {
    return this.isUp(this.spawn(...options));
  }

  async isUp(daemon: ReturnType<Space["spawn"]>): Promise<ReturnType<Space["spawn"]>> {
    while (lockHolder(this.pidFile) === 0) {
      if (daemon.exitCode !== null) throw new Error(`limanet vmnet: ${this.log}`);
      await Bun.sleep(5);
    }
    return daemon;
  }

  /** of limanet itself: `ip netns exec` becomes the command that it runs */
  get pid(): number {
    return this.#daemon!.pid;
  }

  /** What the daemon tells of itself when it is asked, by name. */
  async statistics(): Promise<(name: string) => number> {
    const lines = () => this.log.split("\n").filter((line) => line.includes("statistics "));
    const before = lines().length;
    process.kill(this.pid, "SIGUSR1");
    while (lines().length === before) await Bun.sleep(5);
    const line = lines().at(-1)!;
    // what has never happened is not told
    return (name) => Number(new RegExp(` ${name}=(\\d+)`).exec(line)?.[1] ?? 0);
  }

  /** Ends the daemon; its exit code. */
  async stop(signal: "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL" = "SIGTERM"): Promise<number> {
    process.kill(this.pid, signal);
    return this.#daemon!.exited;
  }

  /** Attaches a guest; it has no address until it asks for one. */
  async guest({ mac, mtu = 1500, mode = "stream" }: GuestOptions & { mode?: Mode } = {}) {
    const index = this.#guests.length;
    const guest = new Guest(`${this.#id}g${index}`);
    this.#guests.push(guest);
    await guest.open({
      "resolv.conf": `nameserver ${VMNET_GATEWAY}\noptions timeout:2 attempts:2\n`,
    });
    const address = mac ?? `52:55:55:00:01:${(16 + index).toString(16)}`;
    this.#pumps.push(await plugIn(guest, `${this.socket}${SUFFIX[mode]}`, mode, address, mtu));
    return guest;
  }

  /** Ends the virtual machine of the last guest, so to say. */
  async unplug(): Promise<void> {
    const pump = this.#pumps.pop()!;
    pump.kill("SIGKILL");
    await pump.exited;
  }

  async close(): Promise<void> {
    for (const pump of this.#pumps) pump.kill("SIGTERM");
    await Promise.all(this.#pumps.map((pump) => pump.exited));
    for (const space of [...this.#guests, ...this.#ownSpaces]) await space.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
