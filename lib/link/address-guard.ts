/**
 * Port security of a network whose DHCP is ours: whose an IPv4 address of the subnet is, and who may send in its name.
 *
 *   the gateway's addresses       nobody's
 *   a leased address              the port's behind which the lease's hardware address is, while it is attached
 *   any other                     the port's that used it first, so that what a user sets in a guest by hand works;
 *                                 it goes to another port when that one is detached, or when that one is asked for the
 *                                 address three times and does not answer (a service's address moves so between guests)
 *
 * Addresses outside of the subnet (networks inside of guests) are nobody's and are carried between guests; the gateway
 * takes none of them. What only the network may say (rogue.ts) is not carried at all.
 */
import { formatIpv4 } from "../addr/ipv4.ts";
import { formatMac } from "../addr/mac.ts";
import { arpSha, arpSpa, checkArp, type ArpDrop } from "../wire/arp.ts";
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, sourceMac } from "../wire/ethernet.ts";
import { IPV4_HEADER_LENGTH } from "../wire/ipv4.ts";
import { u16, u32 } from "../wire/octets.ts";
import type { BridgePort } from "./bridge-port.ts";
import { rogueDrop, typeOffset, type RogueDrop } from "./rogue.ts";
import type { FrameGuard, Switch } from "./switch.ts";

const MAX_ADDRESSES_PER_PORT = 64;
/** an address that was not used for so long makes room for another of the same port */
const SILENT_MS = 300_000;
const ASKS = 3;
const ANSWER_MS = 500;
const IPV4_SOURCE = 12;

export type GuardDrop =
  | "guard-foreign-address"
  | "guard-gateway-address"
  | "guard-hardware-address"
  | "guard-too-many-addresses"
  | ArpDrop
  | RogueDrop;

export interface AddressPlan {
  /** a guest may have it */
  isOfSubnet(address: number): boolean;
  /** it is the gateway's, or means the network as a whole */
  isReserved(address: number): boolean;
  /** hardware address of the lease in force; undefined: the address is not leased */
  leasedTo(address: number): number | undefined;
  /** Sends an ARP request for the address, which is now the port's. */
  ask(now: number, address: number, holder: BridgePort): void;
}

interface Holder {
  port: BridgePort;
  usedAt: number;
  /** times that it was asked for in vain */
  asks: number;
  askedAt: number;
}

export class AddressGuard implements FrameGuard {
  readonly #octets: Uint8Array;
  readonly #link: Switch;
  readonly #plan: AddressPlan;
  readonly #holders = new Map<number, Holder>();
  readonly #counts = new Map<BridgePort, number>();

  constructor(octets: Uint8Array, link: Switch, plan: AddressPlan) {
    this.#octets = octets;
    this.#link = link;
    this.#plan = plan;
  }

  /** A guest other than the one at this port uses the address. */
  isHeldByOther(address: number, port: number): boolean {
    const holder = this.#holders.get(address);
    return holder !== undefined && holder.port.id !== port;
  }

  detach(port: BridgePort): void {
    for (const [address, holder] of this.#holders)
      if (holder.port === port) this.#holders.delete(address);
    this.#counts.delete(port);
  }

  admits(now: number, ingress: BridgePort, start: number, end: number): boolean {
    const octets = this.#octets;
    const typeAt = typeOffset(octets, start, end);
    if (typeAt === -1) return true;
    const source = sourceMac(octets, start);
    if (typeAt === "tag-depth") return this.#refuse(now, ingress, typeAt, source);
    const type = u16(octets, typeAt);
    const packet = typeAt + 2;
    if (type === ETHERTYPE_ARP) return this.#admitsArp(now, ingress, source, packet, end);
    const rogue = rogueDrop(type, octets, packet, end);
    if (rogue !== undefined) return this.#refuse(now, ingress, rogue, source);
    // who sends less than a header has no address
    if (type !== ETHERTYPE_IPV4 || end - packet < IPV4_HEADER_LENGTH) return true;
    return this.#admitsAddress(now, ingress, u32(octets, packet + IPV4_SOURCE));
  }

  #admitsArp(
    now: number,
    ingress: BridgePort,
    source: number,
    packet: number,
    end: number,
  ): boolean {
    const octets = this.#octets;
    const drop = checkArp(octets, packet, end);
    if (drop !== undefined) return this.#refuse(now, ingress, drop, source);
    const sha = arpSha(octets, packet);
    if (sha !== source && this.#link.portOf(sha) !== ingress)
      return this.#refuse(now, ingress, "guard-hardware-address", sha);
    const spa = arpSpa(octets, packet);
    // RFC 5227 1.1: a probe has no sender's address
    return spa === 0 || this.#admitsAddress(now, ingress, spa);
  }

  #admitsAddress(now: number, ingress: BridgePort, address: number): boolean {
    const holder = this.#holders.get(address);
    if (holder?.port === ingress) {
      holder.usedAt = now;
      holder.asks = 0;
      return true;
    }
    if (this.#plan.isReserved(address))
      return this.#refuseAddress(now, ingress, "guard-gateway-address", address);
    if (!this.#plan.isOfSubnet(address)) return true;
    const card = this.#plan.leasedTo(address);
    const owner = card === undefined ? undefined : this.#link.portOf(card);
    const mayHaveIt =
      owner === undefined
        ? holder === undefined || this.#isGivenUp(now, holder, address)
        : owner === ingress;
    if (!mayHaveIt) return this.#refuseAddress(now, ingress, "guard-foreign-address", address);
    return this.#take(now, ingress, address, holder);
  }

  #take(now: number, port: BridgePort, address: number, before: Holder | undefined): boolean {
    if (this.#countOf(port) >= MAX_ADDRESSES_PER_PORT) {
      this.#makeRoom(now, port);
      if (this.#countOf(port) >= MAX_ADDRESSES_PER_PORT)
        return this.#refuseAddress(now, port, "guard-too-many-addresses", address);
    }
    if (before !== undefined) this.#counts.set(before.port, this.#countOf(before.port) - 1);
    this.#holders.set(address, { port, usedAt: now, asks: 0, askedAt: 0 });
    this.#counts.set(port, this.#countOf(port) + 1);
    return true;
  }

  #countOf(port: BridgePort): number {
    return this.#counts.get(port) ?? 0;
  }

  #makeRoom(now: number, port: BridgePort): void {
    for (const [address, holder] of this.#holders) {
      if (holder.port !== port || now - holder.usedAt <= SILENT_MS) continue;
      this.#holders.delete(address);
      this.#counts.set(port, this.#countOf(port) - 1);
    }
  }

  /** Somebody else wants the address: its holder is asked, and keeps it with any sign of life in the address's name. */
  #isGivenUp(now: number, holder: Holder, address: number): boolean {
    // a holder that is flooded may have lost the question
    if (holder.port.busy) return false;
    if (holder.asks > 0 && now - holder.askedAt < ANSWER_MS) return false;
    if (holder.asks === ASKS) return true;
    holder.asks++;
    holder.askedAt = now;
    this.#plan.ask(now, address, holder.port);
    return false;
  }

  #refuse(now: number, port: BridgePort, rule: GuardDrop, mac: number): false {
    this.#link.offences.report(now, port, rule, mac, formatMac);
    return false;
  }

  #refuseAddress(now: number, port: BridgePort, rule: GuardDrop, address: number): false {
    this.#link.offences.report(now, port, rule, address, formatIpv4);
    return false;
  }
}
