/** The main thread's side of an engine thread: requests with one reply each, notices, and what the engine tells by itself. */
import { Doorbell } from "../../host/doorbell.ts";
import { startThread, type ThreadModule } from "../../host/thread.ts";
import type { EngineFailure, FromEngine, ThreadStart } from "./thread-protocol.ts";

/** A request that the engine could not carry out; the message is meant for people. */
export class EngineError extends Error {
  readonly code: string;

  constructor(failure: EngineFailure) {
    super(failure.message);
    this.code = failure.code;
  }
}

export interface EngineWatcher<Event> {
  onEvent(event: Event): void;
  /** the engine has died after it had started, or could not start; every request fails from now on */
  onFailure(why: Error): void;
}

interface Waiting {
  resolve(value: never): void;
  reject(error: Error): void;
}

export class ThreadClient<Event extends { type: string }> {
  readonly #doorbell = new Doorbell();
  readonly #sent = new Int32Array(new SharedArrayBuffer(4));
  readonly #waiting = new Map<number, Waiting>();
  readonly #watcher: EngineWatcher<Event>;
  readonly #worker: Worker;
  readonly #started = Promise.withResolvers<unknown>();
  #nextId = 0;
  #closed = false;
  #failure: EngineError | undefined;

  private constructor(module: ThreadModule, watcher: EngineWatcher<Event>) {
    this.#watcher = watcher;
    this.#worker = startThread(
      module,
      (message) => this.#onMessage(message as FromEngine | Event),
      (why) => this.#fail({ code: "ECRASHED", message: `The network engine stopped: ${why}` }),
    );
  }

  /** Starts an engine in a thread of its own; resolves with what it tells of itself when it takes requests. */
  static async start<Event extends { type: string }>(
    module: ThreadModule,
    options: object,
    watcher: EngineWatcher<Event>,
  ): Promise<{ thread: ThreadClient<Event>; facts: unknown }> {
    const thread = new ThreadClient<Event>(module, watcher);
    thread.post({
      type: "start",
      doorbell: thread.#doorbell.fd,
      sent: thread.#sent.buffer as SharedArrayBuffer,
      options,
    } satisfies ThreadStart<object>);
    try {
      return { thread, facts: await thread.#started.promise };
    } catch (error) {
      thread.#end();
      throw error;
    }
  }

  /** A message that gets no reply. */
  post(message: object): void {
    if (this.#closed) return;
    Atomics.add(this.#sent, 0, 1);
    this.#worker.postMessage(message);
    this.#doorbell.ring();
  }

  request(request: object): Promise<never> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.post({ ...request, id });
    });
  }

  /** Lets the engine release what it has, and ends its thread. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.request({ type: "shutdown" }).catch(() => null);
    this.#end();
  }

  #end(): void {
    this.#closed = true;
    this.#worker.terminate();
    this.#doorbell.close();
  }

  #onMessage(message: FromEngine | Event): void {
    if (!("fromThread" in message)) {
      this.#watcher.onEvent(message);
      return;
    }
    switch (message.type) {
      case "ready":
        this.#started.resolve(message.facts);
        return;
      case "failed":
        this.#fail(message.failure);
        return;
      case "reply":
        this.#waiting.get(message.id)?.resolve(message.value as never);
        this.#waiting.delete(message.id);
        return;
      case "failure":
        this.#waiting.get(message.id)?.reject(new EngineError(message.failure));
        this.#waiting.delete(message.id);
    }
  }

  #fail(why: EngineFailure): void {
    this.#failure = new EngineError(why);
    this.#started.reject(this.#failure);
    for (const request of this.#waiting.values()) request.reject(this.#failure);
    this.#waiting.clear();
    if (!this.#closed) this.#watcher.onFailure(this.#failure);
  }
}
