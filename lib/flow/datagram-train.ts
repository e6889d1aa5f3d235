/**
 * Datagrams of one conversation that come one after the other in one turn and are of one length, the last of them perhaps
 * shorter: the host's system takes them in one call (udp(7), UDP_SEGMENT).
 */
import { Gather } from "../storage/gather.ts";

/** UDP_MAX_SEGMENTS of Linux before 6.9 */
const MOST = 64;
/** octets of all of them: they pass the host's loopback as one packet (RFC 768) */
const MOST_OCTETS = 65535 - 20 - 8;

export class DatagramTrain<Flow> {
  /** a piece for each: its own headers are in front of it, so no two touch */
  readonly payloads = new Gather(MOST);
  /** where the packet of each begins */
  readonly packets = new Int32Array(MOST);
  flow: Flow | undefined;
  ttl = 0;
  /** of each but the last */
  length = 0;
  #isEnded = false;

  /** Adds a datagram of at least one octet; false: it does not go with those that are there, if there are any. */
  add(flow: Flow, ttl: number, packet: number, start: number, length: number): boolean {
    const { payloads } = this;
    if (payloads.count === 0) {
      this.flow = flow;
      this.ttl = ttl;
      this.length = length;
      this.#isEnded = false;
    } else if (
      this.#isEnded ||
      flow !== this.flow ||
      ttl !== this.ttl ||
      length > this.length ||
      payloads.room === 0 ||
      payloads.octets + length > MOST_OCTETS
    ) {
      return false;
    }
    this.packets[payloads.count] = packet;
    this.#isEnded = length < this.length;
    return payloads.add(start, length);
  }

  clear(): void {
    this.flow = undefined;
    this.payloads.clear();
  }
}
