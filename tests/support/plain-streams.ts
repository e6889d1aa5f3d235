/** Connections of the plain host (`plain-host.ts`): the runtime's sockets, and what waits in them to be read. */
import { formatIpv4 } from "../../lib/addr/ipv4.ts";
import type {
  HostFailure,
  HostListenerOwner,
  HostListeners,
  HostStreamOwner,
  HostStreams,
  HostTarget,
} from "../../lib/flow/host-sockets.ts";
import { HostError } from "../../lib/host/listening-sockets.ts";
import type { Gather } from "../../lib/storage/gather.ts";
import { join } from "./injected-frames.ts";
import type { PlainLoop } from "./plain-loop.ts";

/** octets that wait to be read; with more of them the runtime's socket is not read */
export const READ_AHEAD = 256 * 1024;

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
export class Connection {
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
export interface Listener {
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

/** Throws HostError. */
export function listening(
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

export class PlainStreams implements HostStreams, HostListeners {
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
