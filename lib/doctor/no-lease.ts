/** What a start says when its guest gets no address on a shared, host or bridged network, or on vzNAT. */
import { BOOTPD_COMMANDS } from "./firewall.ts";
import type { Finding } from "./finding.ts";

/** `blocking`: what doctor finds in the area firewall */
export function noLease(
  network: string,
  seconds: number,
  system: "darwin" | "linux",
  blocking: readonly Finding[],
): string {
  const said = `The guest has got no address on ${network} within ${seconds} s`;
  // what the firewall says of itself there is not always so, and the commands do no harm
  if (system === "darwin")
    return `${said}: macOS' firewall may block bootpd, its DHCP server (${BOOTPD_COMMANDS.join(" && ")})`;
  if (blocking.length === 0)
    return `${said}: its system may not ask for one on this card (sudo limanet doctor firewall looks at what this host blocks)`;
  return `${said}: ${blocking.map(({ problem, fix }) => `${problem} (${fix.join("; ")})`).join("; ")}`;
}
