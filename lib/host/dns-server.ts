/** Serves a DnsResponder on sockets: UDP and TCP on loopback, or a unix stream for the engine thread (RFC 1035, 7766). */
import { chmodSync, rmSync } from "node:fs";
import type { DnsResponder } from "../service/dns/responder.ts";
import { framed, joined, withoutOldErrors } from "./dns-upstream-sockets.ts";
import { listenSteadily } from "./steady-listener.ts";

export interface DnsServer {
  /** bound port; 0 for a unix socket */
  port: number;
  close(): void;
}

/** RFC 7766 6.2.3 leaves the idle time to the server */
const IDLE_SECONDS = 10;
/** queries of one connection under way; more are read when one of them is done */
const PIPELINE = 32;
const MIN_QUERY = 12;
const MAX_QUERY = 4096;
const MAX_CONNECTIONS = 2048;
/** replies a client may leave unread before no more of its queries are taken */
const MAX_UNREAD = 256 * 1024;

interface Stream {
  client: string;
  input: Uint8Array;
  /** what the socket has not taken yet */
  output: Uint8Array;
  underWay: number;
  /** the client sends no more, or is not heard any more */
  isEnding: boolean;
  isClosed: boolean;
}

const TRIES = 10;

/** Answers on UDP and TCP of one port; port 0 picks one that is free for both. */
export async function serveDns(
  responder: DnsResponder,
  hostname: string,
  port: number,
): Promise<DnsServer> {
  for (let tries = 1; ; tries++) {
    const udp = await serveDnsUdp(responder, hostname, port);
    try {
      const tcp = serveDnsTcp(responder, hostname, udp.port);
      const close = () => {
        udp.close();
        tcp.close();
      };
      return { port: udp.port, close };
    } catch (error) {
      udp.close();
      if (port !== 0 || tries === TRIES) throw error;
    }
  }
}

/** Answers on UDP; port 0 picks a free one. */
export async function serveDnsUdp(
  responder: DnsResponder,
  hostname: string,
  port: number,
): Promise<DnsServer> {
  const outbox = new Outbox();
  const socket = await Bun.udpSocket({
    hostname,
    port,
    socket: {
      data(_socket, octets, peerPort, peer) {
        // the buffer is Bun's only during this call
        const reply = responder.answer(new Uint8Array(octets), "udp", `${peer} ${peerPort}`);
        if (reply instanceof Promise)
          void reply.then((late) => outbox.put(socket, late, peerPort, peer));
        else outbox.put(socket, reply, peerPort, peer);
      },
      // a client that has gone away before its reply came
      error: () => {},
    },
  });
  return { port: socket.port, close: () => socket.close() };
}

/** Replies of one turn of the event loop, sent with one system call. */
class Outbox {
  #replies: (Uint8Array | string | number)[] = [];

  put(
    socket: Bun.udp.Socket<"buffer">,
    reply: Uint8Array | undefined,
    port: number,
    peer: string,
  ): void {
    if (reply === undefined) return;
    if (this.#replies.length === 0) setImmediate(() => this.#send(socket));
    this.#replies.push(reply, port, peer);
  }

  #send(socket: Bun.udp.Socket<"buffer">): void {
    const replies = this.#replies;
    this.#replies = [];
    // what a full buffer does not take is lost, as datagrams are
    withoutOldErrors(socket, () => socket.sendMany(replies as (Uint8Array | string)[]));
  }
}

/** Answers on TCP; port 0 picks a free one. */
export function serveDnsTcp(responder: DnsResponder, hostname: string, port: number): DnsServer {
  const socket = streamHandler(responder);
  let bound = port;
  const { first, stop } = listenSteadily(() =>
    Bun.listen<Stream>({ hostname, port: bound, allowHalfOpen: true, socket }),
  );
  bound = first.port;
  return { port: bound, close: () => stop(true) };
}

/** Answers on a unix stream socket of mode 0600, with TCP's framing. */
export function serveDnsUnix(responder: DnsResponder, path: string): DnsServer {
  const socket = streamHandler(responder);
  const { stop } = listenSteadily(() => {
    rmSync(path, { force: true });
    const before = process.umask(0o177);
    try {
      const listener = Bun.listen<Stream>({ unix: path, allowHalfOpen: true, socket });
      chmodSync(path, 0o600);
      return listener;
    } finally {
      process.umask(before);
    }
  });
  return {
    port: 0,
    close: () => {
      stop(true);
      rmSync(path, { force: true });
    },
  };
}

/** Two octets of length, then the message; several may be under way and are answered as they are ready (RFC 7766 6.2.1.1). */
function streamHandler(responder: DnsResponder): Bun.SocketHandler<Stream> {
  let connections = 0;
  let made = 0;
  return {
    open(socket) {
      connections++;
      socket.data = {
        client: `stream ${made++}`,
        input: new Uint8Array(0),
        output: new Uint8Array(0),
        underWay: 0,
        isEnding: false,
        isClosed: false,
      };
      if (connections > MAX_CONNECTIONS) socket.terminate();
      else socket.timeout(IDLE_SECONDS);
    },
    data(socket, octets) {
      if (socket.data.isEnding) return;
      socket.data.input = joined(socket.data.input, octets);
      socket.timeout(IDLE_SECONDS);
      take(socket, responder);
    },
    drain(socket) {
      send(socket);
      take(socket, responder);
    },
    end(socket) {
      socket.data.isEnding = true;
      endWhenDone(socket);
    },
    close(socket) {
      connections--;
      socket.data.isClosed = true;
    },
    timeout: (socket) => void socket.end(),
    error: (socket) => void socket.end(),
  };
}

/** Takes the queries that have come, as long as the client takes their replies. */
function take(socket: Bun.Socket<Stream>, responder: DnsResponder): void {
  const { data } = socket;
  while (!data.isClosed && data.input.length >= 2) {
    if (data.underWay >= PIPELINE || data.output.length > MAX_UNREAD) {
      socket.pause();
      return;
    }
    const length = (data.input[0]! << 8) | data.input[1]!;
    if (length < MIN_QUERY || length > MAX_QUERY) {
      data.isEnding = true;
      data.input = data.input.slice(0, 0);
      break;
    }
    if (data.input.length < 2 + length) break;
    const query = data.input.slice(2, 2 + length);
    data.input = data.input.slice(2 + length);
    const reply = responder.answer(query, "tcp", data.client);
    if (!(reply instanceof Promise)) {
      put(socket, reply);
      continue;
    }
    data.underWay++;
    void reply.then((late) => {
      data.underWay--;
      put(socket, late);
      take(socket, responder);
    });
  }
  if (data.isClosed) return;
  socket.resume();
  endWhenDone(socket);
}

function put(socket: Bun.Socket<Stream>, reply: Uint8Array | undefined): void {
  const { data } = socket;
  if (reply === undefined || data.isClosed) return;
  data.output = joined(data.output, framed(reply));
  send(socket);
}

function send(socket: Bun.Socket<Stream>): void {
  const { data } = socket;
  if (data.output.length === 0 || data.isClosed) return;
  const taken = socket.write(data.output);
  if (taken > 0) data.output = data.output.slice(taken);
}

/** A client that sends no more still gets its replies. */
function endWhenDone(socket: Bun.Socket<Stream>): void {
  const { data } = socket;
  if (data.isEnding && !data.isClosed && data.underWay === 0 && data.output.length === 0)
    socket.end();
}
