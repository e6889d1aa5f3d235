/**
 * A guest that sends to another one faster than that takes frames is not read for a while: what it has to send stays with it
 * and is not lost, as between switches that tell each other to pause (IEEE 802.3, annex 31B). But nobody's frames to others
 * wait for a guest that stands still: one that has taken nothing for PATIENCE_MS loses frames until it takes some.
 */
import type { BridgePort } from "./bridge-port.ts";

const PATIENCE_MS = 10;

export class BackPressure {
  /** ports that were found busy, and since when they are */
  readonly #busySince = new Map<BridgePort, number>();

  /** Until when a port whose frames go to `egress` is not to be read; 0: it may be read now. */
  heldUntil(now: number, egress: BridgePort | undefined): number {
    if (egress === undefined) return 0;
    if (!egress.busy) {
      if (this.#busySince.size > 0) this.#busySince.delete(egress);
      return 0;
    }
    let since = this.#busySince.get(egress);
    if (since === undefined) {
      since = now;
      this.#busySince.set(egress, now);
    }
    return since + PATIENCE_MS > now ? since + PATIENCE_MS : 0;
  }

  forget(egress: BridgePort): void {
    this.#busySince.delete(egress);
  }
}
