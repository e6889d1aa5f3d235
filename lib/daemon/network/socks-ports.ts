/** The ports of 127.0.0.1 at which a network serves its SOCKS proxy; each stays open until the network ends. */
import { sha256 } from "../../host/machine.ts";
import type { Engine } from "./engine.ts";

/** below the ports that Linux and macOS give to clients, so that the port is rarely in use */
const FIRST = 20_000;
const COUNT = 12_768;

/** The port of a network unless another is asked for: the same at every start of it. */
export function stableSocksPort(endpoint: string): number {
  const digest = sha256(`socks ${endpoint}`);
  return FIRST + (((digest[0]! << 8) | digest[1]!) % COUNT);
}

export class SocksPorts {
  readonly #engine: Engine;
  readonly #endpoint: string;
  /** as asked for → as opened */
  readonly #open = new Map<number, Promise<number>>();

  /** `endpoint`: the control API's socket, by which networks are told apart */
  constructor(engine: Engine, endpoint: string) {
    this.#engine = engine;
    this.#endpoint = endpoint;
  }

  /** Serves the proxy on a port (0: the network's own, or any when that is in use), once; the port. */
  open(wanted: number): Promise<number> {
    const known = this.#open.get(wanted);
    if (known !== undefined) return known;
    const opened = wanted === 0 ? this.#own() : this.#listen(wanted);
    this.#open.set(wanted, opened);
    opened.then(
      (port) => this.#open.set(port, opened),
      () => this.#open.delete(wanted),
    );
    return opened;
  }

  async #own(): Promise<number> {
    try {
      return await this.open(stableSocksPort(this.#endpoint));
    } catch (error) {
      if ((error as { code?: string }).code !== "EADDRINUSE") throw error;
      return this.#listen(0);
    }
  }

  async #listen(port: number): Promise<number> {
    return (await this.#engine.request({ type: "socks", port })).port;
  }
}
