/** The names by which a network's guests are found: what they call themselves when they ask for an address (RFC 2132 3.14). */
import type { Lease } from "../service/dhcp/lease-table.ts";
import type { HostTable } from "../service/dns/static-hosts.ts";

/** as on user-v2 networks, whose machines are lima-NAME.internal */
const ZONE = "internal";
/** a host's name (RFC 1123 2.1) */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * NAME.internal for each lease that lasts and has a name, of which the part in front of the first dot counts: no guest can
 * take a name elsewhere, nor one that another has, who is the one with the lower address. `now` is Unix time in milliseconds.
 */
export function guestNames(leases: readonly Lease[], now: number): HostTable {
  const names: Record<string, string> = {};
  for (const { ip, hostname, expiresAt = Infinity } of leases) {
    const name = hostname?.toLowerCase().split(".")[0] ?? "";
    if (LABEL.test(name) && expiresAt > now) names[`${name}.${ZONE}`] ??= ip;
  }
  return names;
}
