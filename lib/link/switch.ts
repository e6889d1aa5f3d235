/**
 * A learning switch (IEEE 802.1D) between the guests' ports and what leads out of the network: the gateway of a user-mode
 * network, or the port of a vmnet network's uplink. Known unicast goes to one port; broadcast,
 * multicast and unknown unicast go to all others. The table (Fdb) is bounded and ages.
 *
 * Other than 802.1D has it, an address does not move to whoever uses it: it is behind the guest's port that used it first
 * for as long as that port is attached and has room for it. Two exceptions: a guest's first frame shows the address of its
 * card, which no other guest keeps that has taken it up beside its own; and what is behind an uplink moves when it has been
 * silent for the ageing time, or when a guest's card has that address.
 */
import { formatMac, isGroupMac } from "../addr/mac.ts";
import { destinationMac, ETHERNET_HEADER_LENGTH, sourceMac } from "../wire/ethernet.ts";
import type { Counters } from "../trace/counters.ts";
import { BackPressure } from "./back-pressure.ts";
import type { BridgePort } from "./bridge-port.ts";
import { Offences } from "./offences.ts";

/** IEEE 802.1D table 7-5 */
const AGEING_MS = 300_000;
const MAX_ADDRESSES_PER_PORT = 64;
/** behind the uplink of a bridged network is the whole local network */
const UPLINK_ADDRESSES = 4096;
/** an IP packet behind an Ethernet header and two tags. A QEMU that gets more than 69,632 octets ends its connection (net_fill_rstate) */
const LARGEST_FRAME = 65_535 + ETHERNET_HEADER_LENGTH + 8;
/** an owner of an address is asked no more often whether it is still there */
const ASK_MS = 1000;

export type SwitchDrop =
  | "switch-runt"
  | "switch-giant"
  | "switch-group-source"
  | "switch-gateway-source"
  | "switch-pinned-source"
  | "switch-foreign-source"
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

/** Judges a guest's frame before it is carried, whose source address is that guest's. */
export interface FrameGuard {
  /** false: it is to be dropped, and has been counted */
  admits(now: number, ingress: BridgePort, start: number, end: number): boolean;
}

/** what a port leads to */
export type PortKind = "guest" | "uplink";

interface FdbEntry {
  port: BridgePort;
  /** Infinity: pinned */
  seenAt: number;
  /** the address of the port's first frame */
  isCard: boolean;
}

interface Learned {
  kind: PortKind;
  count: number;
  most: number;
  /** it has sent a frame */
  hasCard: boolean;
  askedAt: number;
}

export class Switch {
  readonly #octets: Uint8Array;
  readonly #counters: Counters;
  readonly #ports: BridgePort[] = [];
  readonly #fdb = new Map<number, FdbEntry>();
  readonly #learned = new Map<BridgePort, Learned>();
  readonly #backPressure = new BackPressure();
  #gateway: GatewayPort | undefined;
  #gatewayMac = -1;
  observer: FrameObserver | undefined;
  guard: FrameGuard | undefined;
  /** guests reach the uplink, and not each other */
  isIsolated = false;
  readonly offences: Offences;

  constructor(octets: Uint8Array, counters: Counters) {
    this.#octets = octets;
    this.#counters = counters;
    this.offences = new Offences(counters);
  }

  connectGateway(gateway: GatewayPort, mac: number): void {
    this.#gateway = gateway;
    this.#gatewayMac = mac;
  }

  attach(port: BridgePort, kind: PortKind = "guest"): void {
    this.#ports.push(port);
    const most = kind === "uplink" ? UPLINK_ADDRESSES : MAX_ADDRESSES_PER_PORT;
    this.#learned.set(port, { kind, count: 0, most, hasCard: false, askedAt: -Infinity });
  }

  /** An address is behind this port for as long as the port is attached, whoever else says that it is theirs. */
  pin(mac: number, port: BridgePort): void {
    const entry = this.#fdb.get(mac);
    if (entry !== undefined) this.#forget(mac, entry);
    this.#fdb.set(mac, { port, seenAt: Infinity, isCard: false });
    this.#learned.get(port)!.count++;
  }

  detach(port: BridgePort): void {
    const at = this.#ports.indexOf(port);
    if (at >= 0) this.#ports.splice(at, 1);
    for (const [mac, entry] of this.#fdb) if (entry.port === port) this.#fdb.delete(mac);
    for (const other of this.#ports) if (other.towards === port) other.towards = undefined;
    this.#backPressure.forget(port);
    this.#learned.delete(port);
    this.offences.forget(port);
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
    if (headLength + length > LARGEST_FRAME) {
      this.#counters.count("switch-giant" satisfies SwitchDrop);
      return;
    }
    if (!this.#learn(now, ingress, sourceMac(this.#octets, head), head)) return;
    // what comes in two places is an uplink's, of which the guard says nothing, or has been cut from a TCP segment, of which it
    // reads the headers
    if (this.guard?.admits(now, ingress, head, head + headLength) === false) return;
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
    else if (egress !== ingress && this.#connects(ingress, egress)) {
      ingress.towards = egress;
      egress.transmit(head, headLength, body, length, 0, 0);
    }
  }

  /** Until when a port is not to be read, as the guest to which it sends takes no frames just now; 0: it may be read. */
  heldUntil(now: number, ingress: BridgePort): number {
    return this.#backPressure.heldUntil(now, ingress.towards);
  }

  #connects(ingress: BridgePort, egress: BridgePort): boolean {
    return !this.isIsolated || this.#isUplink(ingress) || this.#isUplink(egress);
  }

  #isUplink(port: BridgePort): boolean {
    return this.#learned.get(port)!.kind === "uplink";
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
      if (port !== ingress && this.#connects(ingress, port))
        port.transmit(head, headLength, body, length, 0, 0);
  }

  /** False: the frame is to be dropped. */
  #learn(now: number, port: BridgePort, mac: number, start: number): boolean {
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
      this.#refuse(now, port, "switch-gateway-source", mac);
      return false;
    }
    const learned = this.#learned.get(port)!;
    const isCard = learned.kind === "guest" && !learned.hasCard;
    if (entry !== undefined) {
      if (entry.seenAt === Infinity) {
        this.#refuse(now, port, "switch-pinned-source", mac);
        return false;
      }
      if (!this.#gives(now, entry, isCard)) {
        this.#refuse(now, port, "switch-foreign-source", mac);
        this.#askForSign(now, entry.port, start);
        return false;
      }
      this.#forget(mac, entry);
    }
    if (learned.count >= learned.most) {
      this.#age(now, port);
      if (learned.count >= learned.most) {
        // the frame is still carried; its source is reached by flooding
        this.#counters.count("switch-table-full" satisfies SwitchDrop);
        return true;
      }
    }
    learned.hasCard = true;
    this.#fdb.set(mac, { port, seenAt: now, isCard });
    learned.count++;
    return true;
  }

  /** may another port have the address from now on? */
  #gives(now: number, { port, seenAt, isCard }: FdbEntry, toCard: boolean): boolean {
    if (toCard && !isCard) return true;
    return this.#learned.get(port)!.kind === "uplink" && now - seenAt > AGEING_MS;
  }

  #refuse(now: number, port: BridgePort, rule: SwitchDrop, mac: number): void {
    this.offences.report(now, port, rule, mac, formatMac);
  }

  /**
   * The address that one guest uses is another's: perhaps a machine that was started anew, and the old port is of a kind that
   * is found dead only when something is sent to it. A header with nothing behind it says nothing to whoever lives.
   */
  #askForSign(now: number, owner: BridgePort, start: number): void {
    const learned = this.#learned.get(owner)!;
    if (now - learned.askedAt < ASK_MS) return;
    learned.askedAt = now;
    owner.transmit(start, ETHERNET_HEADER_LENGTH, 0, 0, 0, 0);
  }

  /** Forgets what has been silent for long behind a port that needs the room. */
  #age(now: number, port: BridgePort): void {
    for (const [mac, entry] of this.#fdb)
      if (entry.port === port && now - entry.seenAt > AGEING_MS) this.#forget(mac, entry);
  }

  #forget(mac: number, entry: FdbEntry): void {
    this.#fdb.delete(mac);
    this.#learned.get(entry.port)!.count--;
  }
}
