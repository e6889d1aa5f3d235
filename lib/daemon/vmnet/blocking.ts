/**
 * What of the host keeps a network's packets from passing, told in its log when it comes up: unlike its users, the daemon may
 * see the host's rules. Whoever starts it hands the warnings on.
 */
import { examine } from "../../doctor/finding.ts";
import { firewallChecks } from "../../doctor/firewall.ts";
import type { Log } from "../../trace/log.ts";
import type { VmnetSettings } from "../../vmnet/settings.ts";
import { linuxFirewallFacts } from "../doctor/firewall-facts.ts";
import type { HostPlan } from "./host-network.ts";

export async function warnOfBlocking(
  socket: string,
  { mode }: VmnetSettings,
  { bridge, own }: HostPlan,
  log: Log,
): Promise<void> {
  // varRun's sockets have the network's name in theirs
  const name = socket.slice(socket.lastIndexOf("/") + 1).replace(/^socket_vmnet\./, "");
  try {
    const facts = await linuxFirewallFacts([
      { name, mode, bridge, ...(own === undefined ? {} : { own }) },
    ]);
    for (const { problem, fix } of examine(firewallChecks, facts))
      log.warn(`${problem} (${fix.join("; ")})`);
  } catch (error) {
    // the network is up all the same
    log.warn(`Cannot look for what blocks the network: ${(error as Error).message}`);
  }
}

/** The warnings in a daemon's log, which `lineLog` has written as text. */
export function warningsIn(text: string): string[] {
  return [...text.matchAll(/^time="[^"]*" level=warn msg=(".*")$/gm)].map(
    ([, message]) => JSON.parse(message!) as string,
  );
}
