/**
 * A guest's stream on a real socket: frames of any size, cut anywhere, come out whole and in order, whatever the framing; a
 * length that is no frame's ends the port, with what came before it.
 */
import { closeSync } from "node:fs";
import { openSocketPair } from "../../lib/host/descriptors.ts";
import { libc, SOCK_STREAM } from "../../lib/host/libc.ts";
import { reservePortMemory, StreamPort } from "../../lib/host/stream-port.ts";
import { VectoredIo } from "../../lib/host/vectored-io.ts";
import { QEMU_FRAMING, VPNKIT_FRAMING, type StreamFraming } from "../../lib/link/stream-framing.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { join } from "../support/injected-frames.ts";
import type { Dice, Target } from "./dice.ts";

/** larger than any frame that is taken */
const TOO_LONG = 0x00ff_ffff;

export class StreamTarget implements Target {
  readonly name = "a guest's stream on a socket";
  readonly unit = "streams";
  readonly batch = 1;
  readonly #memory = new PacketMemory(8 << 20);
  readonly #io = new VectoredIo(this.#memory);
  readonly #place = reservePortMemory(this.#memory);

  round(dice: Dice): void {
    const framing = dice.pick([QEMU_FRAMING, VPNKIT_FRAMING]);
    const frames = Array.from({ length: dice.below(8) }, () =>
      dice.octets(dice.pick([0, 1, 14, 60, 1514, dice.below(9000)])),
    );
    const breaks = framing === QEMU_FRAMING && dice.chance(0.3);
    const stream = join(
      ...frames.flatMap((frame) => [lengthOf(framing, frame.length), frame]),
      breaks ? join(lengthOf(framing, TOO_LONG), dice.octets(dice.below(100))) : new Uint8Array(),
    );
    const { got, ended } = this.#receive(dice, framing, stream);
    const expected = frames.map((frame) => frame.toHex());
    if (JSON.stringify(got) !== JSON.stringify(expected))
      throw new Error(`${expected.length} frames went in, and ${got.length} came out, or others`);
    if (ended !== breaks) throw new Error(breaks ? "the port goes on" : "the port has ended");
  }

  #receive(
    dice: Dice,
    framing: StreamFraming,
    stream: Uint8Array,
  ): { got: string[]; ended: boolean } {
    const pair = openSocketPair(SOCK_STREAM);
    if (typeof pair === "number") throw new Error("no socket pair");
    const got: string[] = [];
    let ended = false;
    const { octets } = this.#memory;
    const port = new StreamPort(0, pair[0], framing, this.#place, this.#io, octets, {
      now: () => 0,
      onFrame: (_now, _port, start, end) => void got.push(octets.slice(start, end).toHex()),
      settle: () => {},
      receiveLater: () => {},
      flushLater: () => {},
      portDrained: () => {},
      detach: () => {
        ended = true;
      },
    });
    // what stood in the buffer before is nobody's frame
    octets.fill(0xa5, this.#place.receive, this.#place.receive + 70_000);
    for (let at = 0; at < stream.length && !ended;) {
      const piece = stream.slice(at, at + dice.pick([1, 2, 3, 5, 100, 4000, 60_000]));
      const written = Number(libc.write(pair[1], piece, piece.length));
      if (written < 0) throw new Error("the socket takes nothing");
      at += written;
      port.receive();
    }
    for (const fd of pair) closeSync(fd);
    return { got, ended };
  }
}

function lengthOf(framing: StreamFraming, length: number): Uint8Array {
  const octets = new Uint8Array(framing.prefix);
  framing.putLength(octets, 0, length);
  return octets;
}
