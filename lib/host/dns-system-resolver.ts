import type { SystemAnswer, SystemResolver } from "../service/dns/responder.ts";
import type { ResolverReply, ResolverRequest } from "./resolver-thread.ts";
import { startThread } from "./thread.ts";

const THREADS = 2;
/** requests one thread may have waiting; a resolver that hangs must not pile up work */
const QUEUE = 128;

interface Thread {
  worker: Worker;
  waiting: Map<number, (answer: SystemAnswer) => void>;
}

/** getaddrinfo(3) in threads that are started with the first query. */
export class ThreadedSystemResolver implements SystemResolver {
  readonly #threads: Thread[] = [];
  #nextId = 0;

  lookup(name: string, family: 4 | 6): Promise<SystemAnswer> {
    const thread = this.#leastBusy();
    if (thread.waiting.size >= QUEUE) return Promise.resolve({ kind: "failure" });
    const id = this.#nextId++;
    return new Promise((resolve) => {
      thread.waiting.set(id, resolve);
      thread.worker.postMessage({ id, name, family } satisfies ResolverRequest);
    });
  }

  #leastBusy(): Thread {
    const idle = this.#threads.find((thread) => thread.waiting.size === 0);
    if (idle !== undefined) return idle;
    if (this.#threads.length < THREADS) return this.#start();
    return this.#threads.reduce((best, thread) =>
      thread.waiting.size < best.waiting.size ? thread : best,
    );
  }

  #start(): Thread {
    const waiting: Thread["waiting"] = new Map();
    const worker = startThread(
      "lib/host/resolver-thread.ts",
      (message) => {
        const { id, answer } = message as ResolverReply;
        waiting.get(id)?.(answer);
        waiting.delete(id);
      },
      () => {
        for (const resolve of waiting.values()) resolve({ kind: "failure" });
        waiting.clear();
      },
    );
    const thread = { worker, waiting };
    this.#threads.push(thread);
    return thread;
  }

  close(): void {
    for (const thread of this.#threads) thread.worker.terminate();
    this.#threads.length = 0;
  }
}
