/** The operating system's resolver in threads that are started when they are needed. */
import type { SystemAnswer, SystemResolver } from "../service/dns/responder.ts";
import type { ResolverReply, ResolverRequest } from "./resolver-thread.ts";
import { startThread } from "./thread.ts";

/** threads that are not stuck in a dead resolver */
const WORKING_THREADS = 4;
const ALL_THREADS = 8;
const MAX_QUEUE = 1024;
/** resolvers in guests give up after five seconds, some sooner */
const LIMIT_MS = 3500;
/** a thread that waits this long does not keep others from being started */
const STUCK_MS = 500;

interface Job {
  request: ResolverRequest;
  resolve(reply: ResolverReply): void;
  startedAt: number;
}

interface Thread {
  worker: Worker;
  job: Job | undefined;
}

export class ThreadedSystemResolver implements SystemResolver {
  readonly #threads: Thread[] = [];
  /** jobs that no thread has taken */
  readonly #queue = new Set<Job>();
  #stuckTimer: ReturnType<typeof setTimeout> | undefined;

  async addresses(name: string, family: 4 | 6, withRaw: boolean): Promise<SystemAnswer> {
    const reply = await this.#run({ kind: "addresses", name, family, withRaw });
    return (reply as SystemAnswer | undefined) ?? { kind: "overload" };
  }

  async query(name: string, type: number): Promise<Uint8Array | undefined> {
    return (await this.#run({ kind: "query", name, type })) as Uint8Array | undefined;
  }

  /** Undefined when there was no answer in time, or there is too much to do. */
  #run(request: ResolverRequest): Promise<ResolverReply> {
    if (this.#queue.size >= MAX_QUEUE) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<ResolverReply>();
    const job: Job = { request, resolve, startedAt: 0 };
    const limit = setTimeout(() => {
      this.#queue.delete(job);
      resolve(undefined);
    }, LIMIT_MS);
    this.#queue.add(job);
    this.#next();
    return promise.finally(() => clearTimeout(limit));
  }

  /** Gives waiting jobs to idle threads, and starts threads while there are too few. */
  #next(): void {
    for (const job of this.#queue) {
      const thread = this.#threads.find((idle) => idle.job === undefined) ?? this.#start();
      if (thread === undefined) {
        this.#stuckTimer ??= setTimeout(() => {
          this.#stuckTimer = undefined;
          this.#next();
        }, STUCK_MS);
        return;
      }
      this.#queue.delete(job);
      job.startedAt = performance.now();
      thread.job = job;
      thread.worker.postMessage(job.request);
    }
  }

  #start(): Thread | undefined {
    const now = performance.now();
    const working = this.#threads.filter(
      ({ job }) => job === undefined || now - job.startedAt < STUCK_MS,
    );
    if (working.length >= WORKING_THREADS || this.#threads.length >= ALL_THREADS) return undefined;
    const worker = startThread(
      "lib/host/resolver-thread.ts",
      (message) => {
        const { job } = thread;
        thread.job = undefined;
        job?.resolve(message as ResolverReply);
        if (this.#threads.length > WORKING_THREADS && this.#queue.size === 0) this.#end(thread);
        else this.#next();
      },
      () => {
        thread.job?.resolve(undefined);
        this.#end(thread);
        this.#next();
      },
    );
    const thread: Thread = { worker, job: undefined };
    this.#threads.push(thread);
    return thread;
  }

  #end(thread: Thread): void {
    thread.worker.terminate();
    const at = this.#threads.indexOf(thread);
    if (at >= 0) this.#threads.splice(at, 1);
  }

  close(): void {
    clearTimeout(this.#stuckTimer);
    for (const job of this.#queue) job.resolve(undefined);
    this.#queue.clear();
    for (const thread of this.#threads.splice(0)) {
      thread.job?.resolve(undefined);
      thread.worker.terminate();
    }
  }
}
