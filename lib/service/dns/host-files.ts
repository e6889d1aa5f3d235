/** What the host's own files say about names: resolv.conf(5), hosts(5), nsswitch.conf(5), systemd-resolved's links. */
import { canonicalName, isPlainName } from "./message.ts";
import type { DomainRoute, NameServer } from "./routes.ts";
import { addressFamily } from "./static-hosts.ts";

const DNS_PORT = 53;

export interface ResolvConf {
  nameservers: NameServer[];
  search: string[];
}

/** "192.0.2.1", "fe80::1%eth0" as name server; undefined for anything else */
function nameServer(text: string, port = DNS_PORT): NameServer | undefined {
  const scope = text.indexOf("%");
  const family = addressFamily(scope < 0 ? text : text.slice(0, scope));
  return family === undefined || (family === 4 && scope >= 0) ? undefined : { address: text, port };
}

export function parseResolvConf(text: string): ResolvConf {
  const found: ResolvConf = { nameservers: [], search: [] };
  for (const line of text.split("\n")) {
    const [word, ...values] = line.trim().split(/\s+/);
    if (word === "nameserver") {
      const server = nameServer(values[0] ?? "");
      if (server !== undefined) found.nameservers.push(server);
    }
    // the last of these lines counts
    if (word === "search") found.search = values.filter(isSearchDomain);
    if (word === "domain") found.search = values.slice(0, 1).filter(isSearchDomain);
  }
  return found;
}

const isSearchDomain = (domain: string): boolean => domain !== "." && isPlainName(domain);

/** name → addresses, in the order of the lines */
export function parseHostsFile(text: string): Map<string, string[]> {
  const hosts = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (addressFamily(address) === undefined) continue;
    for (const name of names.map(canonicalName)) {
      const known = hosts.get(name);
      if (known === undefined) hosts.set(name, [address]);
      else if (!known.includes(address)) known.push(address);
    }
  }
  return hosts;
}

/** The hosts file is asked before everything else. Without a file or a line that is the C libraries' default. */
export function hostsFileComesFirst(nsswitchText: string): boolean {
  const line = /^\s*hosts:(.*)$/m.exec(nsswitchText.replaceAll(/#.*/g, ""));
  return line === null || line[1]!.trim().split(/\s+/)[0] === "files";
}

/**
 * The domains that a link of systemd-resolved has for itself: `SERVERS=` and `DOMAINS=` of /run/systemd/resolve/netif,
 * where NetworkManager and VPN clients put them, `DNS=`, `DOMAINS=` and `ROUTE_DOMAINS=` of /run/systemd/netif/links.
 * `~domain` routes without being searched, as every other does here.
 */
export function parseResolvedLink(text: string, origin: string): DomainRoute[] {
  const values = (key: string): string[] =>
    new RegExp(`^${key}=(.*)$`, "m").exec(text)?.[1]!.trim().split(/\s+/) ?? [];
  const servers = [...values("SERVERS"), ...values("DNS")].flatMap((entry) => {
    // "10.8.0.1#name", "[fd00::1]:5353", "10.8.0.1:5353"
    const bare = entry.replace(/#.*/, "");
    const withPort = /^\[(.*)\]:(\d+)$/.exec(bare) ?? /^([\d.]+):(\d+)$/.exec(bare);
    const server =
      withPort === null ? nameServer(bare) : nameServer(withPort[1]!, Number(withPort[2]));
    return server === undefined ? [] : [server];
  });
  return [...values("DOMAINS"), ...values("ROUTE_DOMAINS")].flatMap((entry) => {
    const domain = entry.replace(/^~/, "");
    if (domain === ".") return [{ domain: "", servers, origin }];
    return isPlainName(domain) ? [{ domain, servers, origin }] : [];
  });
}

/** systemd-resolved listens here and knows the links' domains itself */
export const hasResolvedStub = (servers: readonly NameServer[]): boolean =>
  servers.some(({ address }) => address === "127.0.0.53" || address === "127.0.0.54");

/** One resolver of `scutil --dns`, or a file of /etc/resolver (resolver(5) of macOS). */
interface MacResolver {
  domain: string | undefined;
  servers: string[];
  port: number;
  search: string[];
  /** answered by multicast, not by servers */
  isMulticast: boolean;
}

export interface MacNaming {
  nameservers: NameServer[];
  search: string[];
  routes: DomainRoute[];
}

/** What `scutil --dns` prints; the resolvers for scoped queries, at its end, are not for everybody. */
export function parseScutilDns(text: string): MacNaming {
  const [general = ""] = text.split(/^DNS configuration \(for scoped queries\)/m);
  const resolvers = general
    .split(/^resolver #\d+\s*$/m)
    .slice(1)
    .map((block) => {
      const resolver = emptyResolver();
      for (const line of block.split("\n")) {
        const match = /^\s*([a-z_ ]+?)(?:\[\d+\])?\s*:\s*(.*?)\s*$/.exec(line);
        if (match === null) continue;
        const [, key, value] = match as unknown as [string, string, string];
        if (key === "nameserver") resolver.servers.push(value);
        if (key === "domain") resolver.domain = value;
        if (key === "search domain") resolver.search.push(value);
        if (key === "port") resolver.port = Number(value);
        if (key === "options") resolver.isMulticast = value.includes("mdns");
      }
      return resolver;
    });
  const first = resolvers.find(({ domain }) => domain === undefined);
  return {
    nameservers: first === undefined ? [] : serversOf(first),
    search: (first?.search ?? []).filter(isSearchDomain),
    routes: resolvers.flatMap((resolver) => routeOf(resolver, "scutil --dns")),
  };
}

/** A file of /etc/resolver, whose name is the domain unless it says another. */
export function parseResolverFile(name: string, text: string): DomainRoute[] {
  const resolver = { ...emptyResolver(), domain: name };
  for (const line of text.split("\n")) {
    const [word, value = ""] = line.trim().split(/\s+/);
    if (word === "nameserver") resolver.servers.push(value);
    if (word === "domain") resolver.domain = value;
    if (word === "port") resolver.port = Number(value);
  }
  return routeOf(resolver, `/etc/resolver/${name}`);
}

const emptyResolver = (): MacResolver => ({
  domain: undefined,
  servers: [],
  port: DNS_PORT,
  search: [],
  isMulticast: false,
});

function serversOf({ servers, port }: MacResolver): NameServer[] {
  return servers.flatMap((text) => nameServer(text, port) ?? []);
}

function routeOf(resolver: MacResolver, origin: string): DomainRoute[] {
  const servers = serversOf(resolver);
  if (resolver.domain === undefined || resolver.isMulticast || servers.length === 0) return [];
  return [{ domain: resolver.domain, servers, origin }];
}
