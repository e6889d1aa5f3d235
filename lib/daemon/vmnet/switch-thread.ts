/** The module of a vmnet network's engine thread: what each request asks of the engine. */
import { postToMain } from "../../host/thread.ts";
import { serveEngine } from "../engine/thread-server.ts";
import { SwitchEngine } from "./switch-engine.ts";
import type { LeasesStored, SwitchRequest, SwitchStart } from "./switch-protocol.ts";

serveEngine<SwitchEngine, SwitchStart, LeasesStored, SwitchRequest>({
  open: (options) => new SwitchEngine(options, postToMain),
  factsOf: ({ facts }) => facts,
  take: (engine, { state }) => engine.leasesStored(state),
  serve(engine, request, reply) {
    switch (request.type) {
      case "pin":
        engine.pin(request.mac);
        reply(null);
        return;
      case "serve-dhcp":
        engine.serveDhcp(request.plan, request.gatewayMac, request.leases);
        reply(null);
        return;
      case "isolate":
        engine.isolate();
        reply(null);
        return;
      case "refuse-dhcp-servers":
        engine.refuseDhcpServers();
        reply(null);
        return;
      case "listen":
        engine.ports.listen(
          request.kind,
          request.path,
          request.gid === undefined ? undefined : { gid: request.gid },
        );
        reply(null);
        return;
      case "stats":
        reply(engine.stats());
    }
  },
});
