/** What `limanet dns explain` says: which source answers a name, why, and what it said. */
import { questionName, recordsText, rcodeOf, typeName, type Query } from "./message.ts";
import { RCODE } from "./reply.ts";
import type { Route } from "./routes.ts";
import type { Source } from "./sources.ts";

export interface Explanation {
  name: string;
  type: string;
  /** static, zone, own-address, hosts-file, system, route, upstream, or why nobody is asked */
  source: string;
  /** the source in a sentence */
  why: string;
  /** name servers that the source leads to, "ADDRESS" or "ADDRESS port PORT" */
  servers: string[];
  /** e.g. "NOERROR" */
  status: string;
  answers: string[];
  /** how long the source took now, the cache left aside */
  milliseconds: number;
  cache: { cached: boolean; secondsLeft?: number };
}

export interface Findings {
  query: Query;
  source: Source;
  /** the name servers for the name, whether they are asked or not */
  route: Route;
  reply: Uint8Array;
  took: number;
  cachedFor: number | undefined;
  isFixed: boolean;
}

export function explanationOf(findings: Findings): Explanation {
  const { query, source, route, reply, took, cachedFor, isFixed } = findings;
  const { word, why, asksServers } = told(source, route);
  return {
    name: questionName(query),
    type: typeName(query.type),
    source: word,
    why,
    servers: asksServers ? serversText(route) : [],
    status: statusName(rcodeOf(reply)),
    answers: recordsText(reply)
      .filter(({ section }) => section === "answer")
      .map(({ text }) => text),
    milliseconds: Math.round(took * 100) / 100,
    cache:
      cachedFor === undefined
        ? { cached: false }
        : { cached: true, ...(isFixed ? {} : { secondsLeft: Math.ceil(cachedFor) }) },
  };
}

/** "NXDOMAIN" for 3 */
export function statusName(rcode: number): string {
  return Object.entries(RCODE).find(([, number]) => number === rcode)?.[0] ?? `RCODE${rcode}`;
}

const serversText = ({ servers }: Route): string[] =>
  servers.map(({ address, port }) => (port === 53 ? address : `${address} port ${port}`));

const routeWhy = ({ domain, origin }: Route): string =>
  domain === undefined
    ? `the name servers of ${origin}`
    : `the name servers for ${domain === "" ? "every name" : `names under ${domain}`} of ${origin}`;

function told(source: Source, route: Route): { word: string; why: string; asksServers: boolean } {
  const own = (word: string, why: string) => ({ word, why, asksServers: false });
  switch (source.kind) {
    case "static":
      return own("static", `the static host ${source.entry}`);
    case "static-circle":
      return own("static", `the static host ${source.entry} leads back to itself`);
    case "static-alias": {
      const alias = `the static host ${source.entry} stands for ${source.alias}`;
      if (source.target === undefined) return own("static", alias);
      const target = told(source.target, route);
      return { ...target, word: "static", why: `${alias}, which is found by ${target.why}` };
    }
    case "zone":
      return own("zone", "a zone of the network's control API");
    case "own-address":
      return own("own-address", "an address of this network");
    case "no-such-own-name":
      return own("no-such-own-name", "belongs to this network, which has no such name");
    case "ipv6-off":
      return own("ipv6-off", "hostResolver.ipv6 is false: there are no AAAA records");
    case "hosts-file":
      return own("hosts-file", "the host's hosts file");
    case "system-addresses":
      return {
        word: "system",
        why: `the operating system's resolver (getaddrinfo), behind it ${routeWhy(route)}`,
        asksServers: true,
      };
    case "system-query":
      return {
        word: "system",
        why: `the operating system's resolver (res_query), behind it ${routeWhy(route)}`,
        asksServers: true,
      };
    default:
      return {
        word: source.route.domain === undefined ? "upstream" : "route",
        why: routeWhy(source.route),
        asksServers: true,
      };
  }
}
