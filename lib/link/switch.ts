/**
 * A learning switch (IEEE 802.1D) between the guests' ports and what leads out of the network: the gateway of a user-mode
 * network, or the port of a vmnet network's uplink. Known unicast goes to one port; broadcast,
 * multicast and unknown unicast go to all others. The table (Fdb) is bounded and ages.
 */
import { isGroupMac } from "../addr/mac.ts";
import { destinationMac, ETHERNET_HEADER_LENGTH, sourceMac } from "../wire/ethernet.ts";
import type { Counters } from "../trace/counters.ts";
import type { BridgePort } from "./bridge-port.ts";

/** IEEE 802.1D table 7-5 */
const AGEING_MS = 300_000;
const MAX_ADDRESSES_PER_PORT = 64;

export type SwitchDrop =
  | "switch-runt"
  | "switch-group-source"
  | "switch-gateway-source"
  | "switch-pinned-source"
  | "switch-table-full";

/** The router's own attachment. */
export interface GatewayPort {
  /** a frame for the gateway's address or for all, in packet memory */
  onFrame(now: number, ingress: BridgePort, start: number, end: number): void;
}

/** Sees every frame that enters the switch, from guests and gateway; pieces as in BridgePort.transmit. */
export type FrameObserver = (
  head: number,
  headLength: number,
  body1: number,
  length1: number,
  body2: number,
  length2: number,
) => void;

interface FdbEntry {
  port: BridgePort;
  /** Infinity: pinned */
  seenAt: number;
}

interface Learned {
  count: number;
  most: number;
}

export class Switch {
  readonly #octets: Uint8Array;
  readonly #counters: Counters;
  readonly #ports: BridgePort[] = [];
  readonly #fdb = new Map<number, FdbEntry>();
  readonly #learned = new Map<BridgePort, Learned>();
  #gateway: GatewayPort | undefined;
  #gatewayMac = -1;
  observer: FrameObserver | undefined;

  constructor(octets: Uint8Array, counters: Counters) {
    this.#octets = octets;
    this.#counters = counters;
  }

  connectGateway(gateway: GatewayPort, mac: number): void {
    this.#gateway = gateway;
    this.#gatewayMac = mac;
  }

  /** `most`: addresses that are known behind the port at a time */
  attach(port: BridgePort, most = MAX_ADDRESSES_PER_PORT): void {
    this.#ports.push(port);
    this.#learned.set(port, { count: 0, most });
  }

  /** An address is behind this port for as long as the port is attached, whoever else says that it is theirs. */
  pin(mac: number, port: BridgePort): void {
    const entry = this.#fdb.get(mac);
    if (entry !== undefined) this.#forget(mac, entry);
    this.#fdb.set(mac, { port, seenAt: Infinity });
    this.#learned.get(port)!.count++;
  }

  detach(port: BridgePort): void {
    const at = this.#ports.indexOf(port);
    if (at >= 0) this.#ports.splice(at, 1);
    for (const [mac, entry] of this.#fdb) if (entry.port === port) this.#fdb.delete(mac);
    this.#learned.delete(port);
  }

  get ports(): readonly BridgePort[] {
    return this.#ports;
  }

  /** MAC → port */
  *addresses(): IterableIterator<[number, BridgePort]> {
    for (const [mac, entry] of this.#fdb) yield [mac, entry.port];
  }

  /** the port behind which a MAC was seen */
  portOf(mac: number): BridgePort | undefined {
    return this.#fdb.get(mac)?.port;
  }

  /** A frame of a port, in packet memory with FRAME_HEADROOM free octets in front. */
  onFrame(now: number, ingress: BridgePort, start: number, end: number): void {
    this.onPieces(now, ingress, start, end - start, 0, 0);
  }

  /** The same for a frame whose end is elsewhere; the gateway gets none of those. */
  onPieces(
    now: number,
    ingress: BridgePort,
    head: number,
    headLength: number,
    body: number,
    length: number,
  ): void {
    this.observer?.(head, headLength, body, length, 0, 0);
    if (headLength < ETHERNET_HEADER_LENGTH) {
      this.#counters.count("switch-runt" satisfies SwitchDrop);
      return;
    }
    if (!this.#learn(now, ingress, sourceMac(this.#octets, head))) return;
    const destination = destinationMac(this.#octets, head);
    if (destination === this.#gatewayMac) {
      this.#gateway?.onFrame(now, ingress, head, head + headLength);
      return;
    }
    if (isGroupMac(destination)) {
      this.#flood(ingress, head, headLength, body, length);
      this.#gateway?.onFrame(now, ingress, head, head + headLength);
      return;
    }
    const egress = this.#fdb.get(destination)?.port;
    if (egress === undefined) this.#flood(ingress, head, headLength, body, length);
    else if (egress !== ingress) egress.transmit(head, headLength, body, length, 0, 0);
  }

  /** A frame of the gateway; pieces as in BridgePort.transmit. */
  fromGateway(
    destination: number,
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): void {
    this.observer?.(head, headLength, body1, length1, body2, length2);
    const egress = this.#fdb.get(destination)?.port;
    if (egress !== undefined) {
      egress.transmit(head, headLength, body1, length1, body2, length2);
      return;
    }
    for (const port of this.#ports) port.transmit(head, headLength, body1, length1, body2, length2);
  }

  #flood(
    ingress: BridgePort,
    head: number,
    headLength: number,
    body: number,
    length: number,
  ): void {
    for (const port of this.#ports)
      if (port !== ingress) port.transmit(head, headLength, body, length, 0, 0);
  }

  /** False: the frame is to be dropped. */
  #learn(now: number, port: BridgePort, mac: number): boolean {
    const entry = this.#fdb.get(mac);
    if (entry !== undefined && entry.port === port) {
      if (entry.seenAt !== Infinity) entry.seenAt = now;
      return true;
    }
    if (isGroupMac(mac)) {
      this.#counters.count("switch-group-source" satisfies SwitchDrop);
      return false;
    }
    if (mac === this.#gatewayMac) {
      this.#counters.count("switch-gateway-source" satisfies SwitchDrop);
      return false;
    }
    if (entry !== undefined) {
      if (entry.seenAt === Infinity) {
        this.#counters.count("switch-pinned-source" satisfies SwitchDrop);
        return false;
      }
      this.#forget(mac, entry);
    }
    const learned = this.#learned.get(port)!;
    if (learned.count >= learned.most) {
      this.#age(now);
      if (learned.count >= learned.most) {
        // the frame is still carried; its source is reached by flooding
        this.#counters.count("switch-table-full" satisfies SwitchDrop);
        return true;
      }
    }
    this.#fdb.set(mac, { port, seenAt: now });
    learned.count++;
    return true;
  }

  #age(now: number): void {
    for (const [mac, entry] of this.#fdb)
      if (now - entry.seenAt > AGEING_MS) this.#forget(mac, entry);
  }

  #forget(mac: number, entry: FdbEntry): void {
    this.#fdb.delete(mac);
    this.#learned.get(entry.port)!.count--;
  }
}
