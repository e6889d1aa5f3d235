/**
 * UDP and ICMP echo: each conversation of a guest (its endpoint, a destination) has one connected socket of the host,
 * closed after an idle time. Errors that the host learns (port unreachable, time exceeded, fragmentation needed) go
 * back to the guest as the ICMP messages they were. The number of conversations is bounded; the longest idle one makes room.
 */
import type { Counters } from "../trace/counters.ts";
import { FairShare } from "../storage/fair-share.ts";
import { TupleTable } from "../storage/tuple-table.ts";
import type { BridgePort } from "../link/bridge-port.ts";
import type { DatagramHandler, Gateway } from "../stack/gateway.ts";
import { LOWER_HEADERS } from "../stack/gateway.ts";
import { Pace } from "../stack/right-of-way.ts";
import {
  ADMINISTRATIVELY_PROHIBITED,
  DESTINATION_UNREACHABLE,
  ECHO_REPLY,
  ECHO_REQUEST,
  echoIdentifier,
  emitIcmp,
  HOST_UNREACHABLE,
  ICMP_HEADER_LENGTH,
  icmpRest,
  icmpType,
  PORT_UNREACHABLE,
} from "../wire/icmpv4.ts";
import { PROTOCOL_ICMP, PROTOCOL_UDP, type Ipv4View } from "../wire/ipv4.ts";
import { beginAlike, put16, put32 } from "../wire/octets.ts";
import {
  checkUdp,
  emitUdp,
  UDP_HEADER_LENGTH,
  udpDstPort,
  udpLength,
  udpSrcPort,
} from "../wire/udp.ts";
import { DatagramTrain } from "./datagram-train.ts";
import type { HostDatagramOwner, HostDatagrams, HostFailure, Random32 } from "./host-sockets.ts";

export const DATAGRAM_CAPACITY = 4096;
/** whose conversations are those of port forwards: no port has this number */
const HOST = -1;
/** a conversation that was used a shorter time ago makes no room for another */
const RECENT_MS = 1000;
/** as gvproxy and Lima have it */
const UDP_IDLE_MS = 90_000;
const ECHO_IDLE_MS = 10_000;
const SWEEP_MS = 1000;
/** datagrams taken from one socket in one turn */
const RECEIVE_BUDGET = 64;
/** who may wait for a guest at once: each has a socket's buffer of the host filled meanwhile, and the guest may not want to be quick */
const MAX_WAITING = 64;
const MAX_PAYLOAD = 65535 - 28;

export type DatagramDrop =
  | "udp-table-full"
  | "udp-forbidden"
  | "echo-not-permitted"
  | "udp-send-failed";

/** What a guest's UDP destination means. */
export type UdpTarget =
  | { kind: "host"; address: number; port: number }
  /** answered inside limanet */
  | { kind: "service"; handler: UdpService }
  | { kind: "refuse" };

export type UdpTranslate = (address: number, port: number) => UdpTarget;

/** A service of the gateway itself (DHCP, DNS): gets the payload's place in packet memory. */
export interface UdpService {
  onPayload(
    now: number,
    packet: Ipv4View,
    srcPort: number,
    start: number,
    end: number,
    sourceMac: number,
    ingress: BridgePort,
  ): void;
}

export class DatagramFlows {
  readonly udp: DatagramHandler;
  readonly echo: DatagramHandler;
  readonly #gateway: Gateway;
  readonly #host: HostDatagrams;
  readonly #translate: UdpTranslate;
  readonly #counters: Counters;
  readonly #tables: Record<"udp" | "echo", TupleTable>;
  /** by the port of the guest that began a conversation */
  readonly #places: Record<"udp" | "echo", FairShare>;
  /** port whose conversations are all in use → when to look again whether one can make room */
  readonly #crowded = new Map<number, number>();
  readonly #flows: (DatagramFlow | undefined)[] = [];
  readonly #freeIds: number[] = [];
  /** what guests have sent in this turn, as far as it has not left yet */
  readonly #train = new DatagramTrain<DatagramFlow>();
  /** who has more to receive in the next turn */
  #unfinished: Receiver[] = [];
  /** whose guest takes no more at present: what is for it waits in the host's sockets */
  readonly #waiting: Receiver[] = [];
  readonly #random: Random32;
  /** of all services together */
  readonly #services = new Pace();
  #sweepAt = Infinity;
  #echoRefusalTold = false;
  readonly #onEchoRefused: () => void;

  /** onEchoRefused: told once when the host allows no unprivileged ping */
  constructor(
    gateway: Gateway,
    host: HostDatagrams,
    translate: UdpTranslate,
    random: Random32,
    capacity: number,
    onEchoRefused: () => void,
  ) {
    this.#gateway = gateway;
    this.#host = host;
    this.#translate = translate;
    this.#counters = gateway.counters;
    this.#random = random;
    this.#onEchoRefused = onEchoRefused;
    this.#tables = {
      udp: new TupleTable(DATAGRAM_CAPACITY, random()),
      echo: new TupleTable(DATAGRAM_CAPACITY, random()),
    };
    const places = Math.min(capacity, DATAGRAM_CAPACITY);
    this.#places = { udp: new FairShare(places), echo: new FairShare(places) };
    this.udp = {
      onDatagram: (now, packet, ingress, mac) => this.#onUdp(now, packet, ingress, mac),
    };
    this.echo = {
      onDatagram: (now, packet, ingress) => this.#onEcho(now, packet, ingress.id),
    };
  }

  get size(): number {
    return this.#tables.udp.size + this.#tables.echo.size;
  }

  #onUdp(now: number, packet: Ipv4View, ingress: BridgePort, mac: number): void {
    const { octets, sum } = this.#gateway;
    const at = packet.payload;
    const drop = checkUdp(octets, at, packet.end, packet.src, packet.dst, sum);
    if (drop !== undefined) {
      this.#counters.count(drop);
      return;
    }
    const srcPort = udpSrcPort(octets, at);
    const dstPort = udpDstPort(octets, at);
    const payload = at + UDP_HEADER_LENGTH;
    const end = at + udpLength(octets, at);
    const id = this.#tables.udp.get(packet.src, packet.dst, (srcPort << 16) | dstPort);
    let flow = id < 0 ? undefined : this.#flows[id];
    if (flow === undefined) {
      const target = this.#translate(packet.dst, dstPort);
      if (target.kind === "service") {
        this.#gateway.rightOfWay.onOctets(now, packet.src, this.#services, end - payload);
        target.handler.onPayload(now, packet, srcPort, payload, end, mac, ingress);
        return;
      }
      if (target.kind === "refuse" || packet.src === 0) {
        this.#counters.count("udp-forbidden" satisfies DatagramDrop);
        this.#gateway.sendIcmpError(
          now,
          DESTINATION_UNREACHABLE,
          PORT_UNREACHABLE,
          0,
          packet,
          packet.dst,
        );
        return;
      }
      if (this.#gateway.refusesLinkLocal(packet)) {
        this.#gateway.sendIcmpError(
          now,
          DESTINATION_UNREACHABLE,
          ADMINISTRATIVELY_PROHIBITED,
          0,
          packet,
          this.#gateway.plan.address,
        );
        return;
      }
      flow = this.#create(now, "udp", ingress.id, packet.src, packet.dst, srcPort, dstPort);
      if (flow === undefined) return;
      const handle = this.#host.connectUdp(target.address, target.port, flow);
      if (typeof handle === "string") {
        this.#close(flow);
        this.#sendFailure(now, handle, packet);
        return;
      }
      flow.handle = handle;
    }
    this.#send(now, flow, packet, payload, end - payload);
  }

  #onEcho(now: number, packet: Ipv4View, owner: number): void {
    const { octets } = this.#gateway;
    const identifier = echoIdentifier(octets, packet.payload);
    const id = this.#tables.echo.get(packet.src, packet.dst, identifier);
    let flow = id < 0 ? undefined : this.#flows[id];
    if (flow === undefined) {
      if (this.#gateway.refusesLinkLocal(packet)) return;
      flow = this.#create(now, "echo", owner, packet.src, packet.dst, identifier, 0);
      if (flow === undefined) return;
      const handle = this.#host.connectEcho(packet.dst, flow);
      if (typeof handle === "string") {
        this.#close(flow);
        if (handle === "failed") {
          this.#counters.count("echo-not-permitted" satisfies DatagramDrop);
          if (!this.#echoRefusalTold) this.#onEchoRefused();
          this.#echoRefusalTold = true;
        } else {
          this.#sendFailure(now, handle, packet);
        }
        return;
      }
      flow.handle = handle;
    }
    this.#send(now, flow, packet, packet.payload, packet.end - packet.payload);
  }

  // ---------------------------------------------------------------- port forwards

  /**
   * Binds a UDP socket of the host whose datagrams go to a guest, each client through a conversation of its own. Throws
   * what the host throws.
   */
  openForward(host: string, port: number, guest: number, guestPort: number): UdpForward {
    const forward = new UdpForward(this, guest, guestPort);
    const bound = this.#host.bindUdp(host, port, forward);
    forward.handle = bound.handle;
    forward.port = bound.port;
    return forward;
  }

  closeForward(forward: UdpForward): void {
    for (const flow of this.#flows) if (flow?.forward === forward) this.#close(flow);
    this.#host.close(forward.handle);
    forward.handle = -1;
  }

  /** Datagrams of the host's clients have come. */
  onForwardReadable(now: number, forward: UdpForward): void {
    const { scratch, octets, sum, plan } = this.#gateway;
    const port = this.#gateway.portOf(forward.guest);
    for (let budget = RECEIVE_BUDGET; budget > 0 && forward.handle >= 0; budget--) {
      if (port?.busy === true && this.#waits(forward)) return;
      const at = scratch.take(LOWER_HEADERS + UDP_HEADER_LENGTH + MAX_PAYLOAD) + LOWER_HEADERS;
      const received = this.#host.receive(forward.handle, at + UDP_HEADER_LENGTH, MAX_PAYLOAD);
      if (received !== "datagram") {
        scratch.trim(at - LOWER_HEADERS);
        if (received === "nothing") return;
        continue;
      }
      const { length } = this.#host.received;
      scratch.trim(at + UDP_HEADER_LENGTH + length);
      const flow = this.#forwardFlow(now, forward);
      if (flow === undefined) continue;
      flow.lastUsedAt = now;
      emitUdp(
        octets,
        at,
        plan.address,
        flow.guest,
        flow.destinationPort,
        flow.guestPort,
        length,
        sum,
      );
      this.#gateway.sendDatagram(
        now,
        plan.address,
        flow.guest,
        PROTOCOL_UDP,
        at,
        UDP_HEADER_LENGTH + length,
        64,
      );
    }
    if (forward.handle >= 0) this.#unfinished.push(forward);
  }

  /** The conversation of the client whose datagram was received; the guest sees it as a port of the gateway. */
  #forwardFlow(now: number, forward: UdpForward): DatagramFlow | undefined {
    const { peer: buffer, peerLength } = this.#host.received;
    // datagrams of one client follow each other, and a key for each would be garbage
    const { latest } = forward;
    if (latest?.isWith(buffer, peerLength) && this.#flows[latest.id] === latest) return latest;
    const peer = buffer.subarray(0, peerLength);
    const key = peer.join(" ");
    const known = forward.clients.get(key);
    if (known !== undefined && this.#flows[known.id] === known) {
      forward.latest = known;
      return known;
    }
    const { address } = this.#gateway.plan;
    for (let tries = 0; tries < 16; tries++) {
      const port = 49152 + (this.#random() & 0x3fff);
      if (this.#tables.udp.get(forward.guest, address, (forward.guestPort << 16) | port) >= 0)
        continue;
      const flow = this.#create(now, "udp", HOST, forward.guest, address, forward.guestPort, port);
      if (flow === undefined) return undefined;
      flow.handle = forward.handle;
      flow.forward = forward;
      flow.peer = peer.slice();
      flow.peerKey = key;
      forward.clients.set(key, flow);
      forward.latest = flow;
      return flow;
    }
    return undefined;
  }

  /** A datagram that has come `ttl` hops less one goes on with what is left, so that traceroute sees the way. */
  #send(now: number, flow: DatagramFlow, packet: Ipv4View, start: number, length: number): void {
    flow.lastUsedAt = now;
    flow.lastLength = length;
    this.#gateway.rightOfWay.onOctets(now, packet.src, flow.pace, length);
    if (flow.peer !== undefined) {
      this.#host.sendTo(flow.handle, start, length, flow.peer);
      return;
    }
    const ttl = this.#gateway.isOwn(packet.dst) ? packet.ttl : packet.ttl - 1;
    const train = this.#train;
    const canWait = flow.kind === "udp" && length > 0 && !packet.isReassembled;
    if (canWait && train.add(flow, ttl, packet.start, start, length)) return;
    this.settle(now);
    if (canWait && train.add(flow, ttl, packet.start, start, length)) return;
    const failure = this.#sendAlone(now, flow, start, length, ttl);
    if (failure !== undefined) this.#sendFailure(now, failure, packet);
  }

  #sendAlone(
    now: number,
    flow: DatagramFlow,
    start: number,
    length: number,
    ttl: number,
  ): HostFailure | undefined {
    const failure = this.#host.send(flow.handle, start, length, ttl);
    if (failure !== "refused") return failure;
    // an error of an earlier datagram is told on the next call; it has been relayed from the error queue
    this.#receive(now, flow);
    return this.#host.send(flow.handle, start, length, ttl);
  }

  /** Sends what has waited for others like it; before what guests have sent is written over. */
  settle(now: number): void {
    const train = this.#train;
    const { flow, payloads, ttl } = train;
    if (flow === undefined) return;
    const { count, starts, lengths } = payloads;
    if (count === 1 || !this.#host.sendTrain(flow.handle, payloads, train.length, ttl)) {
      for (let i = 0; i < count; i++) {
        const failure = this.#sendAlone(now, flow, starts[i]!, lengths[i]!, ttl);
        if (failure === undefined) continue;
        this.#sendFailure(now, failure, this.#gateway.earlierPacket(train.packets[i]!));
      }
    }
    train.clear();
  }

  /** The host did not take a datagram: it is counted, and the guest told where there is a message that says why. */
  #sendFailure(now: number, failure: HostFailure, packet: Ipv4View): void {
    this.#counters.count("udp-send-failed" satisfies DatagramDrop);
    const code =
      failure === "refused"
        ? PORT_UNREACHABLE
        : failure === "unreachable"
          ? HOST_UNREACHABLE
          : undefined;
    if (code === undefined) return;
    const from = code === PORT_UNREACHABLE ? packet.dst : this.#gateway.plan.address;
    this.#gateway.sendIcmpError(now, DESTINATION_UNREACHABLE, code, 0, packet, from);
  }

  /** A conversation of a port; when it has its share, in the place of its longest idle one; undefined: all are in use. */
  #create(
    now: number,
    kind: "udp" | "echo",
    owner: number,
    guest: number,
    destination: number,
    guestPort: number,
    destinationPort: number,
  ): DatagramFlow | undefined {
    const table = this.#tables[kind];
    const places = this.#places[kind];
    if (!places.take(owner)) {
      this.#counters.count("udp-table-full" satisfies DatagramDrop);
      if (!this.#evict(now, kind, owner) || !places.take(owner)) return undefined;
    }
    const id = this.#freeIds.pop() ?? this.#flows.length;
    const flow = new DatagramFlow(
      this,
      id,
      kind,
      owner,
      guest,
      destination,
      guestPort,
      destinationPort,
    );
    flow.lastUsedAt = now;
    this.#flows[id] = flow;
    table.set(guest, destination, flow.portsWord, id);
    if (this.#sweepAt === Infinity) this.#sweepAt = now + SWEEP_MS;
    return flow;
  }

  /** Ends a port's longest idle conversation; false when all were used just now, which a flood must not make us find out often. */
  #evict(now: number, kind: "udp" | "echo", owner: number): boolean {
    if (now < (this.#crowded.get(owner) ?? -Infinity)) return false;
    let oldest: DatagramFlow | undefined;
    for (const flow of this.#flows) {
      if (
        flow?.kind === kind &&
        flow.owner === owner &&
        (oldest === undefined || flow.lastUsedAt < oldest.lastUsedAt)
      )
        oldest = flow;
    }
    if (oldest === undefined) return false;
    const from = oldest.lastUsedAt + RECENT_MS;
    if (now < from) {
      this.#crowded.set(owner, from);
      return false;
    }
    this.#close(oldest);
    return true;
  }

  #close(flow: DatagramFlow): void {
    if (flow.forward !== undefined) flow.forward.clients.delete(flow.peerKey);
    else if (flow.handle >= 0) this.#host.close(flow.handle);
    flow.handle = -1;
    this.#tables[flow.kind].delete(flow.guest, flow.destination, flow.portsWord);
    this.#flows[flow.id] = undefined;
    this.#freeIds.push(flow.id);
    this.#places[flow.kind].give(flow.owner);
  }

  // ---------------------------------------------------------------- from the host

  onReadable(now: number, flow: DatagramFlow): void {
    if (this.#receive(now, flow)) this.#unfinished.push(flow);
  }

  /** Takes what the socket has; true when the budget ran out first. */
  #receive(now: number, flow: DatagramFlow): boolean {
    const header = flow.kind === "udp" ? UDP_HEADER_LENGTH : 0;
    const { scratch } = this.#gateway;
    const port = this.#gateway.portOf(flow.guest);
    for (let budget = RECEIVE_BUDGET; budget > 0; budget--) {
      if (flow.handle < 0) return false;
      if (port?.busy === true && this.#waits(flow)) return false;
      const at = scratch.take(LOWER_HEADERS + header + MAX_PAYLOAD) + LOWER_HEADERS;
      const received = this.#host.receive(flow.handle, at + header, MAX_PAYLOAD);
      if (received !== "datagram") scratch.trim(at - LOWER_HEADERS);
      if (received === "nothing") return false;
      if (received === "error") {
        this.#relayError(now, flow, at + header);
        continue;
      }
      const { length } = this.#host.received;
      scratch.trim(at + header + length);
      flow.lastUsedAt = now;
      if (flow.kind === "udp") this.#toGuest(now, flow, at, length);
      else this.#echoToGuest(now, flow, at, length);
    }
    return true;
  }

  #toGuest(now: number, flow: DatagramFlow, at: number, length: number): void {
    const { octets, sum } = this.#gateway;
    emitUdp(
      octets,
      at,
      flow.destination,
      flow.guest,
      flow.destinationPort,
      flow.guestPort,
      length,
      sum,
    );
    this.#gateway.sendDatagram(
      now,
      flow.destination,
      flow.guest,
      PROTOCOL_UDP,
      at,
      UDP_HEADER_LENGTH + length,
      64,
    );
  }

  #echoToGuest(now: number, flow: DatagramFlow, at: number, length: number): void {
    const { octets, sum } = this.#gateway;
    if (length < ICMP_HEADER_LENGTH || icmpType(octets, at) !== ECHO_REPLY) return;
    // the host's kernel has put its own identifier in the guest's place
    const rest = ((flow.guestPort << 16) | (icmpRest(octets, at) & 0xffff)) >>> 0;
    emitIcmp(octets, at, ECHO_REPLY, 0, rest, length - ICMP_HEADER_LENGTH, sum);
    this.#gateway.sendDatagram(
      now,
      flow.destination,
      flow.guest,
      PROTOCOL_ICMP,
      at,
      length,
      this.#host.received.ttl,
    );
  }

  /** An ICMP error about one of the flow's datagrams: told to the guest with the same type, code and sender. */
  #relayError(now: number, flow: DatagramFlow, quoted: number): void {
    const {
      length,
      icmpType: type,
      icmpCode: code,
      icmpInfo: info,
      offender,
    } = this.#host.received;
    const { octets } = this.#gateway;
    // which of the guest's echo requests it is about
    const sequence = length >= ICMP_HEADER_LENGTH ? icmpRest(octets, quoted) & 0xffff : 0;
    const header = UDP_HEADER_LENGTH;
    const protocol = flow.kind === "udp" ? PROTOCOL_UDP : PROTOCOL_ICMP;
    const at = this.#gateway.scratch.take(64);
    const end = this.#gateway.quoteHeader(
      at,
      flow.guest,
      flow.destination,
      protocol,
      header + flow.lastLength,
    );
    if (flow.kind === "udp") {
      put16(octets, end, flow.guestPort);
      put16(octets, end + 2, flow.destinationPort);
      put16(octets, end + 4, header + flow.lastLength);
      put16(octets, end + 6, 0);
    } else {
      put16(octets, end, ECHO_REQUEST << 8);
      put16(octets, end + 2, 0);
      put32(octets, end + 4, (flow.guestPort << 16) | sequence);
    }
    // what the host's own address said stands for the address the guest talked to
    const from =
      offender === 0 || this.#gateway.isOwn(flow.destination) ? flow.destination : offender;
    this.#gateway.sendIcmpQuoting(now, type, code, info, at, end + 8, flow.guest, from);
  }

  // ---------------------------------------------------------------- one turn

  get hasUnfinished(): boolean {
    return this.#unfinished.length > 0;
  }

  resume(now: number): void {
    if (!this.hasUnfinished) return;
    const receivers = this.#unfinished;
    this.#unfinished = [];
    for (const receiver of receivers) receiver.onHostReadable(now);
  }

  /** Lists who has something for a guest that takes no more. False: too many are, and it is as well received and dropped. */
  #waits(receiver: Receiver): boolean {
    if (receiver.isWaiting) return true;
    if (this.#waiting.length >= MAX_WAITING) return false;
    receiver.isWaiting = true;
    this.#waiting.push(receiver);
    return true;
  }

  /** Ports have drained, or are gone: who waited for them goes on. */
  onPortsDrained(): void {
    for (const receiver of this.#waiting) {
      receiver.isWaiting = false;
      this.#unfinished.push(receiver);
    }
    this.#waiting.length = 0;
  }

  nextDeadline(): number {
    return this.#sweepAt;
  }

  onDeadline(now: number): void {
    if (now < this.#sweepAt) return;
    let any = false;
    for (const flow of this.#flows) {
      if (flow === undefined) continue;
      if (now - flow.lastUsedAt > (flow.kind === "udp" ? UDP_IDLE_MS : ECHO_IDLE_MS))
        this.#close(flow);
      else any = true;
    }
    this.#sweepAt = any ? now + SWEEP_MS : Infinity;
  }

  closeAll(): void {
    for (const flow of this.#flows) if (flow !== undefined) this.#close(flow);
  }
}

interface Receiver extends HostDatagramOwner {
  isWaiting: boolean;
}

/** One conversation. For echo the guest's port is the identifier. */
class DatagramFlow implements Receiver {
  readonly id: number;
  readonly kind: "udp" | "echo";
  /** number of the port that began it */
  readonly owner: number;
  readonly guest: number;
  readonly destination: number;
  readonly guestPort: number;
  readonly destinationPort: number;
  handle = -1;
  isWaiting = false;
  lastUsedAt = 0;
  lastLength = 0;
  /** the port forward this conversation belongs to, and which of its clients has it */
  forward: UdpForward | undefined;
  peer: Uint8Array | undefined;
  peerKey = "";
  readonly pace = new Pace();
  readonly #flows: DatagramFlows;

  constructor(
    flows: DatagramFlows,
    id: number,
    kind: "udp" | "echo",
    owner: number,
    guest: number,
    destination: number,
    guestPort: number,
    destinationPort: number,
  ) {
    this.#flows = flows;
    this.id = id;
    this.kind = kind;
    this.owner = owner;
    this.guest = guest;
    this.destination = destination;
    this.guestPort = guestPort;
    this.destinationPort = destinationPort;
  }

  /** The socket address in the first octets is that of the forward's client. */
  isWith(octets: Uint8Array, length: number): boolean {
    const { peer } = this;
    return peer?.length === length && beginAlike(peer, octets, length);
  }

  get portsWord(): number {
    return this.kind === "udp" ? (this.guestPort << 16) | this.destinationPort : this.guestPort;
  }

  onHostReadable(now: number): void {
    this.#flows.onReadable(now, this);
  }
}

/** A UDP port of the host that leads to a guest. */
export class UdpForward implements Receiver {
  readonly guest: number;
  readonly guestPort: number;
  handle = -1;
  isWaiting = false;
  /** the port it is bound to */
  port = 0;
  readonly clients = new Map<string, DatagramFlow>();
  /** whose datagram was the last */
  latest: DatagramFlow | undefined;
  readonly #flows: DatagramFlows;

  constructor(flows: DatagramFlows, guest: number, guestPort: number) {
    this.#flows = flows;
    this.guest = guest;
    this.guestPort = guestPort;
  }

  onHostReadable(now: number): void {
    this.#flows.onForwardReadable(now, this);
  }
}
