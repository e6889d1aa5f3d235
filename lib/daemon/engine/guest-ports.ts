/**
 * The guests' ports of an engine: sockets on which guests attach, their ports with the packet memory that these use, and
 * which of them have frames to flush or more to receive in the next turn.
 */
import { acceptDescriptor } from "../../host/descriptor-passing.ts";
import { DatagramPort, reserveDatagramMemory } from "../../host/datagram-port.ts";
import type { EventLoop } from "../../host/event-loop.ts";
import { libc } from "../../host/libc.ts";
import type { ListeningSockets, SocketAccess } from "../../host/listening-sockets.ts";
import type { PortOwner } from "../../host/port-owner.ts";
import { reservePortMemory, StreamPort, type PortMemory } from "../../host/stream-port.ts";
import { connectUnix } from "../../host/unix-connection.ts";
import type { VectoredIo } from "../../host/vectored-io.ts";
import type { BridgePort } from "../../link/bridge-port.ts";
import { QEMU_FRAMING, type StreamFraming } from "../../link/stream-framing.ts";
import type { PacketMemory } from "../../storage/packet-memory.ts";

const MAX_PORTS = 64;

export type AttachKind =
  /** unix stream, 4-octet big-endian length + frame, many clients (QEMU) */
  | "stream"
  /** unix stream on which each client passes one SOCK_DGRAM descriptor (SCM_RIGHTS) */
  | "descriptor"
  /** unix datagram, a frame each; a "VFKT" hello is swallowed (vfkit) */
  | "datagram";

export type PortEvent =
  | { type: "port-attached"; port: number; kind: AttachKind }
  | { type: "port-detached"; port: number; reason: string }
  | { type: "log"; level: "error" | "warn" | "info" | "debug"; line: string };

/** The engine whose ports these are. */
export interface PortsEngine {
  now(): number;
  /** as PortOwner's */
  onFrame(now: number, port: BridgePort, start: number, end: number): void;
  settle(): void;
  connect(port: BridgePort): void;
  disconnect(port: BridgePort): void;
  tell(event: PortEvent): void;
}

export class GuestPorts implements PortOwner {
  readonly #engine: PortsEngine;
  readonly #loop: EventLoop;
  readonly #listeners: ListeningSockets;
  readonly #io: VectoredIo;
  readonly #memory: PacketMemory;
  readonly #listening: number[] = [];
  /** sockets on which a QEMU listens → the port that was connected to it */
  readonly #calledUpon = new Map<string, number>();
  readonly #freeStreamMemory: PortMemory[] = [];
  readonly #freeDatagramMemory: number[] = [];
  readonly #ports = new Map<number, StreamPort | DatagramPort>();
  #toFlush: { flush(): void }[] = [];
  #toReceive: { receive(): void }[] = [];
  #nextPort = 0;
  /** a port takes frames again: those who waited for it are to be told; whoever tells them sets it back */
  drained = false;

  constructor(
    engine: PortsEngine,
    loop: EventLoop,
    listeners: ListeningSockets,
    io: VectoredIo,
    memory: PacketMemory,
  ) {
    this.#engine = engine;
    this.#loop = loop;
    this.#listeners = listeners;
    this.#io = io;
    this.#memory = memory;
  }

  get size(): number {
    return this.#ports.size;
  }

  // ---------------------------------------------------------------- turns

  now(): number {
    return this.#engine.now();
  }

  onFrame(now: number, port: BridgePort, start: number, end: number): void {
    this.#engine.onFrame(now, port, start, end);
  }

  settle(): void {
    this.#engine.settle();
  }

  receiveLater(port: { receive(): void }): void {
    this.#toReceive.push(port);
  }

  flushLater(port: { flush(): void }): void {
    this.#toFlush.push(port);
  }

  portDrained(): void {
    this.drained = true;
  }

  /** something is left for the next turn, which must not sleep */
  get hasUnfinished(): boolean {
    return this.#toReceive.length > 0 || this.drained;
  }

  /** Takes in what the last turn left. */
  receive(): void {
    const ports = this.#toReceive;
    this.#toReceive = [];
    for (const port of ports) port.receive();
  }

  flush(): void {
    const ports = this.#toFlush;
    if (ports.length === 0) return;
    this.#toFlush = [];
    for (const port of ports) port.flush();
  }

  // ---------------------------------------------------------------- attachments

  /** Throws HostError. */
  listen(kind: AttachKind, path: string, access?: SocketAccess): void {
    if (kind === "datagram") {
      this.#attachDatagram(this.#listeners.bindUnixDatagram(path, access), kind, false);
      return;
    }
    const owner = {
      onAccept: (_now: number, fd: number) => {
        if (kind === "stream") this.attach(fd, QEMU_FRAMING);
        else acceptDescriptor(this.#loop, fd, (passed) => this.#attachDatagram(passed, kind, true));
      },
    };
    this.#listening.push(this.#listeners.listenUnix(path, owner, access));
  }

  /** Takes over a connection as a guest's port; `early` has been read from it before. */
  attach(fd: number, framing: StreamFraming, early?: Uint8Array): void {
    if (!this.#hasRoom(fd)) return;
    const memory = this.#freeStreamMemory.pop() ?? reservePortMemory(this.#memory);
    const { octets } = this.#memory;
    const port = new StreamPort(this.#nextPort++, fd, framing, memory, this.#io, octets, this);
    this.#connect(port, "stream");
    if (early !== undefined) port.receiveEarly(early);
  }

  /** Connects to a QEMU that listens, unless that is done; throws HostError. */
  attachListening(path: string): void {
    const port = this.#calledUpon.get(path);
    if (port !== undefined && this.#ports.has(port)) return;
    const fd = connectUnix(path);
    this.#calledUpon.set(path, this.#nextPort);
    this.attach(fd, QEMU_FRAMING);
  }

  #attachDatagram(fd: number, kind: AttachKind, connected: boolean): void {
    if (!this.#hasRoom(fd)) return;
    const memory = this.#freeDatagramMemory.pop() ?? reserveDatagramMemory(this.#memory);
    this.#connect(
      new DatagramPort(
        this.#nextPort++,
        fd,
        memory,
        this.#io.base,
        this.#memory.octets,
        this,
        connected,
      ),
      kind,
    );
  }

  #hasRoom(fd: number): boolean {
    if (this.#ports.size < MAX_PORTS) return true;
    libc.close(fd);
    this.#engine.tell({
      type: "log",
      level: "warn",
      line: `a guest was turned away: ${MAX_PORTS} are attached, which is the limit of one network`,
    });
    return false;
  }

  #connect(port: StreamPort | DatagramPort, kind: AttachKind): void {
    this.#ports.set(port.id, port);
    this.#engine.connect(port);
    port.watch(this.#loop);
    this.#engine.tell({ type: "port-attached", port: port.id, kind });
  }

  detach(port: BridgePort, reason: string): void {
    const open = this.#ports.get(port.id);
    if (open === undefined) return;
    this.#ports.delete(port.id);
    for (const [path, id] of this.#calledUpon) if (id === port.id) this.#calledUpon.delete(path);
    this.#engine.disconnect(open);
    this.#listeners.close(open.fd);
    this.#toFlush = this.#toFlush.filter((other) => other !== open);
    this.#toReceive = this.#toReceive.filter((other) => other !== open);
    if (open instanceof StreamPort) this.#freeStreamMemory.push(open.memory);
    else this.#freeDatagramMemory.push(open.memory);
    this.#engine.tell({ type: "port-detached", port: port.id, reason });
  }

  /** of the ports that are attached now, under gvproxy's names where it has some */
  stats(): Record<string, number> {
    const stats = {
      BytesSent: 0,
      BytesReceived: 0,
      framesSent: 0,
      framesReceived: 0,
      framesDropped: 0,
      ports: this.#ports.size,
    };
    for (const port of this.#ports.values()) {
      stats.BytesSent += port.octetsOut;
      stats.BytesReceived += port.octetsIn;
      stats.framesSent += port.framesOut;
      stats.framesReceived += port.framesIn;
      stats.framesDropped += port.dropped;
    }
    return stats;
  }

  close(): void {
    this.flush();
    for (const handle of this.#listening) this.#listeners.close(handle);
    for (const port of this.#ports.values()) this.#listeners.close(port.fd);
  }
}
