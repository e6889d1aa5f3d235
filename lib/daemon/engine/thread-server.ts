/**
 * The engine thread's side: runs an engine's turns for ever and takes the main thread's messages in between. While nothing
 * happens it sleeps in the loop; the main thread wakes it by the doorbell after each message it has sent.
 */
import { watchDoorbell } from "../../host/doorbell.ts";
import { monotonicMs } from "../../host/clock.ts";
import type { EventLoop } from "../../host/event-loop.ts";
import { HostError } from "../../host/listening-sockets.ts";
import { afterMessages, onMessage, postToMain } from "../../host/thread.ts";
import { releaseProgramPages, returnUnusedMemory } from "../../host/unused-memory.ts";
import { REST_AFTER_MS, RestAfterWork } from "./rest-after-work.ts";
import type { EngineFailure, FromEngine, Numbered, ThreadStart } from "./thread-protocol.ts";

/** What turns. */
export interface ThreadEngine {
  readonly loop: EventLoop;
  /** One turn; waits at most `limitMs` for something to happen (Infinity: as long as it takes). */
  turn(limitMs: number): void;
  settle(): void;
  /** There was much to do, and now there is little: what was needed for it can be given back. */
  rest?(): void;
  close(): void;
}

/** What an engine's thread does with what the main thread says. */
export interface EngineService<Engine extends ThreadEngine, Options, Notice, Request> {
  open(options: Options): Engine;
  /** what the main thread learns when the engine has started */
  factsOf?(engine: Engine): unknown;
  /** a message without reply */
  take?(engine: Engine, notice: Notice): void;
  /** Carries out a request and replies once, now or later. Throws what the person is told. */
  serve(engine: Engine, request: Request, reply: (value: unknown) => void): void;
}

export function serveEngine<Engine extends ThreadEngine, Options, Notice, Request>(
  service: EngineService<Engine, Options, Notice, Request>,
): void {
  let engine: Engine | undefined;
  let sent: Int32Array = new Int32Array(1);
  let received = 0;
  const rest = new RestAfterWork(monotonicMs());

  const post = (message: Omit<FromEngine, "fromThread">) =>
    postToMain({ fromThread: true, ...message });

  const start = ({ options, doorbell, sent: count }: ThreadStart<Options>) => {
    try {
      engine = service.open(options);
    } catch (error) {
      post({ type: "failed", failure: failureOf(error) } as FromEngine);
      return;
    }
    sent = new Int32Array(count);
    watchDoorbell(doorbell, engine.loop);
    post({ type: "ready", facts: service.factsOf?.(engine) } as FromEngine);
    afterMessages(run);
  };

  /** Turns until there is a message to take, then lets the thread's own event loop deliver it. */
  const run = () => {
    // what a message has asked for is carried out before the thread sleeps
    engine?.settle();
    while (engine !== undefined) {
      if (Atomics.load(sent, 0) !== received) {
        afterMessages(run);
        return;
      }
      engine.turn(rest.isDue ? REST_AFTER_MS : Infinity);
      const now = monotonicMs();
      const due = rest.turned(now, now - engine.loop.wokenAt);
      if (due === "first") {
        returnUnusedMemory();
        engine.rest?.();
      }
      if (due === "second") releaseProgramPages();
    }
  };

  const serve = (request: Numbered<Request> | Numbered<{ type: "shutdown" }>) => {
    const { id } = request;
    const reply = (value: unknown) => post({ type: "reply", id, value } as FromEngine);
    try {
      if (engine === undefined)
        throw new HostError(
          "ESHUTDOWN",
          "Cannot serve the request: the network has been shut down",
        );
      if ("type" in request && request.type === "shutdown") {
        engine.close();
        engine = undefined;
        reply(null);
      } else service.serve(engine, request as Request, reply);
    } catch (error) {
      post({ type: "failure", id, failure: failureOf(error) } as FromEngine);
    }
  };

  onMessage((message) => {
    received++;
    const input = message as { type: string } | Numbered<Request>;
    if ("id" in input) serve(input);
    else if (input.type === "start") start(input as ThreadStart<Options>);
    else if (engine !== undefined) service.take?.(engine, input as Notice);
  });
}

function failureOf(error: unknown): EngineFailure {
  const { code, message } = error as { code?: string; message?: string };
  return { code: code ?? "FAILED", message: message ?? String(error) };
}
