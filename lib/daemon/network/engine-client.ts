/** The main thread's side of an engine thread. */
import { Doorbell } from "../../host/doorbell.ts";
import { startThread } from "../../host/thread.ts";
import type { Engine, EngineOptions } from "./engine.ts";
import type {
  DnsAnswer,
  EngineEvent,
  EngineFailure,
  EngineReplies,
  EngineRequest,
  EngineStart,
  NameAnswer,
} from "./engine-protocol.ts";
import type { EngineMessage, NumberedRequest } from "./engine-thread.ts";

/** A request that the engine could not carry out; the message is meant for people. */
export class EngineError extends Error {
  readonly code: string;

  constructor(failure: EngineFailure) {
    super(failure.message);
    this.code = failure.code;
  }
}

interface Waiting {
  resolve(value: never): void;
  reject(error: Error): void;
}

/** Starts a network in a thread of its own; resolves when it takes requests. */
export function startEngine(options: EngineOptions): Promise<Engine> {
  const doorbell = new Doorbell();
  const sent = new Int32Array(new SharedArrayBuffer(4));
  const waiting = new Map<number, Waiting>();
  let nextId = 0;
  let closed = false;
  let failure: EngineError | undefined;
  const { promise: ready, resolve, reject } = Promise.withResolvers<Engine>();

  const fail = (why: EngineFailure) => {
    failure = new EngineError(why);
    reject(failure);
    for (const request of waiting.values()) request.reject(failure);
    waiting.clear();
    if (!closed) options.onFailure(failure);
  };
  const worker = startThread(
    "lib/daemon/network/engine-thread.ts",
    (message) => onMessage(message as EngineMessage | EngineEvent),
    (why) => fail({ code: "ECRASHED", message: `The network engine stopped: ${why}` }),
  );
  const post = (message: EngineStart | NumberedRequest | DnsAnswer | NameAnswer) => {
    if (closed) return;
    Atomics.add(sent, 0, 1);
    worker.postMessage(message);
    doorbell.ring();
  };

  function onMessage(message: EngineMessage | EngineEvent): void {
    switch (message.type) {
      case "ready":
        resolve(engine);
        return;
      case "failed":
        fail(message.failure);
        return;
      case "reply":
        waiting.get(message.id)?.resolve(message.value as never);
        waiting.delete(message.id);
        return;
      case "failure":
        waiting.get(message.id)?.reject(new EngineError(message.failure));
        waiting.delete(message.id);
        return;
      case "dns-query": {
        const answer = (reply: Uint8Array | undefined) =>
          post({
            type: "dns-answer",
            query: message.query,
            ...(reply === undefined ? {} : { message: reply }),
          });
        const reply = options.resolve(message.message, message.client);
        if (reply instanceof Promise) void reply.then(answer);
        else answer(reply);
        return;
      }
      case "name-query": {
        const { query } = message;
        options.resolveName(message.name).then(
          (address) =>
            post({ type: "name-answer", query, ...(address === undefined ? {} : { address }) }),
          () => post({ type: "name-answer", query }),
        );
        return;
      }
      default:
        options.onEvent(message);
    }
  }

  const engine: Engine = {
    request<R extends EngineRequest>(request: R): Promise<EngineReplies[R["type"]]> {
      if (failure !== undefined) return Promise.reject(failure);
      const id = nextId++;
      return new Promise((done, failed) => {
        waiting.set(id, { resolve: done, reject: failed });
        post({ ...request, id });
      });
    },
    async close() {
      if (closed) return;
      await this.request({ type: "shutdown" }).catch(() => null);
      closed = true;
      worker.terminate();
      doorbell.close();
    },
  };
  const start: EngineStart = {
    type: "start",
    plan: options.plan,
    leases: options.leases,
    dnsTcpPath: options.dnsTcpPath,
    doorbell: doorbell.fd,
    sent: sent.buffer as SharedArrayBuffer,
    ...(options.capture === undefined ? {} : { capture: options.capture }),
  };
  post(start);
  return ready;
}
