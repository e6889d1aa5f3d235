/**
 * Sends queries on to name servers. A server that does not answer costs little: the next is asked after a moment, and
 * who answered last is asked first. Ids and source ports are random, and an answer counts only from the server asked,
 * at the port asked from, with the id and the question asked (RFC 5452).
 */
import { isTruncated, rcodeOf } from "../service/dns/message.ts";
import { RCODE } from "../service/dns/reply.ts";
import type { Upstream } from "../service/dns/responder.ts";
import type { NameServer, Route } from "../service/dns/routes.ts";
import { UpstreamSockets, askTcp } from "./dns-upstream-sockets.ts";

/** resolv.conf(5): more are not looked at */
const MAX_SERVERS = 3;
/** then the next server is asked as well */
const HEDGE_MS = 250;
/** a datagram may be lost */
const AGAIN_MS = 1000;
/** UDP may not get through at all */
const TCP_MS = 2000;
export const UPSTREAM_LIMIT_MS = 3500;
/** who answered is asked first for so long; then the host's order counts again */
const PREFER_MS = 30_000;

interface Step {
  server: NameServer;
  transport: "udp" | "tcp";
  /** since the beginning */
  atMs: number;
}

export class NameServerUpstream implements Upstream {
  readonly #sockets = new UpstreamSockets();
  /** the server that answered although others come before it, by the group of servers */
  readonly #preferred = new Map<string, { server: NameServer; until: number }>();

  relay(query: Uint8Array, { servers }: Route): Promise<Uint8Array | undefined> {
    const asked = this.#inOrder(servers.slice(0, MAX_SERVERS));
    if (asked.length === 0) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const race = new Race(asked, query, this.#sockets, (reply, server) => {
        if (server !== undefined && server !== servers[0]) this.#prefer(servers, server);
        resolve(reply);
      });
      race.go();
    });
  }

  #inOrder(servers: readonly NameServer[]): readonly NameServer[] {
    if (servers.length < 2) return servers;
    const preferred = this.#preferred.get(groupKey(servers));
    if (preferred === undefined || preferred.until < performance.now()) return servers;
    const { address, port } = preferred.server;
    const is = (server: NameServer) => server.address === address && server.port === port;
    return [...servers.filter(is), ...servers.filter((server) => !is(server))];
  }

  #prefer(servers: readonly NameServer[], server: NameServer): void {
    const key = groupKey(servers.slice(0, MAX_SERVERS));
    const known = this.#preferred.get(key);
    // not for ever: the host's first choice gets its chance again
    if (known !== undefined && known.server === server && known.until > performance.now()) return;
    if (this.#preferred.size > 64) this.#preferred.clear();
    this.#preferred.set(key, { server, until: performance.now() + PREFER_MS });
  }

  close(): void {
    this.#sockets.close();
  }
}

const groupKey = (servers: readonly NameServer[]): string =>
  servers.map(({ address, port }) => `${address} ${port}`).join(" ");

/** One query on its way to several servers. */
class Race {
  readonly #query: Uint8Array;
  readonly #sockets: UpstreamSockets;
  readonly #done: (reply: Uint8Array | undefined, server?: NameServer) => void;
  readonly #steps: Step[];
  readonly #began = performance.now();
  /** servers from which nothing better will come */
  readonly #finished = new Set<NameServer>();
  readonly #cancels: (() => void)[] = [];
  readonly #servers: number;
  #fallback: Uint8Array | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(
    servers: readonly NameServer[],
    query: Uint8Array,
    sockets: UpstreamSockets,
    done: (reply: Uint8Array | undefined, server?: NameServer) => void,
  ) {
    this.#servers = servers.length;
    this.#query = query;
    this.#sockets = sockets;
    this.#done = done;
    this.#steps = (
      [
        ["udp", 0],
        ["udp", AGAIN_MS],
        ["tcp", TCP_MS],
      ] as const
    ).flatMap(([transport, since]) =>
      servers.map((server, index) => ({ server, transport, atMs: since + index * HEDGE_MS })),
    );
  }

  /** Carries out the steps that are due, or the next one at once when nobody can answer any more. */
  go(atOnce = false): void {
    clearTimeout(this.#timer);
    let isDue = atOnce;
    while (!this.#isOver) {
      const step = this.#steps[0];
      const elapsed = performance.now() - this.#began;
      const wait = (step?.atMs ?? UPSTREAM_LIMIT_MS) - elapsed;
      if (!isDue && wait > 0) {
        this.#timer = setTimeout(() => this.go(), wait);
        return;
      }
      if (step === undefined) {
        this.#end(this.#fallback);
        return;
      }
      this.#steps.shift();
      if (this.#finished.has(step.server)) continue;
      isDue = false;
      this.#take(step);
    }
  }

  #take({ server, transport }: Step): void {
    const heard = (reply: Uint8Array | undefined) => this.#heard(server, reply);
    this.#cancels.push(
      transport === "udp"
        ? this.#sockets.ask(server, this.#query, heard)
        : askTcp(server, this.#query, heard),
    );
  }

  #heard(server: NameServer, reply: Uint8Array | undefined): void {
    if (this.#isOver) return;
    if (reply === undefined) {
      this.#giveUp(server);
    } else if (isTruncated(reply)) {
      // the whole is to be had by TCP; what is cut is better than nothing
      this.#finished.add(server);
      this.#cancels.push(askTcp(server, this.#query, (whole) => this.#end(whole ?? reply, server)));
    } else if (isRefusal(reply)) {
      this.#fallback ??= reply;
      this.#giveUp(server);
    } else {
      this.#end(reply, server);
    }
  }

  #giveUp(server: NameServer): void {
    this.#finished.add(server);
    if (this.#finished.size >= this.#servers) this.#end(this.#fallback);
    else this.go(true);
  }

  #end(reply: Uint8Array | undefined, server?: NameServer): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    for (const cancel of this.#cancels) cancel();
    this.#done(reply, server);
  }
}

/** Another server may know better. */
function isRefusal(reply: Uint8Array): boolean {
  const rcode = rcodeOf(reply);
  return rcode === RCODE.SERVFAIL || rcode === RCODE.REFUSED || rcode === RCODE.NOTIMP;
}
