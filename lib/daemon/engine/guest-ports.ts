/**
 * The guests' ports of an engine: sockets on which guests attach, their ports with the packet memory that these use, and
 * which of them have frames to flush or more to receive in the next turn.
 */
import { acceptDescriptor, socketKind } from "../../host/descriptor-passing.ts";
import type { DatagramPort } from "../../host/datagram-port.ts";
import {
  DatagramSocket,
  reserveDatagramMemory,
  type DatagramOwner,
  type Guests,
} from "../../host/datagram-socket.ts";
import type { EventLoop } from "../../host/event-loop.ts";
import { closeDescriptor } from "../../host/descriptors.ts";
import type { ListeningSockets, SocketAccess } from "../../host/listening-sockets.ts";
import { reservePortMemory, StreamPort, type PortMemory } from "../../host/stream-port.ts";
import { connectUnix } from "../../host/unix-connection.ts";
import {
  reserveVhostMemory,
  VhostPort,
  type LargeFrames,
  type VhostMemory,
  type VhostOwner,
} from "../../host/vhost-port.ts";
import { VhostSession } from "../../host/vhost-session.ts";
import type { VectoredIo } from "../../host/vectored-io.ts";
import type { BridgePort } from "../../link/bridge-port.ts";
import { QEMU_FRAMING, type StreamFraming } from "../../link/stream-framing.ts";
import type { PacketMemory } from "../../storage/packet-memory.ts";
import type { PortEvent } from "./port-events.ts";

const MAX_PORTS = 64;

export type AttachKind =
  /** unix stream, 4-octet big-endian length + frame, many clients (QEMU) */
  | "stream"
  /** unix stream on which each client passes one descriptor (SCM_RIGHTS): SOCK_DGRAM, or a connection as of "stream" */
  | "descriptor"
  /** unix datagram, a frame each, for the guest that sends first; a "VFKT" hello is swallowed (vfkit) */
  | "datagram"
  /** the same for many guests, which are told apart by their addresses */
  | "datagrams"
  /** unix stream on which each client's virtual machine gives us its memory and its queues (QEMU's vhost-user) */
  | "vhost-user";

/** The engine whose ports these are. */
export interface PortsEngine {
  now(): number;
  /** as PortOwner's */
  onFrame(now: number, port: BridgePort, start: number, end: number): void;
  settle(): void;
  /** Until when a port is not to be read; 0: it may be. Without it ports are never held. */
  heldUntil?(port: BridgePort): number;
  connect(port: BridgePort): void;
  disconnect(port: BridgePort): void;
  tell(event: PortEvent): void;
  /** without it there are no guests of "vhost-user" */
  readonly largeFrames?: LargeFrames;
}

interface OpenPort {
  port: StreamPort | DatagramPort | VhostPort;
  /** closes what is the port's alone */
  end(): void;
}

export class GuestPorts implements DatagramOwner, VhostOwner {
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
  readonly #freeVhostMemory: VhostMemory[] = [];
  readonly #ports = new Map<number, OpenPort>();
  #isFull = false;
  #toFlush: { flush(): void }[] = [];
  #toReceive: { receive(): void }[] = [];
  /** ports that are not to be read until one drains, or this time */
  #held: { receive(): void }[] = [];
  #heldUntil = Infinity;
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

  holds(port: VhostPort): boolean {
    const until = this.#engine.heldUntil?.(port) ?? 0;
    if (until === 0) return false;
    if (!this.#held.includes(port)) this.#held.push(port);
    this.#heldUntil = Math.min(this.#heldUntil, until);
    return true;
  }

  #letGo(): void {
    this.#toReceive.push(...this.#held);
    this.#held.length = 0;
    this.#heldUntil = Infinity;
  }

  receiveLater(port: { receive(): void }): void {
    this.#toReceive.push(port);
  }

  flushLater(port: { flush(): void }): void {
    this.#toFlush.push(port);
  }

  portDrained(): void {
    this.drained = true;
    if (this.#held.length > 0) this.#letGo();
  }

  /** when a port that is held is to be read all the same */
  nextDeadline(): number {
    return this.#heldUntil;
  }

  /** something is left for the next turn, which must not sleep */
  get hasUnfinished(): boolean {
    return this.#toReceive.length > 0 || this.drained;
  }

  /** Takes in what the last turn left. */
  receive(): void {
    if (this.#heldUntil <= this.#engine.now()) this.#letGo();
    const ports = this.#toReceive;
    if (ports.length === 0) return;
    this.#toReceive = [];
    for (const port of ports) port.receive();
  }

  flush(): void {
    const ports = this.#toFlush;
    for (const port of ports) port.flush();
    ports.length = 0;
  }

  // ---------------------------------------------------------------- attachments

  /** Throws HostError. */
  listen(kind: AttachKind, path: string, access?: SocketAccess): void {
    if (kind === "datagram" || kind === "datagrams") {
      const fd = this.#listeners.bindUnixDatagram(path, access);
      this.#listening.push(fd);
      this.#watchDatagrams(fd, kind === "datagram" ? "one" : "many");
      return;
    }
    const owner = {
      onAccept: (_now: number, fd: number) => {
        if (kind === "stream") this.attach(fd, QEMU_FRAMING);
        else if (kind === "vhost-user") this.#attachVhost(fd);
        else acceptDescriptor(this.#loop, fd, (passed) => this.attachPassed(passed));
      },
    };
    this.#listening.push(this.#listeners.listenUnix(path, owner, access));
  }

  /** Takes over a connection as a guest's port; `early` has been read from it before. */
  attach(fd: number, framing: StreamFraming, early?: Uint8Array): void {
    const id = this.admit();
    if (id === undefined) {
      closeDescriptor(fd);
      return;
    }
    const memory = this.#freeStreamMemory.pop() ?? reservePortMemory(this.#memory);
    const port = new StreamPort(id, fd, framing, memory, this.#io, this.#memory.octets, this);
    this.#connect(port, () => {
      this.#listeners.close(fd);
      this.#freeStreamMemory.push(memory);
    });
    port.watch(this.#loop);
    if (early !== undefined) port.receiveEarly(early);
  }

  #attachVhost(fd: number): void {
    const { largeFrames } = this.#engine;
    const id = largeFrames === undefined ? undefined : this.admit();
    if (largeFrames === undefined || id === undefined) {
      closeDescriptor(fd);
      return;
    }
    const memory = this.#freeVhostMemory.pop() ?? reserveVhostMemory(this.#memory);
    const session = new VhostSession(id, fd, memory, this.#io, this, largeFrames);
    this.#connect(session.port, () => {
      session.close();
      this.#listeners.close(fd);
      this.#freeVhostMemory.push(memory);
    });
    session.watch(this.#loop);
  }

  /** Connects to a QEMU that listens, unless that is done; throws HostError. */
  attachListening(path: string): void {
    const port = this.#calledUpon.get(path);
    if (port !== undefined && this.#ports.has(port)) return;
    const fd = connectUnix(path);
    this.#calledUpon.set(path, this.#nextPort);
    this.attach(fd, QEMU_FRAMING);
  }

  /** Takes over a socket that leads to one guest, of datagrams or a stream. */
  attachPassed(fd: number): void {
    switch (socketKind(fd)) {
      case "stream":
        this.attach(fd, QEMU_FRAMING);
        return;
      case "datagram":
        this.#watchDatagrams(fd, "passed");
        return;
      case "other":
        closeDescriptor(fd);
    }
  }

  #watchDatagrams(fd: number, guests: Guests): void {
    const memory = this.#freeDatagramMemory.pop() ?? reserveDatagramMemory(this.#memory);
    const { octets } = this.#memory;
    const socket = new DatagramSocket(fd, guests, memory, this.#io.base, octets, this);
    if (socket.watch(this.#loop)) return;
    closeDescriptor(fd);
    this.#freeDatagramMemory.push(memory);
  }

  /** It has not been detached. */
  has(port: BridgePort): boolean {
    return this.#ports.get(port.id)?.port === port;
  }

  admit(): number | undefined {
    if (this.#ports.size < MAX_PORTS) return this.#nextPort++;
    if (!this.#isFull)
      this.#engine.tell({
        type: "log",
        level: "warn",
        line: `guests are turned away: ${MAX_PORTS} are attached, which is the limit of one network`,
      });
    this.#isFull = true;
    return undefined;
  }

  admitted(port: DatagramPort): void {
    const { socket } = port;
    this.#connect(port, () => {
      socket.forget(port);
      if (!socket.isPassed) return;
      this.#listeners.close(socket.fd);
      this.#toReceive = this.#toReceive.filter((other) => other !== socket);
      this.#freeDatagramMemory.push(socket.memory);
    });
  }

  #connect(port: StreamPort | DatagramPort | VhostPort, end: () => void): void {
    this.#ports.set(port.id, { port, end });
    this.#engine.connect(port);
    this.#engine.tell({ type: "port-attached", port: port.id, kind: port.kind });
  }

  detach(port: BridgePort, reason: string): void {
    const open = this.#ports.get(port.id);
    if (open === undefined) return;
    this.#ports.delete(port.id);
    this.#isFull = false;
    for (const [path, id] of this.#calledUpon) if (id === port.id) this.#calledUpon.delete(path);
    this.#engine.disconnect(open.port);
    this.#toFlush = this.#toFlush.filter((other) => other !== open.port);
    this.#toReceive = this.#toReceive.filter((other) => other !== open.port);
    this.#held = this.#held.filter((other) => other !== open.port);
    // perhaps it was this one that others waited for
    this.#letGo();
    open.end();
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
    for (const { port } of this.#ports.values()) {
      stats.BytesSent += port.octetsOut.total;
      stats.BytesReceived += port.octetsIn.total;
      stats.framesSent += port.framesOut;
      stats.framesReceived += port.framesIn;
      stats.framesDropped += port.dropped;
    }
    return stats;
  }

  close(): void {
    this.flush();
    for (const open of this.#ports.values()) open.end();
    for (const handle of this.#listening) this.#listeners.close(handle);
  }
}
