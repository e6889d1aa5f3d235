import type { Log } from "../../trace/log.ts";
import type { RunningSwitch } from "./running-switch.ts";

/** What a system makes of a network, and does for its guests: `linux-side.ts`, `apple-side.ts`. */
export interface HostSide {
  /** Starts the engine with its interface of the host, and all that guests need before they come. */
  start(log: Log): Promise<RunningSwitch>;
  /** how the network has come out, for the log */
  describe(network: RunningSwitch): string;
  /** Everything as it was before; the engine has been closed. */
  close(): Promise<void>;
}
