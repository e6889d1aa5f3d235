/**
 * The router's side of the link: answers ARP, takes IPv4 packets in (checks, reassembly, demultiplexing) and sends
 * them out (neighbour lookup, fragmentation). What the payloads mean is for the handlers to know.
 *
 * In: frame → ARP | IPv4 → whole datagram → TCP, UDP, ICMP handler.
 * Out: a handler asks `open` for room for its header (lower headers fit in front), writes it and calls `send`.
 */
import {
  cidrContains,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isReserved,
  LIMITED_BROADCAST,
  type Cidr,
} from "../addr/ipv4.ts";
import { BROADCAST_MAC, isGroupMac } from "../addr/mac.ts";
import { FRAME_HEADROOM, type BridgePort } from "../link/bridge-port.ts";
import { type OnCutFrame, SegmentCutter } from "../link/segment-cutter.ts";
import type { GatewayPort, Switch } from "../link/switch.ts";
import type { Scratch } from "../storage/scratch.ts";
import type { Counters } from "../trace/counters.ts";
import {
  ARP_LENGTH,
  ARP_REPLY,
  ARP_REQUEST,
  arpOperation,
  arpSha,
  arpSpa,
  arpTpa,
  checkArp,
  emitArp,
} from "../wire/arp.ts";
import type { SumOctets } from "../wire/checksum.ts";
import {
  destinationMac,
  emitEthernet,
  ETHERNET_HEADER_LENGTH,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  etherType,
  sourceMac,
} from "../wire/ethernet.ts";
import {
  checkIcmp,
  DESTINATION_UNREACHABLE,
  ECHO_REPLY,
  ECHO_REQUEST,
  emitIcmp,
  ICMP_HEADER_LENGTH,
  icmpRest,
  icmpType,
  TIME_EXCEEDED,
} from "../wire/icmpv4.ts";
import {
  DONT_FRAGMENT,
  emitIpv4,
  IPV4_HEADER_LENGTH,
  Ipv4View,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  type Ipv4Repr,
} from "../wire/ipv4.ts";
import { u16 } from "../wire/octets.ts";
import type { Reassembler } from "./reassembly.ts";
import { Pace, RightOfWay } from "./right-of-way.ts";

export interface GatewayPlan {
  subnet: Cidr;
  /** the router's own address; further addresses it answers for */
  address: number;
  aliases: readonly number[];
  mac: number;
  mtu: number;
  /** 169.254.0.0/16, where cloud metadata services of the host are, is reached from guests */
  linkLocalAccess: boolean;
}

/** Where whole datagrams go; the view is valid during the call only. */
export interface DatagramHandler {
  onDatagram(now: number, packet: Ipv4View, ingress: BridgePort, sourceMac: number): void;
}

export interface GatewayHandlers {
  tcp: DatagramHandler;
  udp: DatagramHandler;
  /** echo requests to addresses beyond the gateway */
  echo: DatagramHandler;
  /** a guest's address has just become known, or has moved */
  onNeighbor(now: number, address: number): void;
}

export type GatewayDrop =
  | "ethertype"
  | "ipv4-protocol"
  | "martian-source"
  | "martian-destination"
  | "misdirected"
  | "no-neighbor"
  | "link-local-refused";

const TTL = 64;
/** room in front of a transport header: framing, Ethernet, IPv4 */
export const LOWER_HEADERS = FRAME_HEADROOM + ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH;
/** RFC 1812 4.3.2.3: an ICMP error quotes the header and at least 8 octets */
const QUOTE_LIMIT = 548;
const ARP_INTERVAL_MS = 500;
/** RFC 1812 4.3.2.8: ICMP errors made in one second at most */
const ICMP_ERRORS_PER_SECOND = 1000;

export class Gateway implements GatewayPort {
  readonly plan: GatewayPlan;
  readonly octets: Uint8Array;
  readonly sum: SumOctets;
  readonly scratch: Scratch;
  readonly counters: Counters;
  readonly rightOfWay = new RightOfWay();
  /** of the echo requests that end here */
  readonly #echoes = new Pace();
  readonly #link: Switch;
  readonly #reassembler: Reassembler;
  readonly #neighbors: Map<number, number>;
  readonly #own: Set<number>;
  readonly #packet = new Ipv4View();
  readonly #earlier = new Ipv4View();
  readonly #repr: Ipv4Repr = {
    src: 0,
    dst: 0,
    protocol: 0,
    ttl: TTL,
    identification: 0,
    fragment: 0,
    payloadLength: 0,
  };
  readonly #arpAskedAt = new Map<number, number>();
  readonly #cutter: SegmentCutter;
  /** one for all that is cut: a closure for each would be garbage */
  readonly #onCut: OnCutFrame;
  /** to whom what is cut now goes */
  #cutTo = BROADCAST_MAC;
  #handlers: GatewayHandlers | undefined;
  #identification = 0;
  #errorSecond = 0;
  #errorCount = 0;

  constructor(
    plan: GatewayPlan,
    octets: Uint8Array,
    sum: SumOctets,
    scratch: Scratch,
    link: Switch,
    reassembler: Reassembler,
    counters: Counters,
  ) {
    this.plan = plan;
    this.octets = octets;
    this.sum = sum;
    this.scratch = scratch;
    this.counters = counters;
    this.#link = link;
    this.#reassembler = reassembler;
    this.#neighbors = new Map();
    this.#own = new Set([plan.address, ...plan.aliases]);
    this.#cutter = new SegmentCutter(octets, sum, scratch);
    this.#onCut = (head, headLength, body1, length1, body2, length2) =>
      link.fromGateway(this.#cutTo, head, headLength, body1, length1, body2, length2);
  }

  connect(handlers: GatewayHandlers): void {
    this.#handlers = handlers;
  }

  /** the router answers for this address itself */
  isOwn(address: number): boolean {
    return this.#own.has(address);
  }

  // ---------------------------------------------------------------- in

  onFrame(now: number, ingress: BridgePort, start: number, end: number): void {
    const { octets } = this;
    const type = etherType(octets, start);
    if (type === ETHERTYPE_IPV4) this.#onIpv4(now, ingress, start, end);
    else if (type === ETHERTYPE_ARP) this.#onArp(now, start + ETHERNET_HEADER_LENGTH, end);
    else this.counters.count("ethertype" satisfies GatewayDrop);
  }

  #onArp(now: number, start: number, end: number): void {
    const { octets } = this;
    const drop = checkArp(octets, start, end);
    if (drop !== undefined) {
      this.counters.count(drop);
      return;
    }
    const spa = arpSpa(octets, start);
    const sha = arpSha(octets, start);
    if (spa !== 0 && this.#isGuestAddress(spa)) this.learnNeighbor(now, spa, sha);
    if (arpOperation(octets, start) !== ARP_REQUEST) return;
    const target = arpTpa(octets, start);
    if (this.#own.has(target)) this.#sendArp(ARP_REPLY, target, sha, spa, sha);
  }

  #sendArp(operation: number, spa: number, tha: number, tpa: number, destination: number): void {
    const { mac } = this.plan;
    const head =
      this.scratch.take(FRAME_HEADROOM + ETHERNET_HEADER_LENGTH + ARP_LENGTH) + FRAME_HEADROOM;
    const body = emitEthernet(this.octets, head, destination, mac, ETHERTYPE_ARP);
    emitArp(this.octets, body, operation, mac, spa, tha, tpa);
    this.#link.fromGateway(destination, head, ETHERNET_HEADER_LENGTH + ARP_LENGTH, 0, 0, 0, 0);
  }

  #isGuestAddress(address: number): boolean {
    const { subnet } = this.plan;
    return (
      cidrContains(subnet, address) &&
      address !== subnet.network &&
      address !== subnet.broadcast &&
      !this.#own.has(address)
    );
  }

  /** Remembers a guest's hardware address, from ARP, IPv4 traffic or its DHCP lease. */
  learnNeighbor(now: number, address: number, mac: number): void {
    if (this.#neighbors.get(address) === mac) return;
    // only guest addresses of the subnet come here, so the table is bounded by it; a cap guards wide subnets
    if (this.#neighbors.size >= 4096 && !this.#neighbors.has(address)) {
      const oldest = this.#neighbors.keys().next().value;
      if (oldest !== undefined) this.#neighbors.delete(oldest);
    }
    this.#neighbors.set(address, mac);
    this.#arpAskedAt.delete(address);
    this.#handlers?.onNeighbor(now, address);
  }

  /** Forgets the guests of some hardware addresses; their addresses. */
  forgetNeighbors(macs: ReadonlySet<number>): number[] {
    const addresses: number[] = [];
    for (const [address, mac] of this.#neighbors) if (macs.has(mac)) addresses.push(address);
    for (const address of addresses) this.#neighbors.delete(address);
    return addresses;
  }

  #onIpv4(now: number, ingress: BridgePort, frame: number, end: number): void {
    const packet = this.#packet;
    const drop = packet.read(this.octets, frame + ETHERNET_HEADER_LENGTH, end, this.sum);
    if (drop !== undefined) {
      this.counters.count(drop);
      return;
    }
    const { src, dst } = packet;
    if (src !== 0) {
      if (!this.#isGuestAddress(src)) {
        this.counters.count("martian-source" satisfies GatewayDrop);
        return;
      }
      this.learnNeighbor(now, src, sourceMac(this.octets, frame));
    }
    packet.toGroup = isGroupMac(destinationMac(this.octets, frame));
    const forUs =
      this.#own.has(dst) || dst === LIMITED_BROADCAST || dst === this.plan.subnet.broadcast;
    if (!forUs) {
      if (src === 0 || isLoopback(dst) || isReserved(dst) || isMulticast(dst)) {
        this.counters.count("martian-destination" satisfies GatewayDrop);
        return;
      }
      if (cidrContains(this.plan.subnet, dst) || packet.toGroup) {
        // guests of one subnet reach each other through the switch; RFC 1812 5.3.4: a link-layer broadcast goes no further
        this.counters.count("misdirected" satisfies GatewayDrop);
        return;
      }
    }
    if (packet.moreFragments || packet.fragmentOffset > 0) {
      const dropped = this.#reassembler.add(now, this.octets, packet, ingress.id);
      if (dropped !== undefined) this.counters.count(dropped);
      if (dropped !== undefined || packet.moreFragments) return;
    }
    if (!forUs && packet.ttl <= 1) {
      this.sendIcmpError(now, TIME_EXCEEDED, 0, 0, packet, this.plan.address);
      return;
    }
    this.#onDatagram(now, ingress, packet, sourceMac(this.octets, frame), forUs);
  }

  /** A packet of this turn once more, by where it came in. */
  earlierPacket(start: number): Ipv4View {
    const { octets } = this;
    const packet = this.#earlier;
    packet.read(octets, start, start + u16(octets, start + 2), this.sum);
    packet.toGroup = isGroupMac(destinationMac(octets, start - ETHERNET_HEADER_LENGTH));
    return packet;
  }

  #onDatagram(
    now: number,
    ingress: BridgePort,
    packet: Ipv4View,
    mac: number,
    forUs: boolean,
  ): void {
    const handlers = this.#handlers;
    if (handlers === undefined) return;
    switch (packet.protocol) {
      case PROTOCOL_TCP:
        handlers.tcp.onDatagram(now, packet, ingress, mac);
        return;
      case PROTOCOL_UDP:
        handlers.udp.onDatagram(now, packet, ingress, mac);
        return;
      case PROTOCOL_ICMP:
        this.#onIcmp(now, ingress, packet, mac, forUs);
        return;
      default:
        this.counters.count("ipv4-protocol" satisfies GatewayDrop);
        // RFC 1122 3.2.2.1: protocol unreachable
        this.sendIcmpError(now, DESTINATION_UNREACHABLE, 2, 0, packet, this.plan.address);
    }
  }

  #onIcmp(now: number, ingress: BridgePort, packet: Ipv4View, mac: number, forUs: boolean): void {
    const { octets } = this;
    const drop = checkIcmp(packet.payload, packet.end, this.sum);
    if (drop !== undefined) {
      this.counters.count(drop);
      return;
    }
    if (icmpType(octets, packet.payload) !== ECHO_REQUEST) return;
    if (!forUs) {
      this.#handlers?.echo.onDatagram(now, packet, ingress, mac);
      return;
    }
    if (!this.#own.has(packet.dst)) return;
    this.rightOfWay.onOctets(now, packet.src, this.#echoes, packet.end - packet.payload);
    const rest = icmpRest(octets, packet.payload);
    this.sendEcho(
      now,
      packet.dst,
      packet.src,
      rest,
      packet.payload + ICMP_HEADER_LENGTH,
      packet.end,
      TTL,
    );
  }

  /** Sends an echo reply with the octets of [body, end) to a guest. */
  sendEcho(
    now: number,
    src: number,
    dst: number,
    rest: number,
    body: number,
    end: number,
    ttl: number,
  ): void {
    const length = end - body;
    const at = this.scratch.take(LOWER_HEADERS + ICMP_HEADER_LENGTH + length) + LOWER_HEADERS;
    this.octets.copyWithin(at + ICMP_HEADER_LENGTH, body, end);
    emitIcmp(this.octets, at, ECHO_REPLY, 0, rest, length, this.sum);
    this.sendDatagram(now, src, dst, PROTOCOL_ICMP, at, ICMP_HEADER_LENGTH + length, ttl);
  }

  /** Tells the sender of `packet` why it did not arrive (RFC 792); `from` is the router or host that says so. */
  sendIcmpError(
    now: number,
    type: number,
    code: number,
    rest: number,
    packet: Ipv4View,
    from: number,
  ): void {
    // RFC 1122 3.2.2: never about broadcasts, fragments beyond the first, or other errors
    if (
      packet.toGroup ||
      packet.fragmentOffset > 0 ||
      packet.dst === LIMITED_BROADCAST ||
      packet.dst === this.plan.subnet.broadcast
    )
      return;
    if (packet.protocol === PROTOCOL_ICMP && icmpType(this.octets, packet.payload) !== ECHO_REQUEST)
      return;
    this.sendIcmpQuoting(now, type, code, rest, packet.start, packet.end, packet.src, from);
  }

  /** As sendIcmpError, with the quoted packet given as [start, end). */
  sendIcmpQuoting(
    now: number,
    type: number,
    code: number,
    rest: number,
    start: number,
    end: number,
    dst: number,
    from: number,
  ): void {
    const second = Math.floor(now / 1000);
    if (second !== this.#errorSecond) {
      this.#errorSecond = second;
      this.#errorCount = 0;
    }
    if (++this.#errorCount > ICMP_ERRORS_PER_SECOND) return;
    const quoted = Math.min(end - start, QUOTE_LIMIT);
    const at = this.scratch.take(LOWER_HEADERS + ICMP_HEADER_LENGTH + quoted) + LOWER_HEADERS;
    this.octets.copyWithin(at + ICMP_HEADER_LENGTH, start, start + quoted);
    emitIcmp(this.octets, at, type, code, rest, quoted, this.sum);
    this.sendDatagram(now, from, dst, PROTOCOL_ICMP, at, ICMP_HEADER_LENGTH + quoted, TTL);
  }

  /** Writes the header of a packet a guest once sent, for an ICMP error to quote, and returns the offset behind it. */
  quoteHeader(
    at: number,
    src: number,
    dst: number,
    protocol: number,
    payloadLength: number,
  ): number {
    return emitIpv4(
      { src, dst, protocol, ttl: TTL, identification: 0, fragment: 0, payloadLength },
      this.octets,
      at,
    );
  }

  // ---------------------------------------------------------------- out

  /** somebody looks at the frames on their way, which are to have their checksums then */
  get isObserved(): boolean {
    return this.#link.observer !== undefined;
  }

  /** the port a guest's address is behind; undefined when that is not known */
  portOf(address: number): BridgePort | undefined {
    const mac = this.#neighbors.get(address);
    return mac === undefined ? undefined : this.#link.portOf(mac);
  }

  /** Room for a header of up to `size` octets; lower headers go in front of the returned offset. */
  open(size: number): number {
    return this.scratch.take(LOWER_HEADERS + size) + LOWER_HEADERS;
  }

  /**
   * Sends one packet that fits the MTU, or is a TCP segment for a port that takes larger ones: a transport header written where
   * `open` said, and up to two more pieces.
   */
  sendPacket(
    now: number,
    src: number,
    dst: number,
    protocol: number,
    header: number,
    headerLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): void {
    const repr = this.#repr;
    repr.fragment = DONT_FRAGMENT;
    repr.ttl = TTL;
    this.#emit(
      now,
      src,
      dst,
      protocol,
      headerLength + length1 + length2,
      header,
      headerLength,
      body1,
      length1,
      body2,
      length2,
    );
  }

  /** The same for a TCP segment that leaves in frames with at most `size` octets of payload; their checksums are made here. */
  sendCut(
    now: number,
    src: number,
    dst: number,
    header: number,
    headerLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
    size: number,
  ): void {
    const mac = this.#macOf(now, dst);
    if (mac === undefined) return;
    const repr = this.#repr;
    repr.fragment = DONT_FRAGMENT;
    repr.ttl = TTL;
    const identification = this.#nextIdentification();
    const head = this.#emitLower(mac, src, dst, PROTOCOL_TCP, 0, header, identification);
    this.#cutTo = mac;
    const frames = this.#cutter.cut(
      head,
      head + ETHERNET_HEADER_LENGTH,
      header,
      header + headerLength,
      body1,
      length1,
      body2,
      length2,
      size,
      this.#onCut,
    );
    this.#identification = (identification + frames - 1) & 0xffff;
  }

  /** Sends a datagram of any size that stands in one piece behind room for the lower headers; fragments it when it must. */
  sendDatagram(
    now: number,
    src: number,
    dst: number,
    protocol: number,
    start: number,
    length: number,
    ttl: number,
  ): void {
    const repr = this.#repr;
    const room = this.plan.mtu - IPV4_HEADER_LENGTH;
    repr.ttl = ttl;
    if (length <= room) {
      repr.fragment = 0;
      this.#emit(now, src, dst, protocol, length, start, length, 0, 0, 0, 0);
      return;
    }
    // RFC 791 3.2: every fragment but the last carries a multiple of 8 octets; all share one identification
    const step = room & ~7;
    const identification = this.#nextIdentification();
    for (let offset = 0; offset < length; offset += step) {
      const size = Math.min(step, length - offset);
      repr.fragment = (offset >>> 3) | (offset + size < length ? 0x2000 : 0);
      if (offset === 0) {
        this.#emit(now, src, dst, protocol, size, start, size, 0, 0, 0, 0, identification);
      } else {
        const header = this.scratch.take(LOWER_HEADERS) + LOWER_HEADERS;
        this.#emit(
          now,
          src,
          dst,
          protocol,
          size,
          header,
          0,
          start + offset,
          size,
          0,
          0,
          identification,
        );
      }
    }
  }

  #nextIdentification(): number {
    this.#identification = (this.#identification + 1) & 0xffff;
    return this.#identification;
  }

  #emit(
    now: number,
    src: number,
    dst: number,
    protocol: number,
    payloadLength: number,
    header: number,
    headerLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
    identification = this.#nextIdentification(),
  ): void {
    const mac = this.#macOf(now, dst);
    if (mac === undefined) return;
    this.#emitTo(
      mac,
      src,
      dst,
      protocol,
      payloadLength,
      header,
      headerLength,
      body1,
      length1,
      body2,
      length2,
      identification,
    );
  }

  /** Where a packet to this address goes; undefined: nobody knows yet, and has been asked. */
  #macOf(now: number, dst: number): number | undefined {
    const mac =
      dst === LIMITED_BROADCAST || dst === this.plan.subnet.broadcast
        ? BROADCAST_MAC
        : this.#neighbors.get(dst);
    if (mac !== undefined) return mac;
    this.counters.count("no-neighbor" satisfies GatewayDrop);
    this.askFor(now, dst);
    return undefined;
  }

  /** Sends a datagram to a hardware address that need not have an IP address yet (DHCP). */
  sendDatagramTo(
    mac: number,
    src: number,
    dst: number,
    protocol: number,
    start: number,
    length: number,
  ): void {
    this.#repr.fragment = 0;
    this.#repr.ttl = TTL;
    this.#emitTo(
      mac,
      src,
      dst,
      protocol,
      length,
      start,
      length,
      0,
      0,
      0,
      0,
      this.#nextIdentification(),
    );
  }

  #emitTo(
    mac: number,
    src: number,
    dst: number,
    protocol: number,
    payloadLength: number,
    header: number,
    headerLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
    identification: number,
  ): void {
    const head = this.#emitLower(mac, src, dst, protocol, payloadLength, header, identification);
    this.#link.fromGateway(mac, head, header - head + headerLength, body1, length1, body2, length2);
  }

  /** Writes the headers in front of a transport header, and tells where the frame begins. */
  #emitLower(
    mac: number,
    src: number,
    dst: number,
    protocol: number,
    payloadLength: number,
    header: number,
    identification: number,
  ): number {
    const repr = this.#repr;
    repr.src = src;
    repr.dst = dst;
    repr.protocol = protocol;
    repr.payloadLength = payloadLength;
    repr.identification = identification;
    const head = header - IPV4_HEADER_LENGTH - ETHERNET_HEADER_LENGTH;
    emitEthernet(this.octets, head, mac, this.plan.mac, ETHERTYPE_IPV4);
    emitIpv4(repr, this.octets, head + ETHERNET_HEADER_LENGTH);
    return head;
  }

  /** Asks whoever has a guest's address, or all when nobody is known to have it (RFC 1122 2.3.2.1 (2)); RFC 1122 2.3.2.1: not more often than needed. */
  askFor(now: number, address: number): void {
    if (
      !this.#isGuestAddress(address) ||
      now - (this.#arpAskedAt.get(address) ?? -Infinity) < ARP_INTERVAL_MS
    )
      return;
    if (this.#arpAskedAt.size > 1024) this.#arpAskedAt.clear();
    this.#arpAskedAt.set(address, now);
    const destination = this.#neighbors.get(address) ?? BROADCAST_MAC;
    this.#sendArp(ARP_REQUEST, this.plan.address, 0, address, destination);
  }

  /** 169.254.0.0/16 holds cloud metadata services of the host and is not reached unless that is wanted (gvproxy, Lima 8.6) */
  isRefused(address: number): boolean {
    return isLinkLocal(address) && !this.plan.linkLocalAccess;
  }

  /** A packet to where guests may not go; it has been counted. */
  refusesLinkLocal(packet: Ipv4View): boolean {
    if (!this.isRefused(packet.dst)) return false;
    this.counters.count("link-local-refused" satisfies GatewayDrop);
    return true;
  }
}
