/**
 * The engine thread: runs a network's turns for ever and takes the main thread's messages in between. While nothing
 * happens it sleeps in the loop; the main thread wakes it by the doorbell after each message it has sent.
 */
import { watchDoorbell } from "../../host/doorbell.ts";
import { HostError } from "../../host/listening-sockets.ts";
import { afterMessages, onMessage, postToMain } from "../../host/thread.ts";
import { VPNKIT_FRAMING } from "../../link/stream-framing.ts";
import type {
  DnsAnswer,
  EngineFailure,
  EngineReplies,
  EngineRequest,
  EngineStart,
  NameAnswer,
} from "./engine-protocol.ts";
import { NetworkEngine } from "./network-engine.ts";

/** a request with the number its reply must carry */
export type NumberedRequest = EngineRequest & { id: number };

export type EngineMessage =
  | { type: "ready" }
  | { type: "failed"; failure: EngineFailure }
  | { type: "reply"; id: number; value: EngineReplies[keyof EngineReplies] }
  | { type: "failure"; id: number; failure: EngineFailure };

let engine: NetworkEngine | undefined;
let sent: Int32Array | undefined;
let received = 0;
let running = true;

onMessage((message) => {
  received++;
  const input = message as EngineStart | DnsAnswer | NameAnswer | NumberedRequest;
  if (input.type === "start") start(input);
  else if (input.type === "dns-answer") engine?.answerDns(input.query, input.message);
  else if (input.type === "name-answer") engine?.answerName(input.query, input.address);
  else serve(input);
});

function start(options: EngineStart): void {
  try {
    engine = new NetworkEngine(options, postToMain);
  } catch (error) {
    postToMain({ type: "failed", failure: failureOf(error) } satisfies EngineMessage);
    return;
  }
  sent = new Int32Array(options.sent);
  watchDoorbell(options.doorbell, engine.loop);
  postToMain({ type: "ready" } satisfies EngineMessage);
  afterMessages(run);
}

/** Turns until there is a message to take, then lets the thread's own event loop deliver it. */
function run(): void {
  if (engine === undefined || sent === undefined) return;
  // what a message has asked for is carried out before the thread sleeps
  engine.settle();
  while (running) {
    if (Atomics.load(sent, 0) !== received) {
      afterMessages(run);
      return;
    }
    engine.turn(Infinity);
  }
}

function serve(request: NumberedRequest): void {
  const { id } = request;
  const reply = (value: EngineReplies[keyof EngineReplies]) =>
    postToMain({ type: "reply", id, value } satisfies EngineMessage);
  try {
    if (engine === undefined)
      throw new HostError("ESHUTDOWN", "Cannot serve the request: the network has been shut down");
    switch (request.type) {
      case "listen":
        engine.listen(request.kind, request.path);
        reply(null);
        return;
      case "attach-vpnkit":
        engine.attach(request.fd, VPNKIT_FRAMING, request.early);
        reply(null);
        return;
      case "attach-listening":
        engine.attachListening(request.path);
        reply(null);
        return;
      case "expose":
        reply({ bound: engine.expose(request.forward) });
        return;
      case "unexpose":
        engine.unexpose(request.local, request.protocol);
        reply(null);
        return;
      case "forwards":
        reply(engine.forwards());
        return;
      case "leases":
        reply(engine.leases());
        return;
      case "cam":
        reply(engine.cam());
        return;
      case "stats":
        reply(engine.stats());
        return;
      case "tunnel":
        engine.tunnel(request.fd, request.ip, request.port);
        reply(null);
        return;
      case "socks":
        reply({ port: engine.socks(request.port) });
        return;
      case "probe":
        engine.probe(request.ip, request.port, request.timeoutMs, reply);
        return;
      case "capture":
        engine.capture(request.path);
        reply(null);
        return;
      case "shutdown":
        running = false;
        engine.close();
        engine = undefined;
        reply(null);
        return;
    }
  } catch (error) {
    postToMain({ type: "failure", id, failure: failureOf(error) } satisfies EngineMessage);
  }
}

function failureOf(error: unknown): EngineFailure {
  const { code, message } = error as { code?: string; message?: string };
  return { code: code ?? "FAILED", message: message ?? String(error) };
}
