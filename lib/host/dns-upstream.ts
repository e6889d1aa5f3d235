/** Relays queries to the host's name servers (resolv.conf(5)), which are looked up anew whenever the file changes. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { Transport, Upstream } from "../service/dns/responder.ts";

/** only where the host names no server at all (specification 10.2 and 21) */
const PUBLIC_FALLBACK = ["8.8.8.8", "1.1.1.1"];
const TIMEOUT_MS = 2000;
const TRUNCATED = 0x02;

export class NameServerUpstream implements Upstream {
  readonly #path: string;
  readonly #port: number;

  constructor(path = "/etc/resolv.conf", port = 53) {
    this.#path = path;
    this.#port = port;
  }

  async relay(query: Uint8Array, transport: Transport): Promise<Uint8Array | undefined> {
    for (const server of resolvConf(this.#path).nameservers) {
      const reply =
        transport === "udp"
          ? await askUdp(server, this.#port, query)
          : await askTcp(server, this.#port, query);
      if (reply !== undefined) return reply;
    }
    return undefined;
  }
}

/** The host's search list, for DHCP option 119. */
export function hostSearchDomains(): string[] {
  return resolvConf("/etc/resolv.conf").search;
}

interface ResolvConf {
  nameservers: string[];
  search: string[];
}

function resolvConf(path: string): ResolvConf {
  const found: ResolvConf = { nameservers: [], search: [] };
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    // told by the empty result: the fallback below
  }
  for (const line of text.split("\n")) {
    const [word, ...values] = line.trim().split(/\s+/);
    if (word === "nameserver" && values[0] !== undefined && isIP(values[0]) !== 0)
      found.nameservers.push(values[0]);
    // resolv.conf(5): the last search line counts
    if (word === "search" || word === "domain")
      found.search = values.filter((domain) => domain !== ".");
  }
  if (found.nameservers.length === 0) found.nameservers = PUBLIC_FALLBACK;
  return found;
}

/** RFC 5452: the reply must come from the server asked, to the port asked from, with the id and question asked. */
async function askUdp(
  server: string,
  port: number,
  query: Uint8Array,
): Promise<Uint8Array | undefined> {
  const id = crypto.getRandomValues(new Uint8Array(2));
  const outgoing = query.slice();
  outgoing.set(id);
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  const socket = await Bun.udpSocket({
    connect: { hostname: server, port },
    socket: {
      data(_socket, octets) {
        if (matches(octets, outgoing)) resolve(new Uint8Array(octets));
      },
      error: () => resolve(undefined),
    },
  }).catch(() => undefined);
  if (socket === undefined) return undefined;
  const timer = setTimeout(() => resolve(undefined), TIMEOUT_MS);
  socket.send(outgoing);
  const reply = await promise;
  clearTimeout(timer);
  socket.close();
  if (reply === undefined) return undefined;
  if (reply[2]! & TRUNCATED) return (await askTcp(server, port, query)) ?? withIdOf(reply, query);
  return withIdOf(reply, query);
}

function matches(reply: Uint8Array, query: Uint8Array): boolean {
  if (reply.length < 12 || reply[0] !== query[0] || reply[1] !== query[1] || !(reply[2]! & 0x80))
    return false;
  if (reply[4] === 0 && reply[5] === 0) return true;
  const end = questionEnd(query);
  if (end === undefined || reply.length < end) return false;
  for (let at = 12; at < end; at++) if (lower(reply[at]!) !== lower(query[at]!)) return false;
  return true;
}

const lower = (octet: number): number => (octet >= 65 && octet <= 90 ? octet + 32 : octet);

/** offset behind the first question of a query without compression */
function questionEnd(message: Uint8Array): number | undefined {
  let at = 12;
  while (at < message.length && message[at] !== 0) at += message[at]! + 1;
  return at + 5 <= message.length ? at + 5 : undefined;
}

function withIdOf(reply: Uint8Array, query: Uint8Array): Uint8Array {
  reply.set(query.subarray(0, 2));
  return reply;
}

async function askTcp(
  server: string,
  port: number,
  query: Uint8Array,
): Promise<Uint8Array | undefined> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  let input = new Uint8Array(0);
  const socket = await Bun.connect({
    hostname: server,
    port,
    socket: {
      open(opened) {
        const framed = new Uint8Array(2 + query.length);
        framed.set([query.length >>> 8, query.length & 255]);
        framed.set(query, 2);
        opened.write(framed);
      },
      data(_socket, octets) {
        const joined = new Uint8Array(input.length + octets.length);
        joined.set(input);
        joined.set(octets, input.length);
        input = joined;
        if (input.length < 2) return;
        const length = (input[0]! << 8) | input[1]!;
        if (input.length >= 2 + length) resolve(input.slice(2, 2 + length));
      },
      close: () => resolve(undefined),
      error: () => resolve(undefined),
    },
  }).catch(() => undefined);
  if (socket === undefined) return undefined;
  const timer = setTimeout(() => resolve(undefined), TIMEOUT_MS);
  const reply = await promise;
  clearTimeout(timer);
  socket.end();
  return reply !== undefined && matches(reply, query) ? reply : undefined;
}
