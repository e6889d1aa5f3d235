/**
 * Answers a guest's DNS queries (RFC 1035, 2308, 6891) from the source that `sources.ts` names. What is known already is
 * answered at once; the rest is asked once, however many want to know it. "There is no such name" and "could not find
 * out" are told apart.
 */
import { lifetimeOf, ReplyCache } from "./cache.ts";
import { explanationOf, type Explanation } from "./explanation.ts";
import {
  answersQuestion,
  canonicalName,
  HEADER_LENGTH,
  isPlainName,
  isReply,
  opcodeOf,
  questionKey,
  queryOctets,
  readQuery,
  shapeOf,
  TYPE,
  u16,
  type Query,
} from "./message.ts";
import {
  bodyOf,
  bodyOfReply,
  finish,
  headerReply,
  passOn,
  RCODE,
  ttlPlaces,
  type Record as AnswerRecord,
  type Transport,
} from "./reply.ts";
import { sourceOf, type NameSources, type Source } from "./sources.ts";
import type { Route } from "./routes.ts";

/** What the operating system's resolver says about addresses; `raw` is DNS's own reply where it agrees. */
export type SystemAnswer =
  | {
      kind: "addresses";
      addresses: string[];
      canonicalName: string | undefined;
      raw?: Uint8Array | undefined;
    }
  | { kind: "no-such-name" }
  | { kind: "no-data" }
  | { kind: "failure" }
  /** it could not be asked, or not be waited for */
  | { kind: "overload" };

export interface SystemResolver {
  /** getaddrinfo(3) for one family; `withRaw`: and res_query(3), for the chain of aliases and the TTLs */
  addresses(name: string, family: 4 | 6, withRaw: boolean): Promise<SystemAnswer>;
  /** res_query(3): the reply as it came, or undefined when there was none */
  query(name: string, type: number): Promise<Uint8Array | undefined>;
}

export interface Upstream {
  /** Sends a query on; the reply as it came but for its id, or undefined when no server answered. */
  relay(query: Uint8Array, route: Route): Promise<Uint8Array | undefined>;
}

export interface ResponderOptions extends NameSources {
  resolver: SystemResolver;
  upstream: Upstream;
  /** an outage is an empty answer, as Lima's host agent has it, rather than SERVFAIL (specification 10.6) */
  emptyOnOutage: boolean;
  /** milliseconds of a clock that never goes back */
  now(): number;
}

/** How an answer came out; RCODE_OF says what a guest is told. */
export type Outcome =
  /** of our own making; `fixed`: until the tables change */
  | { kind: "records"; records: AnswerRecord[]; lifetime: number | "fixed" }
  | { kind: "no-such-name"; lifetime: number | "fixed" }
  | { kind: "no-data"; lifetime: number | "fixed" }
  /** a reply of DNS that came through the system's resolver */
  | { kind: "body"; octets: Uint8Array }
  /** a reply to be passed on octet for octet */
  | { kind: "relayed"; octets: Uint8Array }
  | { kind: "failure" };

const RCODE_OF = {
  records: RCODE.NOERROR,
  "no-data": RCODE.NOERROR,
  "no-such-name": RCODE.NXDOMAIN,
  failure: RCODE.SERVFAIL,
} as const;

/** specification, section 1: what the system says without a TTL, and static names */
const NATIVE_TTL = 5;
/** a VM's address may change with its next start */
const ZONE_TTL = 0;
const MAX_WAITING = 2048;
/** a lifetime that ends with a change of the tables */
const FIXED_SECONDS = 86_400;

export class DnsResponder {
  readonly #options: ResponderOptions;
  readonly #cache = new ReplyCache();
  /** questions that are being asked */
  #asked = new Map<string, Promise<Outcome>>();
  /** replies to come, by client and id */
  readonly #owed = new Map<string, Promise<unknown>>();
  #waiting = 0;
  #revision = -1;

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /**
   * The reply to a message, or undefined when it deserves none; a promise only when somebody has to be asked. Never
   * throws for what a guest sends. `client` tells apart who asks: replies to one client's queries of one id keep
   * their order, for resolvers that reuse it (an empty AAAA must not be taken for the A that is still to come).
   */
  answer(
    message: Uint8Array,
    transport: Transport,
    client = "",
  ): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    if (message.length < HEADER_LENGTH || isReply(message)) return undefined;
    if (opcodeOf(message) !== 0) return headerReply(message, RCODE.NOTIMP);
    const query = readQuery(message);
    if (query === undefined) return headerReply(message, RCODE.FORMERR);
    if ((query.edns?.version ?? 0) > 0)
      return finish(bodyOf(query, RCODE.BADVERS), query, transport, undefined, RCODE.BADVERS);
    this.#forgetWhatChanged();
    const reply = this.#known(query, transport) ?? this.#find(query, transport);
    if (this.#owed.size === 0 && !(reply instanceof Promise)) return reply;
    return this.#inTurn(`${u16(message, 0)} ${client}`, reply);
  }

  /** What a cached reply says, made this client's. */
  #known(query: Query, transport: Transport): Uint8Array | undefined {
    if (query.edns?.clientSubnet === true) return undefined;
    const now = this.#options.now();
    const cached = this.#cache.get(questionKey(query), now);
    if (cached === undefined) return undefined;
    const seconds = Math.floor((now - cached.storedAtMs) / 1000);
    return finish(cached.body, query, transport, { ttlsAt: cached.ttlsAt, seconds });
  }

  #find(query: Query, transport: Transport): Uint8Array | Promise<Uint8Array> {
    const source = sourceOf(query, this.#options);
    const atOnce = this.#knownOutcome(source, query);
    if (atOnce !== undefined) return this.#told(atOnce, query, transport);
    if (this.#waiting >= MAX_WAITING) return headerReply(query.octets, RCODE.REFUSED);
    this.#waiting++;
    return this.#askOnce(source, query)
      .then((outcome) => this.#told(outcome, query, transport))
      .finally(() => this.#waiting--);
  }

  /** Asks unless the same is being asked already. */
  #askOnce(source: Source, query: Query): Promise<Outcome> {
    const { edns } = query;
    const key =
      edns?.clientSubnet === true ? undefined : `${edns === undefined}${questionKey(query)}`;
    const underWay = key === undefined ? undefined : this.#asked.get(key);
    if (underWay !== undefined) return underWay;
    const asked = this.#asked;
    const revision = this.#revision;
    const asking = this.#ask(source, query)
      .catch((): Outcome => ({ kind: "failure" }))
      .then((outcome) => {
        if (key !== undefined) asked.delete(key);
        // what was learnt before a change is not kept after it
        if (revision === this.#revision && key !== undefined) this.#keep(outcome, query);
        return outcome;
      });
    if (key !== undefined) asked.set(key, asking);
    return asking;
  }

  /** The outcome for sources that need no asking; it is kept until the tables change. */
  #knownOutcome(source: Source, query: Query): Outcome | undefined {
    const outcome = immediateOutcome(source, query);
    if (outcome !== undefined && query.edns?.clientSubnet !== true) this.#keep(outcome, query);
    return outcome;
  }

  async #ask(source: Source, query: Query): Promise<Outcome> {
    const { resolver, upstream } = this.#options;
    switch (source.kind) {
      case "system-addresses":
        return addressOutcome(
          await resolver.addresses(source.name, source.family, source.withRaw),
          source,
          query,
        );
      case "system-query": {
        const octets = await resolver.query(source.name, source.type);
        // the host's library may hand on what a name server says, whatever it is
        return octets !== undefined && answersQuestion(octets, query.octets)
          ? { kind: "body", octets }
          : { kind: "failure" };
      }
      case "name-servers": {
        const octets = await upstream.relay(query.octets, source.route);
        return octets === undefined ? { kind: "failure" } : { kind: "relayed", octets };
      }
      case "static-alias":
        return behindAlias(source.alias, await this.#ask(source.target!, query));
      default:
        return immediateOutcome(source, query)!;
    }
  }

  #keep(outcome: Outcome, query: Query): void {
    const key = questionKey(query);
    const now = this.#options.now();
    if (outcome.kind === "failure") return;
    if (outcome.kind === "body" || outcome.kind === "relayed") {
      const shape = shapeOf(outcome.octets);
      const body = shape === undefined ? undefined : bodyOfReply(outcome.octets, shape);
      if (shape === undefined || body === undefined) return;
      this.#cache.put(key, body, ttlPlaces(shape.records), lifetimeOf(body, shape), now);
      return;
    }
    const body = this.#body(outcome, query);
    if (outcome.lifetime === "fixed") this.#cache.put(key, body, [], FIXED_SECONDS, now);
    else this.#cache.put(key, body, ttlPlaces(shapeOf(body)?.records ?? []), outcome.lifetime, now);
  }

  #body(outcome: Exclude<Outcome, { kind: "body" | "relayed" }>, query: Query): Uint8Array {
    const rcode =
      outcome.kind === "failure" && this.#options.emptyOnOutage
        ? RCODE.NOERROR
        : RCODE_OF[outcome.kind];
    return bodyOf(query, rcode, outcome.kind === "records" ? outcome.records : []);
  }

  #told(outcome: Outcome, query: Query, transport: Transport): Uint8Array {
    if (outcome.kind === "relayed") return passOn(outcome.octets, query, transport);
    if (outcome.kind === "body") {
      const shape = shapeOf(outcome.octets);
      const body = shape === undefined ? undefined : bodyOfReply(outcome.octets, shape);
      return body === undefined
        ? finish(this.#body({ kind: "failure" }, query), query, transport)
        : finish(body, query, transport);
    }
    return finish(this.#body(outcome, query), query, transport);
  }

  /** A reply waits for the one its client awaits under the same id. */
  #inTurn(slot: string, reply: Uint8Array | Promise<Uint8Array>): Uint8Array | Promise<Uint8Array> {
    const before = this.#owed.get(slot);
    if (before === undefined && !(reply instanceof Promise)) return reply;
    const turn = before === undefined ? (reply as Promise<Uint8Array>) : before.then(() => reply);
    this.#owed.set(slot, turn);
    return turn.finally(() => {
      if (this.#owed.get(slot) === turn) this.#owed.delete(slot);
    });
  }

  /** A change of the host's or our own names makes everything learnt before doubtful. */
  #forgetWhatChanged(): void {
    const { naming, zones, hosts } = this.#options;
    // none of them ever falls
    const revision = naming.revision() + zones.revision + hosts.revision;
    if (revision === this.#revision) return;
    this.#revision = revision;
    this.#cache.clear();
    this.#asked = new Map();
  }

  /** The first IPv4 address that a guest's own lookup would give; undefined: none. */
  async address(name: string): Promise<string | undefined> {
    let query: Uint8Array;
    try {
      query = queryOctets(0, name, TYPE.A);
    } catch {
      // what no message can hold has no address
      return undefined;
    }
    const reply = await this.answer(query, "tcp", `address ${name}`);
    const found = shapeOf(reply!)?.records.find(
      ({ section, type, dataAt, end }) =>
        section === "answer" && type === TYPE.A && end - dataAt === 4,
    );
    return found === undefined ? undefined : reply!.subarray(found.dataAt, found.end).join(".");
  }

  /** Says which source answers a name and why, asks it, and tells what came. Throws for what is no name. */
  async explain(name: string, type: number): Promise<Explanation> {
    this.#forgetWhatChanged();
    const query = readQuery(queryOctets(0, name, type))!;
    const now = () => this.#options.now();
    const cached = this.#cache.get(questionKey(query), now());
    const source = sourceOf(query, this.#options);
    const route = this.#options.naming.route(canonicalName(name));
    const started = now();
    const outcome =
      immediateOutcome(source, query) ??
      (await this.#ask(source, query).catch((): Outcome => ({ kind: "failure" })));
    const took = now() - started;
    return explanationOf({
      query,
      source,
      route,
      reply: this.#told(outcome, query, "tcp"),
      took,
      cachedFor: cached === undefined ? undefined : (cached.expiresAtMs - now()) / 1000,
      isFixed: cached?.ttlsAt.length === 0,
    });
  }
}

/** What needs nobody to be asked. */
function immediateOutcome(source: Source, { type }: Query): Outcome | undefined {
  const addresses = (list: readonly string[], ttl: number): Outcome => ({
    kind: "records",
    records: list.map((data) => ({ type: data.includes(":") ? "AAAA" : "A", ttl, data })),
    lifetime: "fixed",
  });
  switch (source.kind) {
    case "static":
      return source.address === undefined
        ? { kind: "no-data", lifetime: "fixed" }
        : addresses([source.address], NATIVE_TTL);
    case "zone":
      return source.address === undefined
        ? { kind: "no-data", lifetime: "fixed" }
        : addresses([source.address], ZONE_TTL);
    case "hosts-file":
      return addresses(source.addresses, NATIVE_TTL);
    case "own-address":
      return {
        kind: "records",
        records: source.names.map((data) => ({ type: "PTR", ttl: ZONE_TTL, data })),
        lifetime: "fixed",
      };
    case "no-such-own-name":
      return { kind: "no-such-name", lifetime: "fixed" };
    case "ipv6-off":
      return { kind: "no-data", lifetime: "fixed" };
    case "static-circle":
      return { kind: "failure" };
    case "static-alias": {
      if (source.target === undefined)
        return behindAlias(source.alias, { kind: "no-data", lifetime: "fixed" });
      const target = immediateOutcome(source.target, { type } as Query);
      return target === undefined ? undefined : behindAlias(source.alias, target);
    }
    default:
      return undefined;
  }
}

/** The answer about a static name's target, with the name that leads to it in front. */
function behindAlias(alias: string, outcome: Outcome): Outcome {
  if (outcome.kind === "failure" || outcome.kind === "body" || outcome.kind === "relayed")
    return { kind: "failure" };
  if (!isPlainName(alias)) return { kind: "failure" };
  const behind = outcome.kind === "records" ? outcome.records : [];
  return {
    kind: "records",
    records: [
      { type: "CNAME", ttl: NATIVE_TTL, data: alias },
      ...behind.map((record) => ({ owner: alias, ...record })),
    ],
    lifetime: outcome.lifetime,
  };
}

function addressOutcome(
  found: SystemAnswer,
  { name, family }: { name: string; family: 4 | 6 },
  query: Query,
): Outcome {
  if (found.kind === "failure" || found.kind === "overload") return { kind: "failure" };
  if (found.kind !== "addresses") return { kind: found.kind, lifetime: NATIVE_TTL };
  if (found.raw !== undefined && answersQuestion(found.raw, query.octets))
    return { kind: "body", octets: found.raw };
  const canonical = found.canonicalName;
  const isAlias =
    canonical !== undefined &&
    isPlainName(canonical) &&
    canonicalName(canonical) !== canonicalName(name);
  const type = family === 4 ? "A" : "AAAA";
  return {
    kind: "records",
    records: [
      ...(isAlias ? [{ type: "CNAME", ttl: NATIVE_TTL, data: canonical } as const] : []),
      ...found.addresses.map(
        (data) =>
          ({
            ...(isAlias ? { owner: canonical } : {}),
            type,
            ttl: NATIVE_TTL,
            data,
          }) as const,
      ),
    ],
    lifetime: NATIVE_TTL,
  };
}
