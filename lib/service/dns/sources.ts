/**
 * Which source answers a question, decided without asking anybody: the network's own names, the host's hosts file, the
 * operating system's resolver (so nsswitch, VPN, split DNS and mDNS count), or the host's name servers.
 */
import { cidrContains, parseIpv4, type Cidr } from "../../addr/ipv4.ts";
import { canonicalName, CLASS_IN, isPlainName, questionName, TYPE, type Query } from "./message.ts";
import type { Route } from "./routes.ts";
import { addressFamily, type StaticAnswer, type StaticHosts } from "./static-hosts.ts";
import type { DnsZones } from "./zones.ts";

/** How the host resolves names now. */
export interface HostNaming {
  /** grows whenever anything of it has changed */
  revision(): number;
  /** addresses of the hosts file, where it is asked before DNS */
  hostsFile(name: string): readonly string[];
  /** the name servers for a name */
  route(name: string): Route;
}

export interface NameSources {
  zones: DnsZones;
  hosts: StaticHosts;
  naming: HostNaming;
  /** answer AAAA; otherwise they are empty at once (hostResolver.ipv6) */
  ipv6: boolean;
  /** addresses whose names nobody else can know */
  subnet?: Cidr | undefined;
}

export type Source =
  /** an entry of the static hosts */
  | { kind: "static"; entry: string; address: string | undefined }
  | { kind: "static-circle"; entry: string }
  /** a static name for a name elsewhere, which `target` says */
  | { kind: "static-alias"; entry: string; alias: string; target: Source | undefined }
  /** a zone of the control API */
  | { kind: "zone"; address: string | undefined }
  | { kind: "own-address"; names: readonly string[] }
  /** under our own names, and not there */
  | { kind: "no-such-own-name" }
  | { kind: "ipv6-off" }
  | { kind: "hosts-file"; addresses: readonly string[] }
  | { kind: "system-addresses"; name: string; family: 4 | 6; withRaw: boolean }
  | { kind: "system-query"; name: string; type: number }
  | { kind: "name-servers"; route: Route };

/** asked of the operating system's resolver library (issue: the types Lima answers natively) */
const SYSTEM_TYPES = new Set<number>([TYPE.CNAME, TYPE.TXT, TYPE.NS, TYPE.MX, TYPE.SRV]);
/** these say another address of a name, so that a static one would not count */
const ADDRESS_LIKE = new Set<number>([
  TYPE.A,
  TYPE.AAAA,
  TYPE.CNAME,
  TYPE.SVCB,
  TYPE.HTTPS,
  TYPE.ANY,
]);

export function sourceOf(query: Query, sources: NameSources): Source {
  const name = questionName(query);
  const { zones, hosts, naming, subnet } = sources;
  if (query.class !== CLASS_IN) return { kind: "name-servers", route: naming.route(name) };
  if (query.type === TYPE.PTR) {
    const ip = reverseAddress(name);
    const names =
      ip === undefined ? [] : [...new Set([...hosts.namesOf(ip), ...zones.namesOf(ip)])];
    if (names.length > 0) return { kind: "own-address", names };
    const address = ip === undefined ? undefined : parseIpv4(ip);
    if (address !== undefined && subnet !== undefined && cidrContains(subnet, address))
      return { kind: "no-such-own-name" };
  }
  return ownSource(name, query.type, sources) ?? hostSource(name, query, sources);
}

/** The network's own word about a name. */
function ownSource(name: string, type: number, sources: NameSources): Source | undefined {
  const { hosts, zones } = sources;
  const claims = ADDRESS_LIKE.has(type) || isPrivateName(name);
  if (claims) {
    const exact = hosts.exact(name);
    if (exact !== undefined) return staticSource(exact, type, sources);
    const zone = zones.lookup(name);
    if (zone.kind === "address")
      return { kind: "zone", address: type === TYPE.A ? zone.ip : undefined };
    const wildcard = hosts.wildcard(name);
    if (wildcard !== undefined) return staticSource(wildcard, type, sources);
  }
  return isLimaName(name) ? { kind: "no-such-own-name" } : undefined;
}

function staticSource(answer: StaticAnswer, type: number, sources: NameSources): Source {
  const { entry } = answer;
  if (answer.kind === "circle") return { kind: "static-circle", entry };
  if (answer.kind === "address") {
    const wanted = type === TYPE.A ? 4 : type === TYPE.AAAA && sources.ipv6 ? 6 : undefined;
    return { kind: "static", entry, address: answer.family === wanted ? answer.ip : undefined };
  }
  const alias = answer.target;
  const isAddress = type === TYPE.A || type === TYPE.AAAA;
  const target = isAddress ? aliasTarget(alias, type, sources) : undefined;
  return { kind: "static-alias", entry, alias, target };
}

/** A static name leads out of the table: only the zones and the host can say where to. */
function aliasTarget(name: string, type: number, sources: NameSources): Source {
  const zone = sources.zones.lookup(name);
  if (zone.kind === "address")
    return { kind: "zone", address: type === TYPE.A ? zone.ip : undefined };
  if (isLimaName(name)) return { kind: "no-such-own-name" };
  return addressSource(name, type === TYPE.A ? 4 : 6, sources, false);
}

function hostSource(name: string, query: Query, sources: NameSources): Source {
  const { type, edns } = query;
  const toServers: Source = { kind: "name-servers", route: sources.naming.route(name) };
  if (type === TYPE.AAAA && !sources.ipv6) return { kind: "ipv6-off" };
  // the C library takes texts, and some texts for addresses
  if (!isPlainName(name) || looksLikeAddress(name)) return toServers;
  if (type === TYPE.A || type === TYPE.AAAA)
    return addressSource(name, type === TYPE.A ? 4 : 6, sources, true);
  // signatures are not what its query call asks for
  if (edns?.dnssecOk === true || query.checkingDisabled) return toServers;
  return SYSTEM_TYPES.has(type) ? { kind: "system-query", name, type } : toServers;
}

function addressSource(
  name: string,
  family: 4 | 6,
  { naming, ipv6 }: NameSources,
  withRaw: boolean,
): Source {
  if (family === 6 && !ipv6) return { kind: "ipv6-off" };
  const addresses = naming.hostsFile(name).filter((text) => addressFamily(text) === family);
  if (addresses.length > 0) return { kind: "hosts-file", addresses };
  // mDNS has no name servers to ask for more
  return { kind: "system-addresses", name, family, withRaw: withRaw && !/\.local\.?$/i.test(name) };
}

/** inet_aton(3) reads these */
const looksLikeAddress = (name: string): boolean => /(^|\.)(0x[0-9a-f]*|\d+)\.?$/i.test(name);

/** Names of which other DNS servers know nothing good: `.internal` (reserved for private use) and single labels. */
function isPrivateName(name: string): boolean {
  const canonical = canonicalName(name);
  return !canonical.includes(".") || canonical.endsWith(".internal");
}

/**
 * The names that limanet gives out, there or not. The rest of `.internal` belongs to whoever uses it on the host, such
 * as metadata.google.internal.
 */
function isLimaName(name: string): boolean {
  return /(^|\.)lima\.internal$|^lima-[^.]+\.internal$/.test(canonicalName(name));
}

/** "1.104.168.192.in-addr.arpa" → "192.168.104.1" */
function reverseAddress(name: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(
    canonicalName(name),
  );
  return match === null ? undefined : match.slice(1).toReversed().join(".");
}
