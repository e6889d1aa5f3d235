/**
 * A host for an engine that is as plain as can be: the runtime's own sockets, a call for each piece, everything copied on its
 * way. It shares nothing with the fast one in `lib/host` but the interfaces in front of both, for which it is the reference:
 * the same tests run over both. It has stream ports alone, no ping to the outside, and every packet's time to live is 64.
 */
import { formatIpv4, parseIpv4 } from "../../lib/addr/ipv4.ts";
import type { EngineLoop, EnginePorts, OpenHost } from "../../lib/daemon/network/engine-host.ts";
import type { PortsEngine } from "../../lib/daemon/engine/guest-ports.ts";
import type {
  HostDatagramOwner,
  HostDatagrams,
  HostFailure,
  HostListenerOwner,
  HostListeners,
  HostStreamOwner,
  HostStreams,
  HostTarget,
  Received,
  ReceivedDetails,
} from "../../lib/flow/host-sockets.ts";
import { HostError } from "../../lib/host/listening-sockets.ts";
import type { BridgePort } from "../../lib/link/bridge-port.ts";
import { deframe, QEMU_FRAMING } from "../../lib/link/stream-framing.ts";
import type { Gather } from "../../lib/storage/gather.ts";
import type { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { OctetCount } from "../../lib/trace/octet-count.ts";
import { put16, put32, u16, u32 } from "../../lib/wire/octets.ts";
import { join } from "./injected-frames.ts";

const READ_AHEAD = 256 * 1024;
const MAX_FRAME = 128 * 1024;
const BACKLOG = 1024 * 1024;
const BUSY = 384 * 1024;
const MAX_WAITING_DATAGRAMS = 256;
const TTL = 64;

const FAILURES: Readonly<Record<string, HostFailure>> = {
  ECONNREFUSED: "refused",
  ENETUNREACH: "unreachable",
  EHOSTUNREACH: "unreachable",
  ETIMEDOUT: "timeout",
  ECONNRESET: "reset",
  EPIPE: "reset",
};

const failureOf = (error: unknown): HostFailure =>
  FAILURES[(error as { code?: string } | undefined)?.code ?? ""] ?? "failed";

/** an address and a port, or a frame's length */
function octetsOf(word: number, half?: number): Uint8Array {
  const octets = new Uint8Array(half === undefined ? 4 : 6);
  put32(octets, 0, word);
  if (half !== undefined) put16(octets, 4, half);
  return octets;
}

const isUnavailable = (what: string): HostError =>
  new HostError("ENOTSUP", `Cannot open ${what}: the plain host has none`);

/** What happens is put off until the engine's next turn, as a poller would do. */
export class PlainLoop implements EngineLoop {
  onWake: () => void = () => {};
  /** a turn of the engine that does not wait */
  turn: () => void = () => {};
  #events: (() => void)[] = [];
  #isScheduled = false;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** how long the latest turn would have waited, ms; -1: for ever */
  #wanted = 0;

  tell(event: () => void): void {
    this.#events.push(event);
    this.wake();
  }

  wake(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#isClosed) return;
      const hadEvents = this.#events.length > 0;
      this.turn();
      clearTimeout(this.#timer);
      // what a turn has done shows only in the next one's wait
      if (hadEvents || this.#wanted === 0) this.wake();
      else if (this.#wanted > 0) this.#timer = setTimeout(() => this.wake(), this.#wanted);
    });
  }

  wait(timeoutMs: number): number {
    this.#wanted = timeoutMs;
    this.onWake();
    const events = this.#events;
    this.#events = [];
    for (const event of events) event();
    return events.length;
  }

  giveWay(): void {}

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }
}

/** what this needs of a socket of the runtime's */
interface RuntimeSocket {
  data: Connection;
  /** how many octets the system took */
  write(octets: Uint8Array): number;
  pause(): void;
  resume(): void;
  shutdown(): void;
  end(): void;
  /** the peer sees a reset */
  terminate(): void;
}

/** One connection, whoever opened it. */
class Connection {
  socket: RuntimeSocket | undefined;
  owner: HostStreamOwner | undefined;
  readonly #incoming: Uint8Array[] = [];
  #waiting = 0;
  isEnded = false;
  /** nobody wants it any more */
  isClosed = false;
  failure: HostFailure | undefined;

  put(octets: Uint8Array): void {
    this.#incoming.push(octets.slice());
    this.#waiting += octets.length;
    if (this.#waiting > READ_AHEAD) this.socket?.pause();
  }

  get hasOctets(): boolean {
    return this.#waiting > 0;
  }

  /** Octets that were taken, and are to be taken once more before those that come. */
  putBack(octets: Uint8Array): void {
    this.#incoming.unshift(octets);
    this.#waiting += octets.length;
  }

  /** as much as there is, up to `most` octets */
  take(most: number): Uint8Array {
    const all = join(...this.#incoming.splice(0));
    const taken = all.subarray(0, most);
    if (taken.length < all.length) this.#incoming.push(all.subarray(taken.length));
    if (this.#waiting > READ_AHEAD && all.length - taken.length <= READ_AHEAD)
      this.socket?.resume();
    this.#waiting = all.length - taken.length;
    return taken;
  }
}

/** What an owner of a connection, or of a guest's port, hears of. */
interface Listener {
  opened(connection: Connection): void;
  readable(connection: Connection): void;
  writable(connection: Connection): void;
}

/** The runtime's handlers of a connection. */
const handlersFor = (listener: Listener, made: () => Connection) => ({
  open(socket: RuntimeSocket) {
    const connection = made();
    socket.data = connection;
    connection.socket = socket;
    if (connection.isClosed) socket.terminate();
    else listener.opened(connection);
  },
  data(socket: RuntimeSocket, octets: Uint8Array) {
    socket.data.put(octets);
    listener.readable(socket.data);
  },
  drain(socket: RuntimeSocket) {
    listener.writable(socket.data);
  },
  end(socket: RuntimeSocket) {
    socket.data.isEnded = true;
    listener.readable(socket.data);
  },
  close(socket: RuntimeSocket, error?: Error) {
    if (error !== undefined) socket.data.failure = failureOf(error);
    socket.data.isEnded = true;
    listener.readable(socket.data);
  },
  error(socket: RuntimeSocket, error: Error) {
    socket.data.failure = failureOf(error);
    listener.readable(socket.data);
  },
});

class PlainStreams implements HostStreams, HostListeners {
  readonly #loop: PlainLoop;
  readonly #octets: Uint8Array;
  readonly #now: () => number;
  readonly #connections = new Map<number, Connection>();
  readonly #servers = new Map<number, { stop(closeAll: boolean): void }>();
  #next = 1;
  readonly #listener: Listener;

  constructor(loop: PlainLoop, octets: Uint8Array, now: () => number) {
    this.#loop = loop;
    this.#octets = octets;
    this.#now = now;
    this.#listener = {
      opened: (connection) => {
        this.#tell(connection, (owner) => owner.onHostConnected(now()));
      },
      readable: (connection) =>
        this.#tell(connection, (owner) =>
          owner.onHostReadable(now(), !connection.isEnded && connection.failure === undefined),
        ),
      writable: (connection) => this.#tell(connection, (owner) => owner.onHostWritable(now())),
    };
  }

  #tell(connection: Connection, what: (owner: HostStreamOwner) => void): void {
    this.#loop.tell(() => {
      if (connection.owner !== undefined && !connection.isClosed) what(connection.owner);
    });
  }

  connect(target: HostTarget, owner: HostStreamOwner): number {
    const connection = new Connection();
    connection.owner = owner;
    const socket = handlersFor(this.#listener, () => connection);
    const options = { allowHalfOpen: true, data: connection, socket };
    const connecting =
      target.kind === "unix"
        ? Bun.connect<Connection>({ unix: target.path, ...options })
        : Bun.connect<Connection>({
            hostname: formatIpv4(target.address),
            port: target.port,
            ...options,
          });
    connecting.catch((error: unknown) =>
      this.#tell(connection, (failed) => failed.onHostConnectFailed(this.#now(), failureOf(error))),
    );
    return this.#add(connection);
  }

  #add(connection: Connection): number {
    const handle = this.#next++;
    this.#connections.set(handle, connection);
    return handle;
  }

  isConnected(): boolean {
    return false;
  }

  adopt(handle: number, owner: HostStreamOwner): void {
    const connection = this.#connections.get(handle)!;
    connection.owner = owner;
    this.#listener.readable(connection);
  }

  release(handle: number): void {
    this.#connections.get(handle)!.owner = undefined;
  }

  write(handle: number, from: Gather): number | HostFailure {
    const { socket, failure } = this.#connections.get(handle)!;
    if (failure !== undefined) return failure;
    let written = 0;
    for (let i = 0; i < from.count; i++) {
      const start = from.starts[i]!;
      const piece = this.#octets.subarray(start, start + from.lengths[i]!);
      const taken = socket!.write(piece);
      if (taken < 0) return "reset";
      written += taken;
      if (taken < piece.length) break;
    }
    return written;
  }

  read(handle: number, into: Gather): number | HostFailure {
    const connection = this.#connections.get(handle)!;
    if (connection.hasOctets) {
      const octets = connection.take(into.octets);
      let read = 0;
      for (let i = 0; i < into.count && read < octets.length; i++) {
        const piece = octets.subarray(read, read + into.lengths[i]!);
        this.#octets.set(piece, into.starts[i]);
        read += piece.length;
      }
      // its owner believes that it is told again
      if (connection.hasOctets || connection.isEnded) this.#listener.readable(connection);
      return read;
    }
    if (connection.failure !== undefined) return connection.failure;
    return connection.isEnded ? 0 : "again";
  }

  shutdownWrite(handle: number): void {
    this.#connections.get(handle)!.socket!.shutdown();
  }

  close(handle: number): void {
    this.#forget(handle)?.end();
  }

  reset(handle: number): void {
    this.#forget(handle)?.terminate();
  }

  #forget(handle: number): RuntimeSocket | undefined {
    const connection = this.#connections.get(handle);
    this.#connections.delete(handle);
    this.#servers.get(handle)?.stop(true);
    this.#servers.delete(handle);
    if (connection !== undefined) connection.isClosed = true;
    return connection?.socket;
  }

  listenTcp(
    host: string,
    port: number,
    owner: HostListenerOwner,
  ): { handle: number; port: number } {
    const where = { hostname: host === "" ? "::" : host, port };
    const server = this.#listen(where, `${host}:${port}`, owner);
    return { handle: server.handle, port: (server.server as { port: number }).port };
  }

  listenUnix(path: string, owner: HostListenerOwner): number {
    return this.#listen({ unix: path }, path, owner).handle;
  }

  #listen(
    where: { hostname: string; port: number } | { unix: string },
    what: string,
    owner: HostListenerOwner,
  ) {
    const listener: Listener = {
      ...this.#listener,
      opened: (connection) => {
        const handle = this.#add(connection);
        this.#loop.tell(() => owner.onAccept(this.#now(), handle));
      },
    };
    const server = listening(where, what, listener);
    const handle = this.#next++;
    this.#servers.set(handle, server);
    return { handle, server };
  }
}

function listening(
  where: { hostname: string; port: number } | { unix: string },
  what: string,
  listener: Listener,
) {
  const socket = handlersFor(listener, () => new Connection());
  const options = { allowHalfOpen: true, socket };
  try {
    return "unix" in where
      ? Bun.listen<Connection>({ ...where, ...options })
      : Bun.listen<Connection>({ ...where, ...options });
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    throw new HostError(code ?? "FAILED", `Cannot listen on ${what}: ${message}`);
  }
}

interface Arrival {
  octets: Uint8Array;
  peer: Uint8Array;
  isRefusal: boolean;
}

class DatagramSocket {
  readonly owner: HostDatagramOwner;
  readonly arrivals: Arrival[] = [];
  /** what was sent before the runtime had the socket */
  readonly early: ((socket: Sender) => void)[] = [];
  socket: Sender | undefined;
  latest: Uint8Array = new Uint8Array();
  isClosed = false;

  constructor(owner: HostDatagramOwner) {
    this.owner = owner;
  }
}

interface Sender {
  send(octets: Uint8Array, port?: number, address?: string): boolean;
  close(): void;
}

class PlainDatagrams implements HostDatagrams {
  readonly received: ReceivedDetails = {
    length: 0,
    ttl: TTL,
    peer: new Uint8Array(28),
    peerLength: 0,
    icmpType: 3,
    icmpCode: 3,
    icmpInfo: 0,
    offender: 0,
  };
  readonly #loop: PlainLoop;
  readonly #octets: Uint8Array;
  readonly #now: () => number;
  readonly #sockets = new Map<number, DatagramSocket>();
  #next = 1;

  constructor(loop: PlainLoop, octets: Uint8Array, now: () => number) {
    this.#loop = loop;
    this.#octets = octets;
    this.#now = now;
  }

  connectUdp(address: number, port: number, owner: HostDatagramOwner): number {
    return this.#open({ connect: { hostname: formatIpv4(address), port } }, owner);
  }

  bindUdp(host: string, port: number, owner: HostDatagramOwner): { handle: number; port: number } {
    if (port === 0) throw isUnavailable("a UDP port that is free");
    return { handle: this.#open({ hostname: host === "" ? "0.0.0.0" : host, port }, owner), port };
  }

  connectEcho(): HostFailure {
    return "failed";
  }

  #open(where: object, owner: HostDatagramOwner): number {
    const handle = this.#next++;
    const made = new DatagramSocket(owner);
    this.#sockets.set(handle, made);
    const arrive = (octets: Uint8Array, peer: Uint8Array, isRefusal: boolean) => {
      if (made.arrivals.length >= MAX_WAITING_DATAGRAMS) return;
      made.arrivals.push({ octets: octets.slice(), peer, isRefusal });
      this.#tell(made);
    };
    const socket = {
      data: (_socket: unknown, octets: Uint8Array, port: number, address: string) =>
        arrive(octets, octetsOf(parseIpv4(address) ?? 0, port), false),
      // of a connected socket: nobody is at the port
      error: () => arrive(made.latest, new Uint8Array(), true),
    };
    void Bun.udpSocket({ ...where, socket } as never).then((opened) => {
      const sender = opened as unknown as Sender;
      made.socket = sender;
      if (made.isClosed) sender.close();
      else for (const send of made.early.splice(0)) send(sender);
    });
    return handle;
  }

  #tell(socket: DatagramSocket): void {
    this.#loop.tell(() => {
      if (!socket.isClosed) socket.owner.onHostReadable(this.#now());
    });
  }

  #send(handle: number, send: (socket: Sender) => void): undefined {
    const { socket, early } = this.#sockets.get(handle)!;
    if (socket !== undefined) send(socket);
    else if (early.length < MAX_WAITING_DATAGRAMS) early.push(send);
  }

  send(handle: number, start: number, length: number): undefined {
    const octets = this.#octets.slice(start, start + length);
    this.#sockets.get(handle)!.latest = octets;
    return this.#send(handle, (socket) => socket.send(octets));
  }

  sendTrain(): boolean {
    return false;
  }

  sendTo(handle: number, start: number, length: number, peer: Uint8Array): undefined {
    const octets = this.#octets.slice(start, start + length);
    const to = formatIpv4(u32(peer, 0));
    const port = u16(peer, 4);
    return this.#send(handle, (socket) => socket.send(octets, port, to));
  }

  receive(handle: number, start: number, room: number): Received {
    const arrival = this.#sockets.get(handle)!.arrivals.shift();
    if (arrival === undefined) return "nothing";
    const octets = arrival.octets.subarray(0, room);
    this.#octets.set(octets, start);
    this.received.length = octets.length;
    this.received.peer.set(arrival.peer);
    this.received.peerLength = arrival.peer.length;
    return arrival.isRefusal ? "error" : "datagram";
  }

  close(handle: number): void {
    const socket = this.#sockets.get(handle)!;
    this.#sockets.delete(handle);
    socket.isClosed = true;
    socket.socket?.close();
  }
}

/** A guest on a unix stream. */
class PlainPort implements BridgePort {
  readonly id: number;
  towards: BridgePort | undefined;
  readonly connection: Connection;
  readonly octetsIn = new OctetCount();
  readonly octetsOut = new OctetCount();
  framesIn = 0;
  framesOut = 0;
  dropped = 0;
  readonly #octets: Uint8Array;
  #listed: Uint8Array[] = [];
  #waiting = 0;
  #isFull = false;

  constructor(id: number, connection: Connection, octets: Uint8Array) {
    this.id = id;
    this.connection = connection;
    this.#octets = octets;
  }

  get busy(): boolean {
    return this.#isFull || this.#waiting > BUSY;
  }

  transmit(...pieces: [number, number, number, number, number, number]): boolean {
    const [head, headLength, body1, length1, body2, length2] = pieces;
    const length = headLength + length1 + length2;
    if (this.#waiting + length > BACKLOG) {
      this.dropped++;
      return false;
    }
    const octets = this.#octets;
    const framed = join(
      octetsOf(length),
      octets.subarray(head, head + headLength),
      octets.subarray(body1, body1 + length1),
      octets.subarray(body2, body2 + length2),
    );
    this.#listed.push(framed);
    this.#waiting += framed.length;
    this.framesOut++;
    this.octetsOut.add(length);
    return true;
  }

  /** Writes as much as the guest takes; it was busy before, and is not any more. */
  flush(): boolean {
    if (this.#waiting === 0) return false;
    const wasBusy = this.busy;
    const all = join(...this.#listed);
    const taken = Math.max(0, this.connection.socket!.write(all));
    this.#waiting -= taken;
    this.#listed = taken < all.length ? [all.subarray(taken)] : [];
    this.#isFull = taken < all.length;
    return wasBusy && !this.busy;
  }
}

class PlainPorts implements EnginePorts {
  drained = false;
  readonly #engine: PortsEngine;
  readonly #loop: PlainLoop;
  readonly #octets: Uint8Array;
  /** where frames are put for the engine */
  readonly #at: number;
  readonly #ports = new Map<Connection, PlainPort>();
  readonly #servers: { stop(closeAll: boolean): void }[] = [];
  #next = 0;

  constructor(engine: PortsEngine, loop: PlainLoop, memory: PacketMemory) {
    this.#engine = engine;
    this.#loop = loop;
    this.#octets = memory.octets;
    this.#at = memory.reserve(READ_AHEAD + MAX_FRAME);
  }

  listen(kind: string, path: string): void {
    if (kind !== "stream") throw isUnavailable(`a socket of the kind ${kind}`);
    const listener: Listener = {
      opened: (connection) => {
        const port = new PlainPort(this.#next++, connection, this.#octets);
        this.#ports.set(connection, port);
        this.#loop.tell(() => {
          this.#engine.connect(port);
          this.#engine.tell({ type: "port-attached", port: port.id, kind: "stream" });
        });
      },
      readable: (connection) => this.#loop.tell(() => this.#receive(connection)),
      writable: (connection) =>
        this.#loop.tell(() => {
          if (this.#ports.get(connection)?.flush() === true) this.drained = true;
        }),
    };
    this.#servers.push(listening({ unix: path }, path, listener));
  }

  attach(): void {
    throw isUnavailable("a guest's connection of somebody else's");
  }

  attachListening(): void {
    throw isUnavailable("a connection to a guest that listens");
  }

  #receive(connection: Connection): void {
    const port = this.#ports.get(connection);
    if (port === undefined) return;
    const octets = connection.take(READ_AHEAD + MAX_FRAME);
    if (connection.hasOctets) this.#loop.tell(() => this.#receive(connection));
    const start = this.#at;
    this.#octets.set(octets, start);
    const end = start + octets.length;
    const now = this.#engine.now();
    const rest = deframe(QEMU_FRAMING, this.#octets, start, end, MAX_FRAME, (from, to) => {
      port.framesIn++;
      port.octetsIn.add(to - from);
      this.#engine.onFrame(now, port, from, to);
    });
    this.#engine.settle();
    if (typeof rest === "string" || (connection.isEnded && rest === start)) {
      this.#ports.delete(connection);
      connection.socket?.terminate();
      this.#engine.disconnect(port);
      this.#engine.tell({ type: "port-detached", port: port.id, reason: "the guest has gone" });
      return;
    }
    // a frame whose end has not come yet waits with what comes
    if (rest < end) connection.putBack(octets.subarray(rest - start));
    if (connection.isEnded) this.#loop.tell(() => this.#receive(connection));
  }

  receive(): void {}

  flush(): void {
    for (const port of this.#ports.values()) if (port.flush()) this.drained = true;
  }

  get hasUnfinished(): boolean {
    return this.drained;
  }

  nextDeadline(): number {
    return Infinity;
  }

  stats(): Record<string, number> {
    const ports = [...this.#ports.values()];
    const sum = (of: (port: PlainPort) => number) => ports.reduce((all, port) => all + of(port), 0);
    return {
      BytesSent: sum((port) => port.octetsOut.total),
      BytesReceived: sum((port) => port.octetsIn.total),
      framesSent: sum((port) => port.framesOut),
      framesReceived: sum((port) => port.framesIn),
      framesDropped: sum((port) => port.dropped),
      ports: ports.length,
    };
  }

  close(): void {
    this.flush();
    for (const { connection } of this.#ports.values()) connection.socket?.terminate();
    for (const server of this.#servers) server.stop(true);
  }
}

export const plainHost: OpenHost<PlainLoop> = (engine, memory) => {
  const loop = new PlainLoop();
  const now = () => engine.now();
  const streams = new PlainStreams(loop, memory.octets, now);
  return {
    loop,
    streams,
    listeners: streams,
    datagrams: new PlainDatagrams(loop, memory.octets, now),
    ports: new PlainPorts(engine, loop, memory),
  };
};
