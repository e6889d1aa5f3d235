/** A DNS responder over this machine's resolver and name servers. */
import type { Cidr } from "../../addr/ipv4.ts";
import { monotonicMs } from "../../host/clock.ts";
import { HedgedSystemResolver } from "../../host/dns-hedged-resolver.ts";
import { ThreadedSystemResolver } from "../../host/dns-system-resolver.ts";
import { NameServerUpstream } from "../../host/dns-upstream.ts";
import { WatchedHostNaming } from "../../host/host-naming.ts";
import { DnsResponder } from "../../service/dns/responder.ts";
import { StaticHosts, type HostTable } from "../../service/dns/static-hosts.ts";
import { DnsZones } from "../../service/dns/zones.ts";

/** What a person may choose about DNS. */
export interface DnsPolicy {
  /** AAAA is answered */
  ipv6: boolean;
  /** 8.8.8.8 and 1.1.1.1 are asked where the host names no server */
  publicFallback: boolean;
  /** an outage is an empty answer, as in Lima, rather than SERVFAIL */
  emptyOnOutage: boolean;
}

export const DEFAULT_DNS_POLICY: DnsPolicy = {
  ipv6: false,
  publicFallback: true,
  emptyOnOutage: false,
};

/** The owner of the names a network has from its beginning; other owners add theirs. */
const NETWORK = "";

export interface HostResponder {
  responder: DnsResponder;
  zones: DnsZones;
  hosts: StaticHosts;
  /** Other names in place of those it began with. */
  setNames(names: HostTable): void;
  close(): void;
}

export function startHostResponder(
  names: HostTable,
  policy: DnsPolicy,
  subnet?: Cidr,
): HostResponder {
  const zones = new DnsZones();
  const hosts = new StaticHosts();
  const setNames = (table: HostTable) => hosts.set(NETWORK, table);
  setNames(names);
  const naming = new WatchedHostNaming(policy.publicFallback);
  const system = new ThreadedSystemResolver();
  const upstream = new NameServerUpstream();
  const responder = new DnsResponder({
    zones,
    hosts,
    naming,
    resolver: new HedgedSystemResolver(system, upstream, naming),
    upstream,
    ipv6: policy.ipv6,
    emptyOnOutage: policy.emptyOnOutage,
    subnet,
    now: monotonicMs,
  });
  return {
    responder,
    zones,
    hosts,
    setNames,
    close: () => {
      system.close();
      upstream.close();
    },
  };
}
