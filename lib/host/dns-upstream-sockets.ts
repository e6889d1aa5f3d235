/** The sockets on which name servers are asked: for each server a few connected UDP sockets, replaced again and again. */
import { repliesTo } from "../service/dns/message.ts";
import type { NameServer } from "../service/dns/routes.ts";
import { random32 } from "./clock.ts";

/** each has a random port of its own, which is as hard to guess as it is good to have several */
const SOCKETS = 8;
const MAX_USES = 2000;
const MAX_AGE_MS = 5000;
const SWEEP_MS = 1000;
/** questions one socket may have open; each has an id of its own */
const MAX_OPEN = 1024;
const MAX_TCP = 64;
const TCP_LIMIT_MS = 2000;

/** The reply with the query's own id, or undefined when the server said that none will come. */
type Hear = (reply: Uint8Array | undefined) => void;

interface Question {
  sent: Uint8Array;
  query: Uint8Array;
  hear: Hear;
}

interface PortOfOurs {
  socket: Bun.udp.ConnectedSocket<"buffer">;
  open: Map<number, Question>;
  uses: number;
  madeAt: number;
}

export class UpstreamSockets {
  readonly #servers = new Map<string, ServerSockets>();
  #sweep: ReturnType<typeof setTimeout> | undefined;

  /** Asks a server; the function returned takes the question back. */
  ask(server: NameServer, query: Uint8Array, hear: Hear): () => void {
    const key = `${server.address} ${server.port}`;
    let sockets = this.#servers.get(key);
    if (sockets === undefined) {
      sockets = new ServerSockets(server);
      this.#servers.set(key, sockets);
    }
    this.#sweep ??= setInterval(() => this.#closeOld(), SWEEP_MS);
    return sockets.ask(query, hear);
  }

  #closeOld(): void {
    for (const [key, sockets] of this.#servers) {
      sockets.closeOld();
      if (sockets.isEmpty) this.#servers.delete(key);
    }
    if (this.#servers.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const sockets of this.#servers.values()) sockets.close();
    this.#servers.clear();
  }
}

/** Sends; what ICMP has said of an earlier datagram fails the call, and only that one. */
export function withoutOldErrors(socket: { readonly closed: boolean }, send: () => unknown): void {
  for (let tries = 0; tries < 2 && !socket.closed; tries++) {
    try {
      send();
      return;
    } catch {
      // the error is taken from the socket by having been told
    }
  }
}

class ServerSockets {
  readonly #server: NameServer;
  /** take new questions */
  readonly #fresh: PortOfOurs[] = [];
  /** only wait for answers */
  readonly #leaving = new Set<PortOfOurs>();
  #opening = 0;
  readonly #unsent: Question[] = [];
  #isClosed = false;

  constructor(server: NameServer) {
    this.#server = server;
  }

  get isEmpty(): boolean {
    return this.#fresh.length + this.#leaving.size + this.#opening + this.#unsent.length === 0;
  }

  ask(query: Uint8Array, hear: Hear): () => void {
    const question: Question = { sent: query.slice(), query, hear };
    let port: PortOfOurs | undefined;
    if (this.#fresh.length + this.#opening < SOCKETS) void this.#open();
    // with every socket there is, any will do; before, the new one takes what waits
    if (this.#fresh.length > 0 && this.#unsent.length === 0)
      port = this.#fresh[random32() % this.#fresh.length];
    if (port === undefined) this.#unsent.push(question);
    else this.#send(port, question);
    return () => this.#takeBack(question);
  }

  #takeBack(question: Question): void {
    const at = this.#unsent.indexOf(question);
    if (at >= 0) this.#unsent.splice(at, 1);
    const id = idOf(question.sent);
    for (const port of [...this.#fresh, ...this.#leaving])
      if (port.open.get(id) === question) port.open.delete(id);
  }

  #send(port: PortOfOurs, question: Question): void {
    if (port.open.size >= MAX_OPEN) {
      question.hear(undefined);
      return;
    }
    let id: number;
    do id = randomId();
    while (port.open.has(id));
    question.sent[0] = id >>> 8;
    question.sent[1] = id & 255;
    port.open.set(id, question);
    port.uses++;
    if (port.uses >= MAX_USES) this.#retire(port);
    // a full send buffer loses the datagram, as the network might; it is sent again
    withoutOldErrors(port.socket, () => port.socket.send(question.sent));
  }

  async #open(): Promise<void> {
    this.#opening++;
    const open: PortOfOurs["open"] = new Map();
    try {
      const socket = await Bun.udpSocket({
        connect: { hostname: this.#server.address, port: this.#server.port },
        socket: {
          data: (_socket, octets) => receive(open, octets),
          // the server's host says that nobody listens there, or there is no way to it
          error: () => refuse(open),
        },
      });
      const port: PortOfOurs = { socket, open, uses: 0, madeAt: performance.now() };
      if (this.#isClosed) {
        socket.close();
        return;
      }
      this.#fresh.push(port);
      for (const question of this.#unsent.splice(0)) this.#send(port, question);
    } catch {
      // no way to this server, or no more sockets
      if (this.#fresh.length === 0) for (const { hear } of this.#unsent.splice(0)) hear(undefined);
    } finally {
      this.#opening--;
    }
  }

  #retire(port: PortOfOurs): void {
    const at = this.#fresh.indexOf(port);
    if (at >= 0) this.#fresh.splice(at, 1);
    this.#leaving.add(port);
  }

  closeOld(): void {
    const now = performance.now();
    for (const port of this.#fresh.filter(({ madeAt }) => now - madeAt > MAX_AGE_MS))
      this.#retire(port);
    for (const port of this.#leaving) {
      if (port.open.size > 0) continue;
      port.socket.close();
      this.#leaving.delete(port);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { socket } of [...this.#fresh, ...this.#leaving]) socket.close();
    this.#fresh.length = 0;
    this.#leaving.clear();
  }
}

function receive(open: PortOfOurs["open"], octets: Uint8Array): void {
  if (octets.length < 12) return;
  const id = idOf(octets);
  const question = open.get(id);
  if (question === undefined || !repliesTo(octets, question.sent)) return;
  open.delete(id);
  const reply = new Uint8Array(octets);
  reply.set(question.query.subarray(0, 2));
  question.hear(reply);
}

function refuse(open: PortOfOurs["open"]): void {
  const questions = [...open.values()];
  open.clear();
  for (const { hear } of questions) hear(undefined);
}

const idOf = (octets: Uint8Array): number => (octets[0]! << 8) | octets[1]!;

/** not to be guessed */
const randomId = (): number => random32() & 0xffff;

let tcpConnections = 0;

/** Asks over a TCP connection of its own; the function returned ends it. */
export function askTcp({ address, port }: NameServer, query: Uint8Array, hear: Hear): () => void {
  if (tcpConnections >= MAX_TCP) {
    hear(undefined);
    return () => {};
  }
  tcpConnections++;
  let end = (): void => {};
  let isOver = false;
  const finish = (reply: Uint8Array | undefined) => {
    if (isOver) return;
    isOver = true;
    tcpConnections--;
    clearTimeout(timer);
    end();
    hear(reply);
  };
  const timer = setTimeout(() => finish(undefined), TCP_LIMIT_MS);
  const sent = query.slice();
  const id = randomId();
  sent.set([id >>> 8, id & 255]);
  let input = new Uint8Array(0);
  Bun.connect({
    hostname: address,
    port,
    socket: {
      open(socket) {
        end = () => void socket.end();
        if (isOver) end();
        else socket.write(framed(sent));
      },
      data(_socket, octets) {
        input = joined(input, octets);
        const reply = input.length < 2 ? undefined : input.subarray(2, 2 + idOf(input));
        if (reply === undefined || reply.length < idOf(input)) return;
        if (!repliesTo(reply, sent)) {
          finish(undefined);
          return;
        }
        const copy = reply.slice();
        copy.set(query.subarray(0, 2));
        finish(copy);
      },
      close: () => finish(undefined),
      error: () => finish(undefined),
      connectError: () => finish(undefined),
    },
  }).catch(() => finish(undefined));
  return () => finish(undefined);
}

/** RFC 1035 4.2.2: a message on a stream has its length in front. */
export function framed(message: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + message.length);
  out[0] = message.length >>> 8;
  out[1] = message.length & 255;
  out.set(message, 2);
  return out;
}

export function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
