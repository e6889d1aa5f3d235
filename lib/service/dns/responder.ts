/**
 * Answers a guest's DNS queries (RFC 1035, 2308, 6891): names of the network from its zones, addresses from the
 * operating system's own resolver (so /etc/hosts, VPN, split DNS and mDNS count), every other type relayed octet for
 * octet to the host's name servers. "There is no such name" and "could not find out" are told apart.
 */
import { Buffer } from "node:buffer";
import {
  decode,
  encode,
  RECURSION_AVAILABLE,
  TRUNCATED_RESPONSE,
  type Answer,
  type Packet,
} from "dns-packet";
import { canonicalName, type DnsZones } from "./zones.ts";

/** What the operating system's resolver says. */
export type SystemAnswer =
  | { kind: "addresses"; addresses: string[]; canonicalName: string | undefined }
  | { kind: "no-such-name" }
  | { kind: "no-data" }
  | { kind: "failure" };

export interface SystemResolver {
  /** getaddrinfo(3) for one family */
  lookup(name: string, family: 4 | 6): Promise<SystemAnswer>;
}

export interface Upstream {
  /** Sends a query on as it is; the reply as it came, or undefined when no server answered. */
  relay(query: Uint8Array, transport: Transport): Promise<Uint8Array | undefined>;
}

export type Transport = "udp" | "tcp";

export interface ResponderOptions {
  zones: DnsZones;
  resolver: SystemResolver;
  upstream: Upstream;
  /** answer AAAA; otherwise they are empty at once (hostResolver.ipv6) */
  ipv6: boolean;
}

/** the smallest reply every client takes (RFC 1035 4.2.1) */
const CLASSIC_UDP_LIMIT = 512;
/** spec: section 1 */
const NATIVE_TTL = 5;
/** a VM's address may change with its next start */
const ZONE_TTL = 0;
const MAX_IN_FLIGHT = 512;
const HEADER_LENGTH = 12;

const FORMERR = 1;
const SERVFAIL = 2;
const NXDOMAIN = 3;
const NOTIMP = 4;
const REFUSED = 5;
/** RFC 6891 9: its upper bits stand in the OPT record */
const BADVERS = 16;
/** what is told to clients as our own limit: the largest that is never a fragment in practice (DNS flag day 2020) */
const UDP_PAYLOAD_SIZE = 1232;

interface Outcome {
  rcode: number;
  answers: Answer[];
}

export class DnsResponder {
  readonly #options: ResponderOptions;
  #inFlight = 0;

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /** The reply to a message, or undefined when it deserves none. Never throws for what a guest sends. */
  async answer(message: Uint8Array, transport: Transport): Promise<Uint8Array | undefined> {
    if (message.length < HEADER_LENGTH || message[2]! & 0x80) return undefined;
    const opcode = (message[2]! >>> 3) & 15;
    if (opcode !== 0) return header(message, NOTIMP);
    const query = parse(message);
    if (query === undefined || query.questions?.length !== 1) return header(message, FORMERR);
    const edns = query.additionals?.filter((record) => record.type === "OPT") ?? [];
    // RFC 6891 6.1.1 and 6.1.3
    if (edns.length > 1) return header(message, FORMERR);
    if ((edns[0]?.ednsVersion ?? 0) > 0)
      return reply(query, { rcode: BADVERS, answers: [] }, transport);
    if (this.#inFlight >= MAX_IN_FLIGHT) return header(message, REFUSED);
    this.#inFlight++;
    try {
      const relayed = await this.#resolve(query, message, transport);
      return relayed instanceof Uint8Array
        ? limit(relayed, query, transport)
        : reply(query, relayed, transport);
    } catch {
      return header(message, SERVFAIL);
    } finally {
      this.#inFlight--;
    }
  }

  async #resolve(
    query: Packet,
    message: Uint8Array,
    transport: Transport,
  ): Promise<Outcome | Uint8Array> {
    const { name, type, class: qclass } = query.questions![0]!;
    const { zones, resolver, ipv6 } = this.#options;
    const relay = async () =>
      (await this.#options.upstream.relay(message, transport)) ?? { rcode: SERVFAIL, answers: [] };
    // what we know is of the internet
    if (qclass !== "IN") return relay();
    if (type === "PTR") {
      const ip = reverseAddress(name);
      const names = ip === undefined ? [] : zones.namesOf(ip);
      if (names.length > 0)
        return ok(names.map((data) => ({ type: "PTR", name, ttl: ZONE_TTL, data })));
    }
    const own = zones.lookup(name);
    if (own.kind === "no-such-name") return { rcode: NXDOMAIN, answers: [] };
    if (own.kind === "address") {
      return ok(type === "A" ? [{ type: "A", name, ttl: ZONE_TTL, data: own.ip }] : []);
    }
    if (type === "AAAA" && !ipv6) return ok([]);
    if (type === "A" || type === "AAAA") {
      const found = await resolver.lookup(name, type === "A" ? 4 : 6);
      switch (found.kind) {
        case "addresses":
          return ok(addressAnswers(name, type, found.addresses, found.canonicalName));
        case "no-such-name":
          return { rcode: NXDOMAIN, answers: [] };
        case "no-data":
          return ok([]);
        case "failure":
          return { rcode: SERVFAIL, answers: [] };
      }
    }
    return relay();
  }
}

const ok = (answers: Answer[]): Outcome => ({ rcode: 0, answers });

function addressAnswers(
  name: string,
  type: "A" | "AAAA",
  addresses: string[],
  canonical: string | undefined,
): Answer[] {
  const isAlias = canonical !== undefined && canonicalName(canonical) !== canonicalName(name);
  const owner = isAlias ? canonical : name;
  const chain: Answer[] = isAlias
    ? [{ type: "CNAME", name, ttl: NATIVE_TTL, data: canonical }]
    : [];
  return [
    ...chain,
    ...addresses.map((data): Answer => ({ type, name: owner, ttl: NATIVE_TTL, data })),
  ];
}

function parse(message: Uint8Array): Packet | undefined {
  try {
    return decode(Buffer.from(message.buffer, message.byteOffset, message.byteLength));
  } catch {
    return undefined;
  }
}

/** An empty reply of the given RCODE, which needs no more of the query than its header. */
function header(message: Uint8Array, rcode: number): Uint8Array {
  const out = new Uint8Array(HEADER_LENGTH);
  out[0] = message[0]!;
  out[1] = message[1]!;
  out[2] = 0x80 | (message[2]! & 0x79);
  out[3] = 0x80 | rcode;
  return out;
}

function reply(query: Packet, { rcode, answers }: Outcome, transport: Transport): Uint8Array {
  const packet: Packet = {
    type: "response",
    id: query.id ?? 0,
    flags: ((query.flags ?? 0) & 0x0110) | RECURSION_AVAILABLE | (rcode & 15),
    questions: query.questions ?? [],
    answers,
    additionals: ednsReply(query, rcode),
  };
  return limit(encode(packet), query, transport);
}

const ednsOf = (query: Packet) => query.additionals?.find((record) => record.type === "OPT");

/** RFC 6891 6.1.1: an OPT in the query asks for one in the reply, whatever else is left out of it. */
function ednsReply(query: Packet, rcode: number): Answer[] {
  if (ednsOf(query) === undefined) return [];
  return [
    {
      type: "OPT",
      name: ".",
      udpPayloadSize: UDP_PAYLOAD_SIZE,
      extendedRcode: rcode >>> 4,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    },
  ];
}

/** Cuts a reply that is too long for the client's UDP to its question, with TC set, so that it asks again by TCP. */
function limit(octets: Uint8Array, query: Packet, transport: Transport): Uint8Array {
  const room = Math.max(CLASSIC_UDP_LIMIT, ednsOf(query)?.udpPayloadSize ?? 0);
  if (transport === "tcp" || octets.length <= room) return octets;
  const packet = parse(octets);
  return encode({
    type: "response",
    id: query.id ?? 0,
    flags: ((packet?.flags ?? 0) & 0x01bf) | RECURSION_AVAILABLE | TRUNCATED_RESPONSE,
    questions: query.questions ?? [],
    additionals: ednsReply(query, 0),
  });
}

/** "1.104.168.192.in-addr.arpa" → "192.168.104.1" */
function reverseAddress(name: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(
    canonicalName(name),
  );
  return match === null ? undefined : match.slice(1).toReversed().join(".");
}
