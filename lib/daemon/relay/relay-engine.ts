/**
 * Carries frames between switches that speak streams only, as socket_vmnet does, and network cards that speak datagrams
 * only, as Virtualization.framework's do. Each pair is by itself: nothing is learned, nothing crosses over. When one side of
 * a pair has gone, so has the other.
 */
import { monotonicMs } from "../../host/clock.ts";
import { EventLoop } from "../../host/event-loop.ts";
import { HostError, ListeningSockets } from "../../host/listening-sockets.ts";
import { connectUnix } from "../../host/unix-connection.ts";
import { VectoredIo } from "../../host/vectored-io.ts";
import type { BridgePort } from "../../link/bridge-port.ts";
import { QEMU_FRAMING } from "../../link/stream-framing.ts";
import { PacketMemory } from "../../storage/packet-memory.ts";
import { GuestPorts, type PortsEngine } from "../engine/guest-ports.ts";
import type { RelayEvent } from "./relay-protocol.ts";

/** all ports at their largest; what nobody uses takes no room */
const PACKET_MEMORY_SIZE = 256 << 20;

export class RelayEngine implements PortsEngine {
  readonly loop = new EventLoop();
  readonly tell: (event: RelayEvent) => void;
  readonly #memory = new PacketMemory(PACKET_MEMORY_SIZE);
  readonly #ports: GuestPorts;
  readonly #others = new Map<BridgePort, BridgePort>();
  /** the port that waits for its other side while a pair is made */
  #first: BridgePort | undefined;
  #lonely: BridgePort[] = [];

  constructor(tell: (event: RelayEvent) => void) {
    this.tell = tell;
    const listeners = new ListeningSockets(this.loop, monotonicMs);
    const io = new VectoredIo(this.#memory);
    this.#ports = new GuestPorts(this, this.loop, listeners, io, this.#memory);
  }

  /** Throws HostError when nobody listens at the path; the descriptor is closed then, too. */
  join(path: string, fd: number): void {
    this.#ports.attachPassed(fd);
    const card = this.#first;
    if (card === undefined)
      throw new HostError("EMFILE", "Cannot carry the frames of another network card: no room");
    try {
      this.#ports.attach(connectUnix(path), QEMU_FRAMING);
    } finally {
      this.#first = undefined;
      if (!this.#others.has(card)) this.#lonely.push(card);
    }
  }

  turn(limitMs: number): void {
    const wait = this.#ports.hasUnfinished ? 0 : limitMs;
    this.loop.wait(wait === Infinity ? -1 : wait);
    this.#ports.receive();
    this.settle();
  }

  now(): number {
    return monotonicMs();
  }

  onFrame(_now: number, port: BridgePort, start: number, end: number): void {
    this.#others.get(port)?.transmit(start, end - start, 0, 0, 0, 0);
  }

  settle(): void {
    // who does not read loses frames
    this.#ports.drained = false;
    this.#ports.flush();
    for (const port of this.#lonely.splice(0)) this.#ports.detach(port, "its other side has gone");
  }

  connect(port: BridgePort): void {
    const first = this.#first;
    if (first === undefined) {
      this.#first = port;
      return;
    }
    this.#others.set(first, port);
    this.#others.set(port, first);
  }

  disconnect(port: BridgePort): void {
    const other = this.#others.get(port);
    this.#others.delete(port);
    if (other === undefined) return;
    this.#others.delete(other);
    this.#lonely.push(other);
  }

  close(): void {
    this.#ports.close();
    this.loop.close();
  }
}
