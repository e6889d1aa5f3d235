/** Guests of the plain host (`plain-host.ts`), on unix streams. */
import type { PortsEngine } from "../../lib/daemon/engine/guest-ports.ts";
import type { EnginePorts } from "../../lib/daemon/network/engine-host.ts";
import { HostError } from "../../lib/host/listening-sockets.ts";
import type { BridgePort } from "../../lib/link/bridge-port.ts";
import { deframe, QEMU_FRAMING } from "../../lib/link/stream-framing.ts";
import type { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { OctetCount } from "../../lib/trace/octet-count.ts";
import { join } from "./injected-frames.ts";
import type { PlainLoop } from "./plain-loop.ts";
import { type Connection, listening, type Listener, READ_AHEAD } from "./plain-streams.ts";

const MAX_FRAME = 128 * 1024;
const BACKLOG = 1024 * 1024;
const BUSY = 384 * 1024;

const unavailable = (what: string): HostError =>
  new HostError("ENOTSUP", `Cannot open ${what}: the plain host has none`);

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
    const prefix = new Uint8Array(QEMU_FRAMING.prefix);
    QEMU_FRAMING.putLength(prefix, 0, length);
    const framed = join(
      prefix,
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

export class PlainPorts implements EnginePorts {
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
    if (kind !== "stream") throw unavailable(`a socket of the kind ${kind}`);
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
    throw unavailable("a guest's connection of somebody else's");
  }

  attachListening(): void {
    throw unavailable("a connection to a guest that listens");
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
