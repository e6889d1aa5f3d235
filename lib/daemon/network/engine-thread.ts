/** The module of a user-mode network's engine thread. */
import type { EventLoop } from "../../host/event-loop.ts";
import { postToMain } from "../../host/thread.ts";
import { serveEngine } from "../engine/thread-server.ts";
import { systemHost } from "./engine-host.ts";
import type { EngineAnswer, EngineRequest, EngineStart } from "./engine-protocol.ts";
import { serveRequest, takeAnswer } from "./engine-requests.ts";
import { NetworkEngine } from "./network-engine.ts";

serveEngine<NetworkEngine<EventLoop>, EngineStart, EngineAnswer, EngineRequest>({
  open: (options) => new NetworkEngine(options, postToMain, systemHost),
  take: takeAnswer,
  serve: serveRequest,
});
