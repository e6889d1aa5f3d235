/**
 * The host's end of a vmnet network as a port of its switch: the native library's rings (`shim.ts`). A received frame is
 * switched where it lies in the ring; frames to the host are copied into the other ring and handed over once a turn. Where
 * both ends can, the host's large segments are cut here and the guests' are joined (`lib/link/segmentation.ts`,
 * `coalescing.ts`): the host then does for 45 frames what it did for one.
 */
import type { BridgePort } from "../link/bridge-port.ts";
import { Coalescer } from "../link/coalescing.ts";
import { Segmenter } from "../link/segmentation.ts";
import { emitPlainHeader, VIRTIO_HEADER_LENGTH } from "../link/virtio-header.ts";
import type { Scratch } from "../storage/scratch.ts";
import type { Counters } from "../trace/counters.ts";
import type { SumOctets } from "../wire/checksum.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import { libc } from "./libc.ts";
import { pinned } from "./pinned.ts";
import { READABLE } from "./poller.ts";
import type { PiecesOwner, PortOwner } from "./port-owner.ts";
import type { ShimInterface } from "./shim.ts";
import { shimFailure } from "./shim-failure.ts";

/** records taken before the ports are flushed, so that one write carries many and the ring's room comes back soon */
const BATCH = 128;
/** an eventfd's count, or what has gathered in a pipe */
const RUNG = 64;
const RUNG_AT = pinned(new Uint8Array(RUNG));

export interface UplinkOwner extends PortOwner, PiecesOwner {}

export class UplinkPort implements BridgePort, EventHandler {
  readonly id = -1;
  towards: BridgePort | undefined;
  /** those who send to the host cannot wait */
  readonly busy = false;
  readonly #shim: ShimInterface;
  readonly #octets: Uint8Array;
  readonly #owner: UplinkOwner;
  readonly #counters: Counters;
  readonly #segmenter: Segmenter;
  readonly #coalescer: Coalescer;
  /** records begin with a virtio header */
  readonly #offload: boolean;
  #listed = false;
  /** the time of the batch that is being received */
  #now = 0;

  constructor(
    shim: ShimInterface,
    octets: Uint8Array,
    sum: SumOctets,
    scratch: Scratch,
    counters: Counters,
    owner: UplinkOwner,
  ) {
    this.#shim = shim;
    this.#octets = octets;
    this.#owner = owner;
    this.#counters = counters;
    this.#segmenter = new Segmenter(octets, sum, scratch);
    this.#coalescer = new Coalescer(octets, sum, (length, frames) => this.#put(length, frames));
    this.#offload = Number(shim.facts.get("header")) === VIRTIO_HEADER_LENGTH;
  }

  watch(loop: EventLoop): void {
    loop.add(this.#shim.bell, READABLE, this);
    this.#owner.receiveLater(this);
  }

  onEvents(): void {
    libc.read(this.#shim.bell, RUNG_AT, RUNG);
    this.receive();
  }

  /** One batch; the bell rings for more only when all has been taken. */
  receive(): void {
    const { receive } = this.#shim;
    this.#now = this.#owner.now();
    const count = receive.take(BATCH, this.#onRecord);
    this.#owner.settle();
    receive.release();
    if (receive.status !== 0)
      this.#owner.detach(this, `the host's interface has gone: ${shimFailure(receive.status)}`);
    else if (count === BATCH || !receive.arm()) this.#owner.receiveLater(this);
  }

  // made once, as none is made for a packet
  readonly #onRecord = (start: number, end: number): void => {
    if (!this.#offload) {
      this.#owner.onFrame(this.#now, this, start, end);
      return;
    }
    const drop = this.#segmenter.onRecord(start, end, this.#onCut);
    if (drop !== undefined) this.#counters.count(drop);
  };

  readonly #onCut = (head: number, headLength: number, body: number, length: number): void =>
    this.#owner.onPieces(this.#now, this, head, headLength, body, length);

  transmit(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): boolean {
    if (!this.#listed) {
      this.#listed = true;
      this.#owner.flushLater(this);
    }
    if (this.#offload && length1 === 0) {
      this.#coalescer.add(head, head + headLength);
      return true;
    }
    const header = this.#offload ? VIRTIO_HEADER_LENGTH : 0;
    const place = this.#put(header + headLength + length1 + length2, 1);
    if (place === 0) return false;
    const at = this.#offload ? emitPlainHeader(this.#octets, place) : place;
    this.#octets.copyWithin(at, head, head + headLength);
    if (length1 > 0) this.#octets.copyWithin(at + headLength, body1, body1 + length1);
    if (length2 > 0) this.#octets.copyWithin(at + headLength + length1, body2, body2 + length2);
    return true;
  }

  /** A place in the ring, which is emptied for it if need be; 0: there is none, and so many frames are lost. */
  #put(length: number, frames: number): number {
    const { transmit } = this.#shim;
    let at = transmit.put(length);
    if (at === 0) {
      this.#shim.flush();
      at = transmit.put(length);
      if (at === 0) this.#counters.count("uplink-no-room", frames);
    }
    return at;
  }

  flush(): void {
    this.#listed = false;
    if (this.#offload) this.#coalescer.flush();
    this.#shim.flush();
  }

  stats(): Record<string, number> {
    return this.#shim.stats();
  }

  /** Ends the interface, which must not be watched any more. */
  stop(loop: EventLoop): void {
    loop.remove(this.#shim.bell);
    this.#shim.stop();
  }
}
