/** What each message of the main thread asks of a user-mode network's engine. */
import { VPNKIT_FRAMING } from "../../link/stream-framing.ts";
import type { EngineLoop } from "./engine-host.ts";
import type { EngineAnswer, EngineReplies, EngineRequest } from "./engine-protocol.ts";
import type { NetworkEngine } from "./network-engine.ts";

export function takeAnswer<Loop extends EngineLoop>(
  engine: NetworkEngine<Loop>,
  answer: EngineAnswer,
): void {
  switch (answer.type) {
    case "dns-answer":
      engine.answerDns(answer.query, answer.message);
      return;
    case "name-answer":
      engine.answerName(answer.query, answer.address);
      return;
    case "leases-stored":
      engine.leasesStored(answer.state);
  }
}

/** Carries out a request of the main thread's, and replies once. Throws what the person is told. */
export function serveRequest<Loop extends EngineLoop>(
  engine: NetworkEngine<Loop>,
  request: EngineRequest,
  reply: (value: EngineReplies[keyof EngineReplies]) => void,
): void {
  switch (request.type) {
    case "listen":
      engine.ports.listen(request.kind, request.path);
      reply(null);
      return;
    case "attach-vpnkit":
      engine.ports.attach(request.fd, VPNKIT_FRAMING, request.early);
      reply(null);
      return;
    case "attach-listening":
      engine.ports.attachListening(request.path);
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
      engine.capture(request.into);
      reply(null);
  }
}
