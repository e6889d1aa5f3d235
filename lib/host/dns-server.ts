/** Serves a DnsResponder on sockets: UDP and TCP on loopback, or a unix stream for the engine thread (RFC 1035, 7766). */
import { chmodSync, rmSync } from "node:fs";
import type { Socket, SocketHandler } from "bun";
import type { DnsResponder } from "../service/dns/responder.ts";

export interface DnsServer {
  /** bound port; 0 for a unix socket */
  port: number;
  close(): void;
}

/** RFC 7766 6.2.3 leaves the idle time to the server */
const IDLE_SECONDS = 10;
/** queries of one connection under way */
const PIPELINE = 32;
const MAX_QUERY = 4096;

interface Stream {
  input: Uint8Array;
  underWay: number;
}

/** Answers on UDP; port 0 picks a free one. */
export async function serveDnsUdp(
  responder: DnsResponder,
  hostname: string,
  port: number,
): Promise<DnsServer> {
  const socket = await Bun.udpSocket({
    hostname,
    port,
    socket: {
      data(from, octets, peerPort, peer) {
        void responder.answer(new Uint8Array(octets), "udp").then((reply) => {
          if (reply !== undefined) from.send(reply, peerPort, peer);
        });
      },
    },
  });
  return { port: socket.port, close: () => socket.close() };
}

/** Answers on TCP; port 0 picks a free one. */
export function serveDnsTcp(responder: DnsResponder, hostname: string, port: number): DnsServer {
  const listener = Bun.listen<Stream>({ hostname, port, socket: streamHandler(responder) });
  return { port: listener.port, close: () => listener.stop(true) };
}

/** Answers on a unix stream socket of mode 0600, with TCP's framing. */
export function serveDnsUnix(responder: DnsResponder, path: string): DnsServer {
  rmSync(path, { force: true });
  const before = process.umask(0o177);
  try {
    const listener = Bun.listen<Stream>({ unix: path, socket: streamHandler(responder) });
    chmodSync(path, 0o600);
    return {
      port: 0,
      close: () => {
        listener.stop(true);
        rmSync(path, { force: true });
      },
    };
  } finally {
    process.umask(before);
  }
}

/** Two octets of length, then the message; several may be under way and are answered as they are ready (RFC 7766 6.2.1.1). */
function streamHandler(responder: DnsResponder): SocketHandler<Stream> {
  return {
    open(socket) {
      socket.data = { input: new Uint8Array(0), underWay: 0 };
      socket.timeout(IDLE_SECONDS);
    },
    data(socket, octets) {
      const { data } = socket;
      const input = new Uint8Array(data.input.length + octets.length);
      input.set(data.input);
      input.set(octets, data.input.length);
      data.input = input;
      socket.timeout(IDLE_SECONDS);
      take(socket, responder);
    },
    timeout: (socket) => void socket.end(),
    error: (socket) => void socket.end(),
  };
}

function take(socket: Socket<Stream>, responder: DnsResponder): void {
  const { data } = socket;
  while (data.input.length >= 2) {
    const length = (data.input[0]! << 8) | data.input[1]!;
    if (length < 12 || length > MAX_QUERY || data.underWay >= PIPELINE) {
      socket.end();
      return;
    }
    if (data.input.length < 2 + length) return;
    const query = data.input.slice(2, 2 + length);
    data.input = data.input.slice(2 + length);
    data.underWay++;
    void responder.answer(query, "tcp").then((reply) => {
      data.underWay--;
      if (reply === undefined) return;
      const framed = new Uint8Array(2 + reply.length);
      framed.set([reply.length >>> 8, reply.length & 255]);
      framed.set(reply, 2);
      socket.write(framed);
    });
  }
}
