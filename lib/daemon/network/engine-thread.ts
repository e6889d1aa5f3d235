/** The module of a user-mode network's engine thread: what each request asks of the engine. */
import { postToMain } from "../../host/thread.ts";
import { VPNKIT_FRAMING } from "../../link/stream-framing.ts";
import { serveEngine } from "../engine/thread-server.ts";
import type { EngineAnswer, EngineReplies, EngineRequest, EngineStart } from "./engine-protocol.ts";
import { NetworkEngine } from "./network-engine.ts";

serveEngine<NetworkEngine, EngineStart, EngineAnswer, EngineRequest>({
  open: (options) => new NetworkEngine(options, postToMain),
  take(engine, notice) {
    switch (notice.type) {
      case "dns-answer":
        engine.answerDns(notice.query, notice.message);
        return;
      case "name-answer":
        engine.answerName(notice.query, notice.address);
        return;
      case "leases-stored":
        engine.leasesStored(notice.state);
    }
  },
  serve,
});

function serve(
  engine: NetworkEngine,
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
