/** The main thread's side of a user-mode network's engine. */
import { ThreadClient } from "../engine/thread-client.ts";
import type { Engine, EngineOptions } from "./engine.ts";
import type { EngineAnswer, EngineEvent, EngineStart } from "./engine-protocol.ts";

/** Starts a network in a thread of its own; resolves when it takes requests. */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  let post: (answer: EngineAnswer) => void = () => {};
  const onEvent = (event: EngineEvent) => {
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
  const start: EngineStart = {
    plan: options.plan,
    leases: options.leases,
    dnsTcpPath: options.dnsTcpPath,
    ...(options.capture === undefined ? {} : { capture: options.capture }),
  };
  const { thread } = await ThreadClient.start<EngineEvent>(
    "lib/daemon/network/engine-thread.ts",
    start,
    { onEvent, onFailure: (why) => options.onFailure(why) },
  );
  post = (answer) => thread.post(answer);
  return thread;
}
