/** `limanet usernet` over the plain host (`plain-host.ts`), as far as the lab needs it; other options than these mean nothing. */
import { parseArgs } from "node:util";
import { answering } from "../../lib/daemon/network/engine-client.ts";
import type { Engine, EngineOptions } from "../../lib/daemon/network/engine.ts";
import type { EngineReplies, EngineRequest } from "../../lib/daemon/network/engine-protocol.ts";
import { serveRequest, takeAnswer } from "../../lib/daemon/network/engine-requests.ts";
import { DEFAULT_DNS_POLICY } from "../../lib/daemon/network/host-responder.ts";
import { NetworkEngine } from "../../lib/daemon/network/network-engine.ts";
import { startNetworkService } from "../../lib/daemon/network/network-service.ts";
import { gatewayNames, userV2Plan } from "../../lib/daemon/usernet.ts";
import { SILENT } from "../../lib/trace/log.ts";
import { plainHost } from "./plain-host.ts";

/** An engine on the thread that asks it; what it tells is heard when its turn is over, as from a thread of its own. */
async function startPlainEngine(options: EngineOptions): Promise<Engine> {
  const tell = answering(options, (answer) => {
    takeAnswer(engine, answer);
    engine.loop.wake();
  });
  const engine = new NetworkEngine(
    options,
    (event) => queueMicrotask(() => tell(event)),
    plainHost,
  );
  engine.loop.turn = () => engine.turn(Infinity);
  return {
    request: <R extends EngineRequest>(request: R) =>
      new Promise<EngineReplies[R["type"]]>((resolve) => {
        serveRequest(engine, request, (value) => resolve(value as EngineReplies[R["type"]]));
        engine.loop.wake();
      }),
    close: async () => engine.close(),
  };
}

const { values } = parseArgs({
  strict: false,
  options: {
    endpoint: { type: "string", short: "e" },
    "listen-qemu": { type: "string" },
    subnet: { type: "string" },
    mtu: { type: "string", default: "1500" },
    leases: { type: "string" },
  },
});
const { endpoint, "listen-qemu": path, subnet, mtu, leases } = values as Record<string, string>;
const plan = userV2Plan(subnet!, Number(mtu), leases);
await startNetworkService({
  plan,
  listen: [{ kind: "stream", path: path! }],
  endpoint,
  dnsTcpPath: `${endpoint}.dns`,
  leaseFile: undefined,
  hosts: gatewayNames(plan.gateway),
  dns: DEFAULT_DNS_POLICY,
  capture: undefined,
  log: SILENT,
  startEngine: startPlainEngine,
});
process.stderr.write("network ready\n");
