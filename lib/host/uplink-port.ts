/**
 * The host's end of a vmnet network as a port of its switch: the native library's rings (`shim.ts`). A received frame is
 * switched where it lies in the ring; frames to the host are copied into the other ring and handed over once a turn.
 */
import type { BridgePort } from "../link/bridge-port.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import { errnoName, libc } from "./libc.ts";
import { pinned } from "./pinned.ts";
import { READABLE } from "./poller.ts";
import type { PortOwner } from "./port-owner.ts";
import type { ShimInterface } from "./shim.ts";

/** frames taken before the ports are flushed, so that one write carries many and the ring's room comes back soon */
const BATCH = 128;
const COUNTED_AT = pinned(new Uint8Array(8));

export class UplinkPort implements BridgePort, EventHandler {
  readonly id = -1;
  /** those who send to the host cannot wait */
  readonly busy = false;
  readonly #shim: ShimInterface;
  readonly #octets: Uint8Array;
  readonly #owner: PortOwner;
  #listed = false;
  #dropped = 0;

  constructor(shim: ShimInterface, octets: Uint8Array, owner: PortOwner) {
    this.#shim = shim;
    this.#octets = octets;
    this.#owner = owner;
  }

  watch(loop: EventLoop): void {
    loop.add(this.#shim.bell, READABLE, this);
    this.#owner.receiveLater(this);
  }

  onEvents(): void {
    libc.read(this.#shim.bell, COUNTED_AT as never, 8);
    this.receive();
  }

  /** One batch; the bell rings for more only when all has been taken. */
  receive(): void {
    const { receive } = this.#shim;
    const now = this.#owner.now();
    const count = receive.take(BATCH, (start, end) => this.#owner.onFrame(now, this, start, end));
    this.#owner.settle();
    receive.release();
    if (receive.status !== 0)
      this.#owner.detach(this, `the host's interface has gone: ${errnoName(receive.status)}`);
    else if (count === BATCH || !receive.arm()) this.#owner.receiveLater(this);
  }

  transmit(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): boolean {
    const { transmit } = this.#shim;
    const length = headLength + length1 + length2;
    let at = transmit.put(length);
    if (at === 0) {
      this.#shim.flush();
      at = transmit.put(length);
      if (at === 0) {
        this.#dropped++;
        return false;
      }
    }
    this.#octets.copyWithin(at, head, head + headLength);
    if (length1 > 0) this.#octets.copyWithin(at + headLength, body1, body1 + length1);
    if (length2 > 0) this.#octets.copyWithin(at + headLength + length1, body2, body2 + length2);
    if (!this.#listed) {
      this.#listed = true;
      this.#owner.flushLater(this);
    }
    return true;
  }

  flush(): void {
    this.#listed = false;
    this.#shim.flush();
  }

  stats(): Record<string, number> {
    return { ...this.#shim.stats(), noRoom: this.#dropped };
  }

  /** Ends the interface, which must not be watched any more. */
  stop(loop: EventLoop): void {
    loop.remove(this.#shim.bell);
    this.#shim.stop();
  }
}
