/**
 * An instance's place on a user-v2 network. The network's daemon may be killed under a running machine; then it is started
 * again, and all that the instance had there is made anew: its network card's connection, its forwards, its DNS zones. Its
 * address stays, since the daemon keeps leases on disk.
 */
import { networkPaths, type NetworkPaths } from "../config/paths.ts";
import type { SwitchBackend } from "../driver/nic.ts";
import { sleep } from "../host/clock.ts";
import { exists } from "../host/files.ts";
import { lockHolder } from "../host/lock.ts";
import { connectionEnd, isServed, requestUnixHttp } from "../host/unix-http.ts";
import { loadNetworks } from "../instance/settings.ts";
import type { HostTable } from "../service/dns/static-hosts.ts";
import { hostsBeyondZones, zonesOfHosts, type Zone } from "../service/dns/zones.ts";
import type { Log } from "../trace/log.ts";
import type { Forward } from "./network/engine-protocol.ts";
import { startNetwork } from "./reconcile.ts";

const STEP_MS = 100;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;
const ATTACH = "/extension/attach";
const ADD_ZONE = "/services/dns/add";
const SET_HOSTS = "/limanet/dns/hosts";
const EXPOSE = "/services/forwarder/expose";
const UNEXPOSE = "/services/forwarder/unexpose";

export type NetworkState = "lost" | "restored";

export interface JoinedNetworkOptions {
  home: string;
  network: string;
  log: Log;
  onState: (network: string, state: NetworkState) => void;
  /** its machine's QEMU shares the guest's memory with whoever takes it */
  sharesMemory?: boolean;
}

/** static hosts that belong to one instance */
interface OwnedHosts {
  owner: string;
  hosts: HostTable;
}

/** what the daemon says when it does not want to */
class Refusal extends Error {}

/** the answer to a forward that was asked for again */
const isThere = (answer: string): boolean => answer.startsWith("proxy already running");

export class JoinedNetwork {
  readonly #paths: NetworkPaths;
  #listen: string | undefined;
  readonly #options: JoinedNetworkOptions;
  readonly #endpoint: string;
  readonly #attached: string[] = [];
  readonly #zones: Zone[] = [];
  #hosts: OwnedHosts | undefined;
  readonly #forwards = new Map<string, Forward>();
  readonly #closing = new AbortController();
  readonly #pidFile: string;
  readonly #kept: Promise<void>;
  /** pid of the daemon that knows what we have made; 0: Lima's own */
  #daemon: number;
  #restored = 0;

  /** The network's daemon runs. */
  constructor(options: JoinedNetworkOptions) {
    const paths = networkPaths(options.home, options.network);
    this.#paths = paths;
    this.#options = options;
    this.#endpoint = paths.endpoint;
    this.#pidFile = paths.pid;
    this.#daemon = lockHolder(paths.pid);
    this.#kept = this.#keep();
  }

  /** A card on the network; `listen` is where a QEMU that cannot connect twice is to wait for the network. */
  backend(listen: string): SwitchBackend {
    // Lima's own daemon connects to nobody
    const isOurs = lockHolder(this.#pidFile) !== 0;
    const { network, log, sharesMemory = false } = this.#options;
    const vhostUser = sharesMemory && isOurs ? this.#paths.vhostUser : undefined;
    if (vhostUser !== undefined && exists(vhostUser))
      return { ...this.#backend(network), vhostUser };
    if (sharesMemory)
      log.warn(
        `vhostUser has no effect on ${network}: its daemon is Lima's or an earlier limanet's (stop the instances on it first)`,
      );
    this.#listen = isOurs ? listen : undefined;
    return this.#backend(network);
  }

  #backend(network: string): SwitchBackend {
    return {
      kind: "switch",
      network,
      stream: this.#paths.qemu,
      listen: this.#listen,
      descriptors: this.#paths.descriptor,
      absence: "told",
    };
  }

  /** QEMU runs; one that waits for the network is connected. */
  async attached(reconnects: boolean): Promise<void> {
    if (reconnects || this.#listen === undefined) return;
    this.#attached.push(this.#listen);
    await this.#make(ATTACH, { path: this.#listen });
  }

  async addZone(zone: Zone): Promise<void> {
    this.#zones.push(zone);
    await this.#make(ADD_ZONE, zone);
  }

  /** Static hosts in place of those that the owner had; a daemon of Lima's own learns what a zone can say. */
  async setHosts(owner: string, hosts: HostTable): Promise<void> {
    const isFirst = this.#hosts === undefined;
    if (isFirst && Object.keys(hosts).length === 0) return;
    this.#hosts = { owner, hosts };
    try {
      await this.#make(SET_HOSTS, this.#hosts);
    } catch (error) {
      for (const zone of zonesOfHosts(hosts)) await this.addZone(zone);
      const names = Object.keys(hostsBeyondZones(hosts)).join(", ");
      if (names !== "" || !isFirst)
        this.#options.log.warn(
          `the network's daemon does not know ${names || "which names have gone"}: ${(error as Error).message}`,
        );
    }
  }

  /** Throws what the daemon says when it cannot. */
  async expose(forward: Forward): Promise<void> {
    const key = `${forward.protocol} ${forward.local}`;
    const before = this.#forwards.get(key);
    this.#forwards.set(key, forward);
    try {
      await this.#make(EXPOSE, forward);
    } catch (error) {
      if (before === undefined) this.#forwards.delete(key);
      else this.#forwards.set(key, before);
      throw error;
    }
  }

  async unexpose({ local, protocol }: Omit<Forward, "remote">): Promise<void> {
    this.#forwards.delete(`${protocol} ${local}`);
    // a daemon that is gone has no forwards
    await requestUnixHttp(this.#endpoint, "POST", UNEXPOSE, { local, protocol }).catch(() => {});
  }

  /** address → MAC; {} while the daemon is away */
  async leases(): Promise<Record<string, string>> {
    const answer = await requestUnixHttp(this.#endpoint, "GET", "/leases").catch(() => undefined);
    return answer?.status === 200 ? (JSON.parse(answer.body) as Record<string, string>) : {};
  }

  /** Leaves the network, which nobody restores for us from now on. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#kept;
    for (const forward of this.#forwards.values()) await this.unexpose(forward);
  }

  /** Has the daemon make what is made anew after its end, so that its end on the way is no failure. */
  async #make(route: string, thing: object): Promise<void> {
    const before = this.#restored;
    for (let isRepeated = false; ; isRepeated = true) {
      try {
        const { status, body } = await requestUnixHttp(this.#endpoint, "POST", route, thing);
        if (status === 200 || (isRepeated && isThere(body))) return;
        throw new Refusal(body.trim());
      } catch (error) {
        if (error instanceof Refusal) throw error;
        await sleep(STEP_MS);
        if (this.#restored !== before || this.#closing.signal.aborted) return;
      }
    }
  }

  async #keep(): Promise<void> {
    const { signal } = this.#closing;
    const { network, log, onState } = this.#options;
    while (!signal.aborted) {
      await connectionEnd(this.#endpoint, signal);
      if (signal.aborted) return;
      // Lima's daemon closes connections that are idle; one with another pid was started again by another member
      if ((await isServed(this.#endpoint)) && lockHolder(this.#pidFile) === this.#daemon) {
        await sleep(STEP_MS);
        continue;
      }
      log.warn(`the network is lost: its daemon has ended network=${network}`);
      onState(network, "lost");
      await this.#restore();
    }
  }

  /** Tries until it is done, or we leave. */
  async #restore(): Promise<void> {
    const { home, network, log, onState } = this.#options;
    const { signal } = this.#closing;
    for (let wait = FIRST_RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      try {
        await startNetwork(home, network, loadNetworks(home), log.warn);
        this.#daemon = lockHolder(this.#pidFile);
        await this.#makeAll();
        this.#restored++;
        log.warn(`the network is restored: its daemon was started again network=${network}`);
        onState(network, "restored");
        return;
      } catch (error) {
        log.error(`${(error as Error).message}; it is tried again in ${wait / 1000} s`);
        await sleep(wait, signal);
      }
    }
  }

  async #makeAll(): Promise<void> {
    const things: [string, object][] = [
      ...this.#attached.map((path): [string, object] => [ATTACH, { path }]),
      ...this.#zones.map((zone): [string, object] => [ADD_ZONE, zone]),
      ...(this.#hosts === undefined ? [] : [[SET_HOSTS, this.#hosts] as [string, object]]),
      ...[...this.#forwards.values()].map((forward): [string, object] => [EXPOSE, forward]),
    ];
    for (const [route, thing] of things) {
      const { status, body } = await requestUnixHttp(this.#endpoint, "POST", route, thing);
      // the network goes on without what it cannot have any more
      if (status !== 200 && !isThere(body))
        this.#options.log.error(
          `Cannot make ${JSON.stringify(thing)} anew on the network ${this.#options.network}: ${body.trim()}`,
        );
    }
  }
}
