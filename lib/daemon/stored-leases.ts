/** A network's leases between the runs of its daemon. */
import { sleep } from "../host/clock.ts";
import { readTextIfThere, writeFileAtomically } from "../host/files.ts";
import type { Lease } from "../service/dhcp/lease-table.ts";
import type { Log } from "../trace/log.ts";

/** the file is tried again after this, and after twice as long each time that fails */
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

/** The file of a network that runs: each state of its leases is there before anybody is told that it is. */
export class LeaseStore {
  readonly #path: string;
  readonly #log: Log;
  #leases: readonly Lease[] = [];
  /** the write that is going to be made, and what waits for it */
  #next: { promise: Promise<void>; resolve: () => void } | undefined;
  #retryMs = 0;
  #retry = new AbortController();

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /**
   * Of many that come at once the last is written. Resolves when it is on the disk, or cannot be put there now, in which
   * case nobody need wait any longer.
   */
  put(leases: readonly Lease[]): Promise<void> {
    this.#leases = leases;
    if (this.#next === undefined) {
      this.#next = Promise.withResolvers<void>();
      void sleep(0).then(() => this.#write());
    }
    return this.#next.promise;
  }

  #write(): void {
    const next = this.#next;
    this.#next = undefined;
    this.#retry.abort();
    try {
      writeFileAtomically(this.#path, `${JSON.stringify(this.#leases)}\n`);
      if (this.#retryMs > 0) this.#log.warn(`the leases are stored in ${this.#path} again`);
      this.#retryMs = 0;
    } catch (error) {
      this.#failed(error as Error);
    }
    next?.resolve();
  }

  /** The network goes on; what is lost if it never succeeds is that guests keep their addresses over a restart. */
  #failed({ message }: Error): void {
    if (this.#retryMs === 0)
      this.#log.error(
        `${message}; the network goes on, and its leases are stored as soon as that is possible`,
      );
    this.#retryMs = Math.min(LAST_RETRY_MS, 2 * this.#retryMs || FIRST_RETRY_MS);
    const retry = new AbortController();
    this.#retry = retry;
    void sleep(this.#retryMs, retry.signal).then(() => {
      if (!retry.signal.aborted) this.#write();
    });
  }

  /** Writes what is not written yet, as the network ends. */
  close(): void {
    if (this.#next === undefined && this.#retryMs === 0) return;
    this.#write();
    this.#retry.abort();
  }
}

export function storedLeases(path: string, warn: (sentence: string) => void): Lease[] {
  const stored = readLeaseFile(path, warn);
  if (!Array.isArray(stored)) return [];
  return stored.filter((lease) => typeof lease?.ip === "string" && typeof lease?.mac === "string");
}

/** The JSON of a file of leases, ours or Lima's; undefined when there is none, or nothing that can be read. */
export function readLeaseFile(path: string, warn: (sentence: string) => void): unknown {
  try {
    const text = readTextIfThere(path);
    return text === undefined ? undefined : JSON.parse(text);
  } catch (error) {
    warn(`the leases in ${path} cannot be read and are given up: ${(error as Error).message}`);
    return undefined;
  }
}
