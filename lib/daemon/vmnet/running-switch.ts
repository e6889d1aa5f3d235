/** A vmnet network's engine as the main thread sees it. */
import type { Lease } from "../../service/dhcp/lease-table.ts";
import type { Log } from "../../trace/log.ts";
import { logPortEvent } from "../engine/port-events.ts";
import { ThreadClient } from "../engine/thread-client.ts";
import type { SwitchEvent, SwitchRequest, SwitchStart, UplinkFacts } from "./switch-protocol.ts";

export interface RunningSwitch {
  facts: UplinkFacts;
  /** rejects when the engine has died or the host's interface has gone; never resolves */
  failed: Promise<never>;
  request(request: SwitchRequest): Promise<unknown>;
  close(): Promise<void>;
}

/** keepLeases stores them; until it resolves no guest is told of those that are new. Starts the engine, which makes the host's interface; rejects with an EngineError when that cannot be done. */
export async function startSwitch(
  start: SwitchStart,
  log: Log,
  keepLeases: (leases: readonly Lease[]) => Promise<void>,
): Promise<RunningSwitch> {
  const { promise: failed, reject } = Promise.withResolvers<never>();
  // whoever waits for it is told; until then it is no unhandled rejection
  failed.catch(() => {});
  const module = "lib/daemon/vmnet/switch-thread.ts";
  const { thread, facts } = await ThreadClient.start<SwitchEvent>(module, start, {
    onEvent(event) {
      if (event.type === "uplink-lost")
        reject(new Error(`Cannot go on with the network: ${event.reason}`));
      else if (event.type === "leases-changed") {
        const { leases, state } = event;
        void keepLeases(leases).then(() => thread.post({ type: "leases-stored", state }));
      } else logPortEvent(event, log);
    },
    onFailure: reject,
  });
  return {
    facts: facts as UplinkFacts,
    failed,
    request: (request) => thread.request(request),
    close: () => thread.close(),
  };
}
