/** The main thread's side of a user-mode network's engine. */
import { ThreadClient } from "../engine/thread-client.ts";
import type { Engine, EngineOptions } from "./engine.ts";
import type { EngineAnswer, EngineEvent, EngineStart } from "./engine-protocol.ts";

/** Answers what an engine asks by itself, and hands on what it tells. */
export const answering =
  (options: EngineOptions, post: (answer: EngineAnswer) => void) =>
  (event: EngineEvent): void => {
    switch (event.type) {
      case "dns-query": {
        const { query } = event;
        const answer = (message: Uint8Array | undefined) =>
          post({ type: "dns-answer", query, ...(message === undefined ? {} : { message }) });
        const reply = options.resolve(event.message, event.client);
        if (reply instanceof Promise) void reply.then(answer);
        else answer(reply);
        return;
      }
      case "name-query": {
        const { query } = event;
        options.resolveName(event.name).then(
          (address) =>
            post({ type: "name-answer", query, ...(address === undefined ? {} : { address }) }),
          () => post({ type: "name-answer", query }),
        );
        return;
      }
      case "leases-changed": {
        const { leases, state } = event;
        void options.keepLeases(leases).then(() => post({ type: "leases-stored", state }));
        return;
      }
      case "frames-captured":
        options.onCaptured();
        return;
      default:
        options.onEvent(event);
    }
  };

/** Starts a network in a thread of its own; resolves when it takes requests. */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  let post: (answer: EngineAnswer) => void = () => {};
  const start: EngineStart = {
    plan: options.plan,
    leases: options.leases,
    dnsTcpPath: options.dnsTcpPath,
    ...(options.capture === undefined ? {} : { capture: options.capture }),
  };
  const { thread } = await ThreadClient.start<EngineEvent>(
    "lib/daemon/network/engine-thread.ts",
    start,
    {
      onEvent: answering(options, (answer) => post(answer)),
      onFailure: (why) => options.onFailure(why),
    },
  );
  post = (answer) => thread.post(answer);
  return thread;
}
