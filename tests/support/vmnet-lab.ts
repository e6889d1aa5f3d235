/**
 * A vmnet network in network namespaces, with `limanet vmnet` called as socket_vmnet is:
 *
 *   guests ── tapstream ── unix socket ── limanet vmnet ── TAP ── bridge 192.168.105.1 (in "host")
 */
import { mkdtempSync, rmSync } from "node:fs";
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

const SUFFIX = { stream: "", dgram: ".datagram", fdpass: ".descriptor" } as const;
type Mode = keyof typeof SUFFIX;

export class VmnetLab {
  static #count = 0;
  readonly folder = mkdtempSync(join(tmpdir(), "limanet-vmnet-"));
  readonly host = new Space(`vml${process.pid}x${VmnetLab.#count++}`);
  readonly pidFile = join(this.folder, "net_socket_vmnet.pid");
  readonly socket = join(this.folder, "socket_vmnet.net");
  readonly #guests: Guest[] = [];
  readonly #pumps: Pump[] = [];
  #daemon: ReturnType<Space["spawn"]> | undefined;
  /** what limanet has said */
  log = "";

  /** The host's namespace, in which there is no network yet. */
  static async open(): Promise<VmnetLab> {
    const lab = new VmnetLab();
    await lab.host.open({});
    return lab;
  }

  /** Calls the daemon; `start` waits for it. */
  spawn(...options: string[]): ReturnType<Space["spawn"]> {
    const daemon = this.host.spawn(
      ...[LIMANET, "vmnet", `--pidfile=${this.pidFile}`, `--socket-group=${GROUP.name}`],
      ...options,
      this.socket,
    );
    this.#daemon = daemon;
    this.log = "";
    void (async () => {
      for await (const chunk of daemon.stderr) this.log += new TextDecoder().decode(chunk);
    })();
    return daemon;
  }

  /** Starts the daemon and waits, as Lima does, for its pid file. */
  async start(...options: string[]): Promise<ReturnType<Space["spawn"]>> {
    const daemon = this.spawn(...options);
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

  /** Ends the daemon; its exit code. */
  async stop(signal: "SIGTERM" | "SIGINT" | "SIGHUP" = "SIGTERM"): Promise<number> {
    process.kill(this.pid, signal);
    return this.#daemon!.exited;
  }

  /** Attaches a guest; it has no address until it asks for one. */
  async guest({ mac, mtu = 1500, mode = "stream" }: GuestOptions & { mode?: Mode } = {}) {
    const index = this.#guests.length;
    const guest = new Guest(`${this.host.name}g${index}`);
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
    for (const space of [...this.#guests, this.host]) await space.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
