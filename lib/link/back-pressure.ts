/**
 * A guest that sends to another one faster than that takes frames is not read for a while: what it has to send stays with it
 * and is not lost, as between switches that tell each other to pause (IEEE 802.3, annex 31B). But nobody's frames to others
 * wait for a guest that stands still, or takes little: what is for one that has not taken LEAST_OCTETS in a stretch of
 * STRETCH_MS, about 100 Mbit/s, is lost in the next.
 */
import type { BridgePort } from "./bridge-port.ts";

const STRETCH_MS = 10;
const LEAST_OCTETS = 128 * 1024;

interface Watch {
  /** of this stretch */
  beganAt: number;
  octets: number;
  /** others wait for it in this stretch */
  isQuick: boolean;
}

export class BackPressure {
  /** ports that were found busy */
  readonly #watches = new Map<BridgePort, Watch>();

  /** Until when a port whose frames go to `egress` is not to be read; 0: it may be read now. */
  heldUntil(now: number, egress: BridgePort | undefined): number {
    if (egress === undefined || !egress.busy) return 0;
    const octets = egress.octetsOut?.total ?? 0;
    let watch = this.#watches.get(egress);
    if (watch === undefined) {
      watch = { beganAt: now, octets, isQuick: true };
      this.#watches.set(egress, watch);
    }
    const stretches = (now - watch.beganAt) / STRETCH_MS;
    if (stretches >= 1) {
      const taken = octets - watch.octets;
      // after a time in which nobody had much for it, it need only have moved
      watch.isQuick = stretches >= 2 ? taken > 0 : taken >= LEAST_OCTETS;
      watch.beganAt = now;
      watch.octets = octets;
    }
    return watch.isQuick ? watch.beganAt + STRETCH_MS : 0;
  }

  forget(egress: BridgePort): void {
    this.#watches.delete(egress);
  }
}
