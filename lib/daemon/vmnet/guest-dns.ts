/** DNS for the guests of a network with a subnet of its own, at the host's address in it: their own names, and what the host knows. */
import { formatIpv4, type Cidr } from "../../addr/ipv4.ts";
import { steadyUnixMs } from "../../host/clock.ts";
import { serveDns } from "../../host/dns-server.ts";
import type { Lease } from "../../service/dhcp/lease-table.ts";
import type { Log } from "../../trace/log.ts";
import { guestNames } from "../../vmnet/guest-names.ts";
import { DEFAULT_DNS_POLICY, startHostResponder } from "../network/host-responder.ts";
import { gatewayNames } from "../usernet.ts";

const DNS_PORT = 53;
/** the owner of the guests' names in the table of static hosts */
const GUESTS = "guests";

export interface GuestDns {
  /** The names are those of these leases from now on. */
  name(leases: readonly Lease[]): void;
  close(): void;
}

/** A network without it is of use, too: where the port is taken, whoever has it answers the guests. */
export async function serveGuestDns(
  { gateway, subnet }: { gateway: number; subnet: Cidr },
  log: Log,
): Promise<GuestDns> {
  const address = formatIpv4(gateway);
  const dns = startHostResponder(gatewayNames(address), DEFAULT_DNS_POLICY, subnet);
  const server = await serveDns(dns.responder, address, DNS_PORT).catch((error: Error) => {
    log.warn(`Cannot serve DNS on ${address}: ${error.message}`);
    return undefined;
  });
  return {
    name: (leases) => dns.hosts.set(GUESTS, guestNames(leases, steadyUnixMs())),
    close() {
      server?.close();
      dns.close();
    },
  };
}
