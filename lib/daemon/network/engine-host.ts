/**
 * What a user-mode network's engine needs of its host, and the host that it has in a daemon: raw calls that do not block, and
 * one poller. The tests have another one, of the runtime's sockets (`tests/support/plain-host.ts`).
 */
import type { HostDatagrams, HostListeners, HostStreams } from "../../flow/host-sockets.ts";
import { DatagramSockets } from "../../host/datagram-sockets.ts";
import { EventLoop } from "../../host/event-loop.ts";
import { ListeningSockets } from "../../host/listening-sockets.ts";
import { StreamSockets } from "../../host/stream-sockets.ts";
import { VectoredIo } from "../../host/vectored-io.ts";
import type { PacketMemory } from "../../storage/packet-memory.ts";
import { GuestPorts, type PortsEngine } from "../engine/guest-ports.ts";

export type EngineLoop = Pick<EventLoop, "onWake" | "wait" | "giveWay" | "close">;

export type EnginePorts = Pick<
  GuestPorts,
  | "listen"
  | "attach"
  | "attachListening"
  | "receive"
  | "flush"
  | "drained"
  | "hasUnfinished"
  | "nextDeadline"
  | "stats"
  | "close"
>;

export interface EngineHost<Loop extends EngineLoop> {
  readonly loop: Loop;
  readonly streams: HostStreams;
  readonly datagrams: HostDatagrams;
  readonly listeners: HostListeners;
  readonly ports: EnginePorts;
}

/** Opens a host for an engine, whose time is not asked for before it has one. */
export type OpenHost<Loop extends EngineLoop> = (
  engine: PortsEngine,
  memory: PacketMemory,
) => EngineHost<Loop>;

export const systemHost: OpenHost<EventLoop> = (engine, memory) => {
  const loop = new EventLoop();
  const io = new VectoredIo(memory);
  const now = () => engine.now();
  const listeners = new ListeningSockets(loop, now);
  return {
    loop,
    streams: new StreamSockets(loop, io, now),
    datagrams: new DatagramSockets(loop, io, now),
    listeners,
    ports: new GuestPorts(engine, loop, listeners, io, memory),
  };
};
