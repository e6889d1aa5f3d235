/**
 * The SOCKS proxy of a network (specification, section 19): programs of the host reach what a guest would reach.
 *
 * A client is greeted and says where it wants to go. A name is asked of the main thread, which has the network's zones
 * and the host's resolver. An address of the network becomes a connection of our stack to the guest, which then owns the
 * client's socket; every other address is dialled from the host, as a guest's connection to it would be, and the two
 * sockets are joined by a relay. The client is told of success only when the connection is made.
 */
import { parseIpv4 } from "../addr/ipv4.ts";
import type { BlockPool } from "../storage/block-pool.ts";
import { Gather } from "../storage/gather.ts";
import type { Counters } from "../trace/counters.ts";
import {
  answerSocksGreeting,
  emitSocksReply,
  parseSocksRequest,
  SOCKS_MESSAGE_LIMIT,
  SOCKS_REPLY_LENGTH,
  socksGreetingLength,
  socksRequestLength,
  type SocksReply,
  type SocksRequest,
} from "../wire/socks5.ts";
import { HostRelay } from "./host-relay.ts";
import type { HostFailure, HostStreamOwner, HostStreams, HostTarget } from "./host-sockets.ts";
import type { GuestConnectOutcome } from "./tcp-flows.ts";

/** clients on the way to where they go, and relays; connections to guests are counted with all others */
const CAPACITY = 512;
/** for greeting and request; name servers and hosts have limits of their own */
const HANDSHAKE_MS = 10_000;

export type SocksDrop = "socks-full" | "socks-malformed" | "socks-timeout" | "socks-forbidden";

/** Where an address leads. */
export type SocksRoute =
  | { kind: "guest" }
  | { kind: "host"; target: HostTarget }
  | { kind: "none" };

export interface SocksEnvironment {
  octets: Uint8Array;
  pool: BlockPool;
  host: HostStreams;
  counters: Counters;
  route(address: number, port: number): SocksRoute;
  /** As TcpFlows has it. */
  connectToGuest(
    now: number,
    handle: number,
    address: number,
    port: number,
    onOutcome: (outcome: GuestConnectOutcome) => unknown,
  ): void;
  /** Asks for a name's address; `onName` tells it. */
  askName(query: number, name: string): void;
}

export class SocksProxy {
  readonly environment: SocksEnvironment;
  readonly gather = new Gather(1);
  readonly #clients = new Set<SocksClient>();
  /** those who have not said yet where they want to go, the oldest first */
  readonly #handshakes = new Set<SocksClient>();
  readonly #asking = new Map<number, SocksClient>();
  #unfinished: SocksClient[] = [];
  #nextQuery = 0;

  constructor(environment: SocksEnvironment) {
    this.environment = environment;
  }

  /** A client has connected. */
  onAccept(now: number, handle: number): void {
    const { pool, host, counters } = this.environment;
    const block = this.#clients.size < CAPACITY ? pool.take() : -1;
    if (block < 0) {
      counters.count("socks-full" satisfies SocksDrop);
      host.reset(handle);
      return;
    }
    counters.count("socks-clients");
    const client = new SocksClient(this, handle, block, now + HANDSHAKE_MS);
    this.#clients.add(client);
    this.#handshakes.add(client);
    host.adopt(handle, client);
  }

  ask(client: SocksClient, name: string): void {
    const query = this.#nextQuery++;
    this.#asking.set(query, client);
    this.environment.askName(query, name);
  }

  /** The answer to `askName`; undefined: there is no such name. */
  onName(now: number, query: number, address: number | undefined): void {
    const client = this.#asking.get(query);
    this.#asking.delete(query);
    client?.onAddress(now, address);
  }

  knowsWhere(client: SocksClient): void {
    this.#handshakes.delete(client);
  }

  continueLater(client: SocksClient): void {
    this.#unfinished.push(client);
  }

  remove(client: SocksClient): void {
    this.#clients.delete(client);
    this.#handshakes.delete(client);
  }

  /** clients and relays */
  get size(): number {
    return this.#clients.size;
  }

  get hasUnfinished(): boolean {
    return this.#unfinished.length > 0;
  }

  resume(): void {
    if (this.#unfinished.length === 0) return;
    const clients = this.#unfinished;
    this.#unfinished = [];
    for (const client of clients) client.pump();
  }

  nextDeadline(): number {
    // each turn asks, and an iterator for each would be garbage
    if (this.#handshakes.size > 0) for (const client of this.#handshakes) return client.deadline;
    return Infinity;
  }

  onDeadline(now: number): void {
    for (const client of this.#handshakes) {
      if (client.deadline > now) return;
      this.environment.counters.count("socks-timeout" satisfies SocksDrop);
      client.drop();
    }
  }

  closeAll(): void {
    for (const client of this.#clients) client.drop();
  }
}

/** One client, from the greeting on; its block holds what it says, then what its relay moves. */
class SocksClient implements HostStreamOwner {
  readonly deadline: number;
  readonly #proxy: SocksProxy;
  readonly #handle: number;
  readonly #block: number;
  #state: "greeting" | "request" | "waiting" | "handed" | "relaying" | "gone" = "greeting";
  #have = 0;
  #port = 0;
  #relay: HostRelay | undefined;
  /** the other socket, while it connects */
  #dialled = -1;

  constructor(proxy: SocksProxy, handle: number, block: number, deadline: number) {
    this.#proxy = proxy;
    this.#handle = handle;
    this.#block = block;
    this.deadline = deadline;
  }

  onHostConnected(): void {}
  onHostConnectFailed(): void {}

  onHostReadable(now: number): void {
    if (this.#relay !== undefined) {
      this.#relay.onReadable(0);
      this.pump();
    }
    while (this.#state === "greeting" || this.#state === "request") {
      if (!this.#read(now)) return;
    }
  }

  onHostWritable(): void {
    this.pump();
  }

  /** Reads the message that is due, and no octet more; false when it waits or is gone. */
  #read(now: number): boolean {
    const { octets, host } = this.#proxy.environment;
    const lengthOf = this.#state === "greeting" ? socksGreetingLength : socksRequestLength;
    const wanted = lengthOf(octets, this.#block, this.#have);
    if (wanted === 0) {
      this.#malformed();
      return false;
    }
    if (wanted > this.#have) {
      const { gather } = this.#proxy;
      gather.clear();
      gather.add(this.#block + this.#have, wanted - this.#have);
      const got = host.read(this.#handle, gather);
      if (got === "again") return false;
      if (typeof got === "string" || got === 0) {
        this.drop();
        return false;
      }
      this.#have += got;
      return true;
    }
    this.#have = 0;
    if (this.#state === "greeting") {
      const answer = this.#block + SOCKS_MESSAGE_LIMIT;
      const acceptable = answerSocksGreeting(octets, this.#block, wanted, answer);
      this.#state = "request";
      if (!this.#say(answer, 2)) return false;
      if (!acceptable) this.drop();
      return acceptable;
    }
    this.#proxy.knowsWhere(this);
    this.#state = "waiting";
    this.#onRequest(now, parseSocksRequest(octets, this.#block, wanted));
    return false;
  }

  #onRequest(now: number, request: SocksRequest): void {
    if (request.kind === "refuse") {
      this.#refuse(request.reply);
      return;
    }
    this.#port = request.port;
    const address = request.kind === "address" ? request.address : parseIpv4(request.name);
    if (address !== undefined) this.onAddress(now, address);
    else if (request.kind === "name") this.#proxy.ask(this, request.name);
  }

  onAddress(now: number, address: number | undefined): void {
    if (this.#state !== "waiting") return;
    const { environment } = this.#proxy;
    const port = this.#port;
    if (address === undefined) {
      this.#refuse("host-unreachable");
      return;
    }
    const route = environment.route(address, port);
    if (route.kind === "none") {
      environment.counters.count("socks-forbidden" satisfies SocksDrop);
      this.#refuse("not-allowed");
    } else if (route.kind === "host") {
      this.#dial(route.target);
    } else {
      environment.host.release(this.#handle);
      this.#state = "handed";
      environment.connectToGuest(now, this.#handle, address, port, (outcome) =>
        this.#onGuest(outcome),
      );
    }
  }

  #onGuest(outcome: GuestConnectOutcome): "keep" | undefined {
    if (this.#state !== "handed") return undefined;
    if (outcome !== "connected") {
      this.#state = "waiting";
      this.#refuse(outcome === "refused" ? "refused" : "host-unreachable");
      return "keep";
    }
    // the flow owns the socket from here on, and has not said anything on it yet
    const { octets, pool, host } = this.#proxy.environment;
    const { gather } = this.#proxy;
    emitSocksReply(octets, this.#block, "succeeded");
    gather.clear();
    gather.add(this.#block, SOCKS_REPLY_LENGTH);
    host.write(this.#handle, gather);
    this.#state = "gone";
    pool.give(this.#block);
    this.#proxy.remove(this);
    return undefined;
  }

  #dial(target: HostTarget): void {
    const { host } = this.#proxy.environment;
    const handle = host.connect(target, {
      onHostConnected: () => this.#onDialled(),
      onHostConnectFailed: (_now: number, why: HostFailure) => {
        host.close(this.#dialled);
        this.#dialled = -1;
        this.#refuse(replyOf(why));
      },
      onHostReadable: () => {
        this.#relay?.onReadable(1);
        this.pump();
      },
      onHostWritable: () => this.pump(),
    });
    if (typeof handle !== "number") {
      this.#refuse(replyOf(handle));
      return;
    }
    this.#dialled = handle;
    if (host.isConnected(handle)) this.#onDialled();
  }

  #onDialled(): void {
    const { host, octets, pool, counters } = this.#proxy.environment;
    const block = pool.take();
    if (block < 0) {
      counters.count("socks-full" satisfies SocksDrop);
      host.reset(this.#dialled);
      this.#dialled = -1;
      this.#refuse("failed");
      return;
    }
    emitSocksReply(octets, this.#block, "succeeded");
    if (!this.#say(this.#block, SOCKS_REPLY_LENGTH)) {
      pool.give(block);
      return;
    }
    this.#state = "relaying";
    const handles = [this.#handle, this.#dialled] as const;
    this.#relay = new HostRelay(host, pool, handles, [this.#block, block], () => {
      this.#state = "gone";
      this.#proxy.remove(this);
    });
    this.pump();
  }

  pump(): void {
    if (this.#relay?.pump() === true) this.#proxy.continueLater(this);
  }

  /** Writes to the client; what does not fit into the empty buffer of its socket never will. */
  #say(start: number, length: number): boolean {
    const { gather } = this.#proxy;
    gather.clear();
    gather.add(start, length);
    if (this.#proxy.environment.host.write(this.#handle, gather) === length) return true;
    this.drop();
    return false;
  }

  #refuse(reply: SocksReply): void {
    emitSocksReply(this.#proxy.environment.octets, this.#block, reply);
    if (this.#say(this.#block, SOCKS_REPLY_LENGTH)) this.drop();
  }

  #malformed(): void {
    this.#proxy.environment.counters.count("socks-malformed" satisfies SocksDrop);
    this.drop();
  }

  /** Closes what is open. */
  drop(): void {
    if (this.#state === "gone") return;
    const { host, pool } = this.#proxy.environment;
    if (this.#relay !== undefined) {
      this.#relay.close();
      return;
    }
    if (this.#dialled >= 0) host.close(this.#dialled);
    // a socket that was handed over is closed by whoever has it
    if (this.#state !== "handed") host.close(this.#handle);
    this.#state = "gone";
    pool.give(this.#block);
    this.#proxy.remove(this);
  }
}

function replyOf(why: HostFailure): SocksReply {
  if (why === "refused" || why === "reset") return "refused";
  return why === "unreachable" || why === "timeout" ? "host-unreachable" : "failed";
}
