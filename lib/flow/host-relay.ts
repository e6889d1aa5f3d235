/**
 * Two sockets of the host joined: what comes from one goes to the other, with end of stream and reset. Each direction has
 * one block of packet memory, and reads no more until that is written: the slower end sets the pace.
 */
import type { BlockPool } from "../storage/block-pool.ts";
import { Gather } from "../storage/gather.ts";
import type { HostStreams } from "./host-sockets.ts";

/** octets a direction may move in one turn, so that none starves another */
const BUDGET = 256 * 1024;

/** One end, and the octets that came from it and wait for the other. */
class End {
  readonly handle: number;
  readonly block: number;
  start = 0;
  length = 0;
  readable = true;
  ended = false;
  /** the other end of stream has been passed on to this one */
  shut = false;

  constructor(handle: number, block: number) {
    this.handle = handle;
    this.block = block;
  }
}

export class HostRelay {
  readonly #host: HostStreams;
  readonly #pool: BlockPool;
  readonly #ends: readonly [End, End];
  readonly #onOver: () => void;
  readonly #gather = new Gather(1);
  #over = false;

  /** Owns both handles from now on; `onOver` is told once, when both are closed. Blocks come from `pool`. */
  constructor(
    host: HostStreams,
    pool: BlockPool,
    handles: readonly [number, number],
    blocks: readonly [number, number],
    onOver: () => void,
  ) {
    this.#host = host;
    this.#pool = pool;
    this.#ends = [new End(handles[0], blocks[0]), new End(handles[1], blocks[1])];
    this.#onOver = onOver;
  }

  onReadable(which: 0 | 1): void {
    this.#ends[which].readable = true;
  }

  /** Moves what can be moved; true when there is more than one turn may do. */
  pump(): boolean {
    if (this.#over) return false;
    const [a, b] = this.#ends;
    const there = this.#move(a, b);
    const back = there === "broken" ? there : this.#move(b, a);
    if (there === "broken" || back === "broken") {
      for (const { handle } of this.#ends) this.#host.reset(handle);
      this.#end();
      return false;
    }
    if (a.shut && b.shut) {
      for (const { handle } of this.#ends) this.#host.close(handle);
      this.#end();
      return false;
    }
    return there === "more" || back === "more";
  }

  #move(from: End, to: End): "waits" | "more" | "broken" {
    const gather = this.#gather;
    for (let left = BUDGET; left > 0;) {
      if (from.length > 0) {
        gather.clear();
        gather.add(from.block + from.start, from.length);
        const taken = this.#host.write(to.handle, gather);
        // nobody tells when the host is short of memory no more: that is asked in the next turn
        if (taken === "again") return "more";
        if (typeof taken === "string") return "broken";
        from.start += taken;
        from.length -= taken;
        left -= taken;
        // the socket is full, and tells when it is not
        if (from.length > 0) return "waits";
      }
      if (from.ended && !to.shut) {
        to.shut = true;
        this.#host.shutdownWrite(to.handle);
      }
      if (from.ended || !from.readable) return "waits";
      gather.clear();
      gather.add(from.block, this.#pool.blockSize);
      const got = this.#host.read(from.handle, gather);
      if (got === "again") from.readable = false;
      else if (typeof got === "string") return "broken";
      else if (got === 0) from.ended = true;
      else {
        from.start = 0;
        from.length = got;
      }
    }
    return "more";
  }

  /** Closes both ends, as the network goes down. */
  close(): void {
    if (this.#over) return;
    for (const { handle } of this.#ends) this.#host.close(handle);
    this.#end();
  }

  #end(): void {
    this.#over = true;
    for (const { block } of this.#ends) this.#pool.give(block);
    this.#onOver();
  }
}
