/**
 * An instance's place on a network that it only has a socket of: shared, host, bridged, or whatever `socket:` names. Where
 * limanet's own daemon serves it and is killed under the machine, a network of networks.yaml is started again, and a QEMU
 * that cannot connect twice gets a new connection: QEMU listens, and the connection is handed over to the daemon.
 */
import type { SwitchBackend } from "../driver/nic.ts";
import { sleep } from "../host/clock.ts";
import { passConnection } from "../host/descriptor-sending.ts";
import { connectionEnd, isServed } from "../host/unix-http.ts";
import type { Log } from "../trace/log.ts";
import type { NetworkState } from "./joined-network.ts";

/** a process that is being killed has some of its sockets a moment longer than others */
const DYING_MS = 100;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

export interface ServedNetworkOptions {
  /** for people */
  network: string;
  /** stream socket of framed Ethernet */
  socket: string;
  /** starts the daemon unless it runs; none: somebody else does */
  start?: (() => Promise<void>) | undefined;
  log: Log;
  onState: (network: string, state: NetworkState) => void;
}

export class ServedNetwork {
  readonly #options: ServedNetworkOptions;
  readonly #descriptors: string;
  /** limanet's daemon serves it, which takes connections that are handed over */
  readonly #isOurs: boolean;
  readonly #closing = new AbortController();
  readonly #kept: Promise<void>;
  #listen = "";
  /** a QEMU that cannot connect twice waits at `#listen` */
  #isAwaited = false;
  #isLost = false;

  private constructor(options: ServedNetworkOptions, isOurs: boolean) {
    this.#options = options;
    this.#descriptors = descriptorsOf(options.socket);
    this.#isOurs = isOurs;
    this.#kept = isOurs ? this.#keep() : Promise.resolve();
  }

  static async open(options: ServedNetworkOptions): Promise<ServedNetwork> {
    return new ServedNetwork(options, await isServed(descriptorsOf(options.socket)));
  }

  /** A card on the network; `listen` is where a QEMU that cannot connect twice is to wait for the network. */
  backend(listen: string): SwitchBackend {
    const { network, socket } = this.#options;
    this.#listen = listen;
    return {
      kind: "switch",
      network,
      stream: socket,
      listen: this.#isOurs ? listen : undefined,
      descriptors: this.#descriptors,
      absence: "unnoticed",
    };
  }

  /** QEMU runs; one that waits for the network is connected. */
  async attached(reconnects: boolean): Promise<void> {
    if (reconnects || !this.#isOurs) return;
    this.#isAwaited = true;
    try {
      if (!this.#isLost) this.#connect();
    } catch (error) {
      // a daemon that has just gone is noticed, and all is done when it is there again
      if (await isServed(this.#descriptors)) throw error;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#kept;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#closing;
    const { network, log, onState } = this.#options;
    for (;;) {
      // it waits for a descriptor, and we for its end
      await connectionEnd(this.#descriptors, signal);
      if (signal.aborted) return;
      this.#isLost = true;
      log.warn(`the network is lost: its daemon has ended network=${network}`);
      onState(network, "lost");
      await sleep(DYING_MS, signal);
      if (!(await this.#restore())) return;
      this.#isLost = false;
      log.warn(`the network is restored: its daemon was started again network=${network}`);
      onState(network, "restored");
    }
  }

  /** Tries until the network is there again, or we leave. */
  async #restore(): Promise<boolean> {
    const { start, log } = this.#options;
    const { signal } = this.#closing;
    for (let wait = FIRST_RETRY_MS; !signal.aborted;) {
      try {
        await start?.();
        if (this.#isAwaited) this.#connect();
        if (await isServed(this.#descriptors)) return true;
      } catch (error) {
        // somebody else's network comes when it comes
        if (start !== undefined) {
          log.error(`${(error as Error).message}; it is tried again in ${wait / 1000} s`);
          wait = Math.min(2 * wait, LAST_RETRY_MS);
        }
      }
      await sleep(wait, signal);
    }
    return false;
  }

  #connect(): void {
    passConnection(this.#listen, this.#descriptors);
  }
}

const descriptorsOf = (socket: string): string => `${socket}.descriptor`;
