/**
 * A network card of a machine of Virtualization.framework on a switch: a pair of datagram sockets, one end the switch's, the
 * other the machine's. When the switch has gone, the card gets a new pair as soon as the switch is there again.
 */
import type { SwitchBackend } from "../driver/nic.ts";
import { sleep } from "../host/clock.ts";
import { isAnswered, passedPair } from "../host/datagram-pair.ts";
import { libc, SHUT_RDWR } from "../host/libc.ts";
import { HostError } from "../host/listening-sockets.ts";
import type { Log } from "../trace/log.ts";

const LOOK_MS = 1000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;

export class VzCard {
  readonly backend: SwitchBackend;
  readonly #attach: (fd: number) => void;
  readonly #log: Log;
  readonly #closing = new AbortController();
  readonly #watched: Promise<void>;
  #fd: number;
  #rejoining: Promise<void> | undefined;

  /** Joins the switch; throws when it is not there. `attach` gives the machine another end, of which it takes a duplicate. */
  constructor(backend: SwitchBackend, attach: (fd: number) => void, log: Log) {
    this.backend = backend;
    this.#attach = attach;
    this.#log = log;
    try {
      this.#fd = passedPair(backend.descriptors);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      throw new Error(
        `Cannot attach to the network ${backend.network}: nobody answers at ${backend.descriptors} (${error.code}); with vmType vz, limanet's own daemon of the network must run (limanet vmnet; socket_vmnet has no such socket)`,
        { cause: error },
      );
    }
    this.#watched = backend.absence === "unnoticed" ? this.#watch() : Promise.resolve();
  }

  /** the machine's end */
  get fd(): number {
    return this.#fd;
  }

  /** Joins the switch anew, however long that takes; nothing more is done for one that is at it. */
  rejoin(why: string): Promise<void> {
    this.#rejoining ??= this.#rejoin(why).finally(() => {
      this.#rejoining = undefined;
    });
    return this.#rejoining;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watched;
    await this.#rejoining;
    libc.close(this.#fd);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await sleep(LOOK_MS, signal);
      if (signal.aborted) return;
      if (!isAnswered(this.#fd)) await this.rejoin("its switch has ended");
    }
  }

  async #rejoin(why: string): Promise<void> {
    const { network, descriptors } = this.backend;
    const { signal } = this.#closing;
    this.#log.warn(`a network card is lost: ${why} network=${network}`);
    for (let wait = FIRST_RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      try {
        const fd = passedPair(descriptors);
        // whoever else has the old pair, as the machine's configuration may: for the switch it is dead from now on
        libc.shutdown(this.#fd, SHUT_RDWR);
        libc.close(this.#fd);
        this.#fd = fd;
        this.#attach(fd);
        this.#log.warn(`a network card is attached anew network=${network}`);
        return;
      } catch (error) {
        this.#log.debug?.(`${(error as Error).message}; it is tried again in ${wait} ms`);
        await sleep(wait, signal);
      }
    }
  }
}
