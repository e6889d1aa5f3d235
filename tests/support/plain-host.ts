/**
 * A host for an engine that is as plain as can be: the runtime's own sockets, a call for each piece, everything copied on its
 * way. It shares nothing with the fast one in `lib/host` but the interfaces in front of both, for which it is the reference:
 * the same tests run over both. It has stream ports alone, no ping to the outside, and every packet's time to live is 64.
 */
import type { OpenHost } from "../../lib/daemon/network/engine-host.ts";
import { PlainDatagrams } from "./plain-datagrams.ts";
import { PlainLoop } from "./plain-loop.ts";
import { PlainPorts } from "./plain-ports.ts";
import { PlainStreams } from "./plain-streams.ts";

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
