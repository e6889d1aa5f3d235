/**
 * A network card of a machine of Virtualization.framework on a switch: a pair of datagram sockets, one end the switch's, the
 * other the machine's. When the switch has gone, the card gets a new pair as soon as the switch is there again.
 */
import type { SwitchBackend } from "../driver/nic.ts";
import { sleep } from "../host/clock.ts";
import { isAnswered, passedPair } from "../host/datagram-pair.ts";
import { closeDescriptor, endSocket } from "../host/descriptors.ts";
import { HostError } from "../host/listening-sockets.ts";
import type { Log } from "../trace/log.ts";
import type { StreamRelay } from "./relay/stream-relay.ts";

const LOOK_MS = 1000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;

/** what a card is between */
interface Doors {
  /** gives the machine another end, of which it takes a duplicate */
  attach: (fd: number) => void;
  relay: StreamRelay;
}

export class VzCard {
  readonly backend: SwitchBackend;
  readonly #doors: Doors;
  readonly #log: Log;
  readonly #closing = new AbortController();
  readonly #watched: Promise<void>;
  #fd: number;
  #rejoining: Promise<void> | undefined;

  private constructor(fd: number, switched: SwitchBackend, doors: Doors, log: Log) {
    this.backend = switched;
    this.#fd = fd;
    this.#doors = doors;
    this.#log = log;
    this.#watched = switched.absence === "unnoticed" ? this.#watch() : Promise.resolve();
  }

  /** Joins the switch; throws when it is not there. */
  static async join(backend: SwitchBackend, doors: Doors, log: Log): Promise<VzCard> {
    return new VzCard(await socketTo(backend, doors.relay), backend, doors, log);
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
    closeDescriptor(this.#fd);
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
    const { network } = this.backend;
    const { signal } = this.#closing;
    this.#log.warn(`a network card is lost: ${why} network=${network}`);
    for (let wait = FIRST_RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      try {
        const fd = await socketTo(this.backend, this.#doors.relay);
        // whoever else has the old pair, as the machine's configuration may: for the switch it is dead from now on
        endSocket(this.#fd);
        this.#fd = fd;
        this.#doors.attach(fd);
        this.#log.warn(`a network card is attached anew network=${network}`);
        return;
      } catch (error) {
        this.#log.debug?.(`${(error as Error).message}; it is tried again in ${wait} ms`);
        await sleep(wait, signal);
      }
    }
  }
}

/** The machine's end of a way to the switch: by itself, or through the relay to one that speaks streams only. */
async function socketTo(
  { network, stream, descriptors, absence }: SwitchBackend,
  relay: StreamRelay,
): Promise<number> {
  try {
    return passedPair(descriptors);
  } catch (error) {
    // a network of limanet's own is not there; of others socket_vmnet may be
    if (!(error instanceof HostError) || absence !== "unnoticed") throw error;
  }
  try {
    return await relay.join(stream);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    throw new Error(
      `Cannot attach to the network ${network}: nobody answers at ${stream} (${code ?? message}): its daemon must run (limanet vmnet, or socket_vmnet)`,
      { cause: error },
    );
  }
}
