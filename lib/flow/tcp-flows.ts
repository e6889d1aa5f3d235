/**
 * TCP: each connection of a guest is one connection of the host, and the other way round for port forwards.
 *
 * A guest's SYN is held until the host's connection is made; refused becomes RST, unreachable an ICMP error. From then
 * on octets move in both directions without a queue of their own: guest payload goes to the host socket straight from
 * where it was received (`TcpConnection.onPayload` → gather → one vectored write a turn), the host's octets are read
 * straight into the connection's send ring. A side that is slow closes the other side's window. End of stream and reset
 * travel in both directions.
 */
import type { BridgePort } from "../link/bridge-port.ts";
import { FairShare } from "../storage/fair-share.ts";
import { Gather } from "../storage/gather.ts";
import { TupleTable } from "../storage/tuple-table.ts";
import type { DatagramHandler, Gateway } from "../stack/gateway.ts";
import {
  TcpConnection,
  type SegmentSink,
  type TcpEnvironment,
  type TcpUser,
} from "../tcp/connection.ts";
import type { RingPools } from "../tcp/stream-ring.ts";
import {
  FROM_GUEST,
  octetsOfEach,
  Pace,
  type RightOfWay,
  segmentsOfEach,
  TO_GUEST,
} from "../stack/right-of-way.ts";
import { DeadlineHeap } from "../time/deadline-heap.ts";
import { fold, pseudoHeaderSum, type SumOctets } from "../wire/checksum.ts";
import { DESTINATION_UNREACHABLE, HOST_UNREACHABLE } from "../wire/icmpv4.ts";
import { PROTOCOL_TCP, type Ipv4View } from "../wire/ipv4.ts";
import { put16, put32 } from "../wire/octets.ts";
import { ACK, RST, SYN, TCP_HEADER_LENGTH, TcpView, type TcpDrop } from "../wire/tcp.ts";
import { PacketTrain } from "./packet-train.ts";
import type {
  HostFailure,
  HostStreamOwner,
  HostStreams,
  HostTarget,
  Random32,
} from "./host-sockets.ts";

export const TCP_CAPACITY = 16384;
/** whose connections are those that come from the host: no port has this number */
const HOST = -1;
/** octets one connection may read from the host in one turn, so that none starves another */
const READ_BUDGET = 512 * 1024;
/** a host that was short of memory is tried again after this */
const RETRY_MS = 10;
const GATHERS = 64;
const GATHER_PIECES = 512;
const TCP_HEADER_ROOM = 60;

export type TcpFlowDrop = "tcp-flow-table-full" | "tcp-no-flow" | "tcp-no-ring";

/** What a guest's destination means on the host; undefined: nothing there, refuse. */
export type TcpTranslate = (address: number, port: number) => HostTarget | undefined;

/** How a connection to a guest ended before it was established, or that it was. */
export type GuestConnectOutcome = "connected" | "refused" | "timeout";

export class TcpFlows implements DatagramHandler, SegmentSink {
  readonly #gateway: Gateway;
  readonly #host: HostStreams;
  readonly #translate: TcpTranslate;
  readonly #random: Random32;
  readonly #environment: TcpEnvironment;
  readonly #table: TupleTable;
  readonly #flows: (TcpFlow | undefined)[] = [];
  readonly #freeIds: number[] = [];
  readonly #deadlines = new DeadlineHeap(TCP_CAPACITY);
  readonly #segment = new TcpView();
  readonly #gathers: Gather[] = [];
  /** by the port of the guest that opened a connection */
  readonly #places: FairShare;
  readonly #rings: FairShare;
  readonly #readGather = new Gather(4);
  readonly #train: PacketTrain;
  /** whose segment the frame had that the switch has looked at last */
  #latest: TcpFlow | undefined;
  /** whose the train is; undefined: there is none */
  #leading: TcpFlow | undefined;
  /** flows that something happened to in this turn */
  readonly #dirty: TcpFlow[] = [];
  /** flows whose read budget ran out with octets left */
  readonly #unfinished: TcpFlow[] = [];
  /** flows that wait for a busy port */
  readonly #blocked: TcpFlow[] = [];
  /** flows that waited, and go on before the dirty ones, who would fill the port again */
  readonly #drained: TcpFlow[] = [];
  #now = 0;

  constructor(
    gateway: Gateway,
    host: HostStreams,
    pools: RingPools,
    translate: TcpTranslate,
    random: Random32,
    capacity: number,
    view: DataView,
  ) {
    this.#gateway = gateway;
    this.#train = new PacketTrain(view);
    this.#host = host;
    this.#translate = translate;
    this.#random = random;
    this.#table = new TupleTable(TCP_CAPACITY, random());
    this.#places = new FairShare(Math.min(capacity, TCP_CAPACITY));
    this.#rings = new FairShare(pools.small.capacity / 2);
    this.#environment = {
      octets: gateway.octets,
      sum: gateway.sum,
      pools,
      sink: this,
      random,
      mss: gateway.plan.mtu - 40,
    };
    for (let i = 0; i < GATHERS; i++) this.#gathers.push(new Gather(GATHER_PIECES));
  }

  /** connections, in whatever state */
  get size(): number {
    return this.#table.size;
  }

  // ---------------------------------------------------------------- from the guest

  onDatagram(now: number, packet: Ipv4View, ingress: BridgePort): void {
    this.#now = now;
    const segment = this.#segment;
    const { src, dst } = packet;
    const drop = segment.read(
      this.#gateway.octets,
      packet.payload,
      packet.end,
      src,
      dst,
      this.#sumFor(ingress),
    );
    if (drop !== undefined) {
      this.#gateway.counters.count(drop);
      return;
    }
    const ports = (segment.srcPort << 16) | segment.dstPort;
    const id = this.#table.get(src, dst, ports);
    let flow = id < 0 ? undefined : this.#flows[id];
    const opening = (segment.flags & (SYN | ACK | RST)) === SYN;
    if (flow !== undefined && opening && flow.connection.mayBeReusedBy(segment)) {
      this.remove(flow);
      flow = undefined;
    }
    if (flow !== undefined) {
      this.#latest = flow;
      flow.connection.onSegment(now, segment);
      this.markDirty(flow);
    } else if (opening) {
      this.#onSyn(now, packet, ingress.id);
    } else if (!(segment.flags & RST)) {
      this.#gateway.counters.count("tcp-no-flow" satisfies TcpFlowDrop);
      this.#refuse(now, packet);
    }
  }

  /** The frame that starts here has gone through switch and gateway: the next ones of its connection need not. */
  lead(port: BridgePort, start: number): void {
    const flow = this.#latest;
    if (flow !== undefined && this.#train.begin(port, start)) this.#leading = flow;
  }

  /** Takes in a frame of the connection that the last one was of. False: it is for the switch to look at. */
  onFollowing(now: number, port: BridgePort, start: number, end: number): boolean {
    const flow = this.#leading;
    const train = this.#train;
    if (flow === undefined || !train.has(port, start, end)) {
      this.#leading = undefined;
      this.#latest = undefined;
      return false;
    }
    const { connection } = flow;
    const at = train.segmentOf(start);
    if (connection.mayFollow(train.sequenceOf(start), end - at)) {
      const payload = train.payloadOf(start, end);
      if (payload > 0) {
        if (port.lacksChecksum === true || connection.isSound(at, end - at))
          connection.follow(payload, end - payload);
        else this.#gateway.counters.count("tcp-checksum" satisfies TcpDrop);
        return true;
      }
    }
    const { octets, counters } = this.#gateway;
    const { remoteAddress, localAddress } = connection;
    const sum = this.#sumFor(port);
    const drop = this.#segment.read(octets, at, end, remoteAddress, localAddress, sum);
    if (drop === undefined) connection.onSegment(now, this.#segment);
    else counters.count(drop);
    return true;
  }

  /** by what the segment that a port hands on now is checked */
  #sumFor(port: BridgePort): SumOctets | undefined {
    return port.lacksChecksum === true ? undefined : this.#gateway.sum;
  }

  #onSyn(now: number, packet: Ipv4View, owner: number): void {
    const segment = this.#segment;
    if (this.#gateway.refusesLinkLocal(packet)) {
      this.#refuse(now, packet);
      return;
    }
    const target = this.#translate(packet.dst, segment.dstPort);
    if (target === undefined) {
      this.#refuse(now, packet);
      return;
    }
    const flow = this.#create(owner, packet.dst, segment.dstPort, packet.src, segment.srcPort);
    // a full table is silent: the guest tries again
    if (flow === undefined) return;
    flow.connection.onSyn(segment);
    const handle = this.#host.connect(target, flow);
    if (typeof handle !== "number") {
      this.connectFailed(now, flow, handle);
      return;
    }
    flow.handle = handle;
    if (this.#host.isConnected(handle)) flow.onHostConnected(now);
  }

  /** RFC 9293 3.10.7.1: a segment that belongs to no connection is answered by a reset. */
  #refuse(now: number, packet: Ipv4View): void {
    const segment = this.#segment;
    const { octets, sum } = this.#gateway;
    const at = this.#gateway.open(TCP_HEADER_LENGTH);
    const withAck = (segment.flags & ACK) !== 0;
    put16(octets, at, segment.dstPort);
    put16(octets, at + 2, segment.srcPort);
    put32(octets, at + 4, withAck ? segment.ack : 0);
    put32(octets, at + 8, withAck ? 0 : segment.seq + segment.sequenceLength);
    octets[at + 12] = TCP_HEADER_LENGTH << 2;
    octets[at + 13] = withAck ? RST : RST | ACK;
    put16(octets, at + 14, 0);
    put32(octets, at + 16, 0);
    const pseudo = pseudoHeaderSum(packet.dst, packet.src, PROTOCOL_TCP, TCP_HEADER_LENGTH);
    put16(octets, at + 16, ~fold(pseudo + sum(at, TCP_HEADER_LENGTH)));
    this.#gateway.sendPacket(
      now,
      packet.dst,
      packet.src,
      PROTOCOL_TCP,
      at,
      TCP_HEADER_LENGTH,
      0,
      0,
      0,
      0,
    );
  }

  // ---------------------------------------------------------------- from the host

  /**
   * Opens a connection to a guest for an accepted host connection (a port forward, a tunnel), or only to see whether
   * it can be made (`handle` -1: it is closed at once). `onOutcome` is told once, before anything of the guest is
   * written to the socket; when it answers "keep" to a connection that could not be made, the socket is left to it.
   */
  connectToGuest(
    now: number,
    handle: number,
    address: number,
    port: number,
    onOutcome?: (outcome: GuestConnectOutcome) => unknown,
  ): boolean {
    this.#now = now;
    const source = this.#gateway.plan.address;
    // RFC 6335 dynamic ports, starting at a random one
    let flow: TcpFlow | undefined;
    for (let tries = 0; tries < 16 && flow === undefined; tries++) {
      const localPort = 49152 + (this.#random() & 0x3fff);
      if (this.#table.get(address, source, (port << 16) | localPort) < 0) {
        flow = this.#create(HOST, source, localPort, address, port);
      }
    }
    if (flow === undefined || !this.takeRings(flow) || !flow.connection.connect(now)) {
      if (flow !== undefined) {
        this.countNoRing();
        this.remove(flow);
      }
      if (onOutcome?.("timeout") !== "keep" && handle >= 0) this.#host.reset(handle);
      return false;
    }
    flow.onOutcome = onOutcome;
    flow.handle = handle;
    this.markDirty(flow);
    return true;
  }

  /** May a connection have rings? */
  takeRings(flow: TcpFlow): boolean {
    flow.hasRings = this.#rings.take(flow.owner);
    return flow.hasRings;
  }

  /** A connection could not be opened because all rings are in use. */
  countNoRing(): void {
    this.#gateway.counters.count("tcp-no-ring" satisfies TcpFlowDrop);
  }

  /** The guest's hardware address is known now: connections that wait for it need not wait for their time-out. */
  onNeighbor(now: number, address: number): void {
    this.#now = now;
    for (const flow of this.#flows) {
      if (
        flow !== undefined &&
        flow.connection.state === "SYN-SENT" &&
        flow.connection.remoteAddress === address
      ) {
        flow.connection.retrySyn(now);
        this.markDirty(flow);
      }
    }
  }

  connectFailed(now: number, flow: TcpFlow, why: HostFailure): void {
    const { connection } = flow;
    if (why === "unreachable") {
      this.#gateway.counters.count("tcp-unreachable");
      this.#sendUnreachable(now, connection);
    }
    connection.refuse();
    this.remove(flow);
  }

  /** quotes the SYN as far as RFC 792 wants it: IP header and 8 octets */
  #sendUnreachable(now: number, connection: TcpConnection): void {
    const { octets } = this.#gateway;
    const at = this.#gateway.scratch.take(64);
    const end = this.#gateway.quoteHeader(
      at,
      connection.remoteAddress,
      connection.localAddress,
      PROTOCOL_TCP,
      20,
    );
    put16(octets, end, connection.remotePort);
    put16(octets, end + 2, connection.localPort);
    put32(octets, end + 4, connection.peerInitialSequence);
    this.#gateway.sendIcmpQuoting(
      now,
      DESTINATION_UNREACHABLE,
      HOST_UNREACHABLE,
      0,
      at,
      end + 8,
      connection.remoteAddress,
      this.#gateway.plan.address,
    );
  }

  // ---------------------------------------------------------------- table

  #create(
    owner: number,
    localAddress: number,
    localPort: number,
    guest: number,
    guestPort: number,
  ): TcpFlow | undefined {
    if (!this.#places.take(owner)) {
      this.#gateway.counters.count("tcp-flow-table-full" satisfies TcpFlowDrop);
      return undefined;
    }
    const id = this.#freeIds.pop() ?? this.#flows.length;
    const flow = new TcpFlow(
      this,
      this.#host,
      this.#gateway.rightOfWay,
      this.#environment,
      id,
      owner,
      localAddress,
      localPort,
      guest,
      guestPort,
    );
    this.#flows[id] = flow;
    this.#table.set(guest, localAddress, (guestPort << 16) | localPort, id);
    return flow;
  }

  /** Forgets a flow whose connection and host socket are closed. */
  remove(flow: TcpFlow): void {
    if (this.#flows[flow.id] !== flow) return;
    if (this.#latest === flow) this.#latest = undefined;
    if (this.#leading === flow) this.#leading = undefined;
    const { connection } = flow;
    this.#table.delete(
      connection.remoteAddress,
      connection.localAddress,
      (connection.remotePort << 16) | connection.localPort,
    );
    this.#flows[flow.id] = undefined;
    this.#freeIds.push(flow.id);
    this.#deadlines.clear(flow.id);
    this.releaseGather(flow);
    this.#places.give(flow.owner);
    if (flow.hasRings) this.#rings.give(flow.owner);
  }

  // ---------------------------------------------------------------- one turn

  markDirty(flow: TcpFlow): void {
    if (flow.dirty) return;
    flow.dirty = true;
    this.#dirty.push(flow);
  }

  takeGather(): Gather | undefined {
    return this.#gathers.pop();
  }

  releaseGather(flow: TcpFlow): void {
    if (flow.gather === undefined) return;
    flow.gather.clear();
    this.#gathers.push(flow.gather);
    flow.gather = undefined;
  }

  /**
   * Carries out what this turn's events call for: writes to the host, reads from it, segments to the guest. Must be
   * called before the receive buffer is used again.
   */
  settle(now: number): void {
    this.#now = now;
    // the frame that a train began with may be written over
    this.#leading = undefined;
    this.#settleAll(this.#drained);
    this.#settleAll(this.#dirty);
  }

  #settleAll(flows: TcpFlow[]): void {
    const now = this.#now;
    for (let i = 0; i < flows.length; i++) {
      const flow = flows[i]!;
      // it stood in both lists, and has had its turn
      if (!flow.dirty) continue;
      flow.dirty = false;
      flow.settle(now, this.#readGather, READ_BUDGET);
      if (this.#flows[flow.id] !== flow) continue;
      if (flow.connection.blocked && !flow.waiting) {
        flow.waiting = true;
        this.#blocked.push(flow);
      }
      const deadline = flow.connection.nextDeadline();
      // later deadlines are found out when the earlier one passes; only earlier ones must be told
      if (deadline < this.#deadlines.of(flow.id)) this.#deadlines.set(flow.id, deadline);
    }
    flows.length = 0;
  }

  /** A flow that has more to read in the next turn. */
  continueLater(flow: TcpFlow): void {
    this.#unfinished.push(flow);
  }

  /** A flow whose octets the host could not take now for want of something of its own. */
  retry(flow: TcpFlow, now: number): void {
    const at = now + RETRY_MS;
    if (at < this.#deadlines.of(flow.id)) this.#deadlines.set(flow.id, at);
  }

  /** The guest shares its memory, and its card takes large segments. */
  takesLarge(connection: TcpConnection): boolean {
    return this.#gateway.portOf(connection.remoteAddress)?.takesLarge === true;
  }

  /** Flows are waiting for the next turn: do not sleep. */
  get hasUnfinished(): boolean {
    return this.#unfinished.length > 0;
  }

  /** Takes up what the last turn left; call once a turn. */
  resume(): void {
    const flows = this.#unfinished;
    for (const flow of flows) if (this.#flows[flow.id] === flow) this.markDirty(flow);
    flows.length = 0;
  }

  /** Ports have drained: flows that waited for them go on. */
  onPortsDrained(): void {
    const flows = this.#blocked;
    for (const flow of flows) {
      flow.waiting = false;
      if (this.#flows[flow.id] !== flow) continue;
      flow.dirty = true;
      this.#drained.push(flow);
    }
    flows.length = 0;
  }

  nextDeadline(): number {
    return this.#deadlines.next();
  }

  onDeadline(now: number): void {
    this.#now = now;
    for (let id = this.#deadlines.popDue(now); id >= 0; id = this.#deadlines.popDue(now)) {
      const flow = this.#flows[id];
      if (flow === undefined) continue;
      const { connection } = flow;
      if (connection.nextDeadline() <= now) connection.onDeadline(now);
      if (this.#flows[id] === flow) this.markDirty(flow);
    }
  }

  /** A guest is gone: its connections' host side is told now, and not by a time-out that an idle one never has. */
  loseGuest(address: number): void {
    for (const flow of this.#flows) {
      if (flow === undefined || flow.connection.remoteAddress !== address) continue;
      flow.connection.forget();
      flow.onAbort("reset");
    }
  }

  /** Ends every connection with a reset, as the network goes down. */
  closeAll(): void {
    for (const flow of this.#flows) {
      if (flow === undefined) continue;
      flow.connection.abort();
      if (flow.handle >= 0) this.#host.close(flow.handle);
      this.remove(flow);
    }
  }

  // ---------------------------------------------------------------- SegmentSink

  makesChecksum = false;
  /** of the segment for which a header was opened last */
  #isCut = false;

  payloadLimit(connection: TcpConnection): number {
    const port = this.#gateway.portOf(connection.remoteAddress);
    if (port?.takesLarge === true) return connection.cardPayload;
    return port?.keepsFrames === true ? connection.cutPayload : connection.mss;
  }

  open(connection: TcpConnection, control: boolean, payloadLength: number): number {
    this.makesChecksum = false;
    this.#isCut = false;
    if (!control) {
      const port: BridgePort | undefined = this.#gateway.portOf(connection.remoteAddress);
      if (port === undefined || port.busy) return -1;
      const takesLarge = port.takesLarge === true;
      this.#isCut = payloadLength > connection.mss && !takesLarge;
      this.makesChecksum = this.#isCut || (takesLarge && !this.#gateway.isObserved);
    }
    return this.#gateway.open(TCP_HEADER_ROOM);
  }

  send(
    connection: TcpConnection,
    header: number,
    headerLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): void {
    const { localAddress, remoteAddress } = connection;
    if (this.#isCut) {
      this.#gateway.sendCut(
        this.#now,
        localAddress,
        remoteAddress,
        header,
        headerLength,
        body1,
        length1,
        body2,
        length2,
        connection.mss,
      );
      return;
    }
    this.#gateway.sendPacket(
      this.#now,
      localAddress,
      remoteAddress,
      PROTOCOL_TCP,
      header,
      headerLength,
      body1,
      length1,
      body2,
      length2,
    );
  }
}

/** One connection: the guest's endpoint and the host's socket. */
class TcpFlow implements TcpUser, HostStreamOwner {
  readonly id: number;
  /** number of the port that opened it */
  readonly owner: number;
  readonly connection: TcpConnection;
  hasRings = false;
  handle = -1;
  dirty = false;
  waiting = false;
  gather: Gather | undefined;
  onOutcome: ((outcome: GuestConnectOutcome) => unknown) | undefined;
  readonly #flows: TcpFlows;
  readonly #host: HostStreams;
  readonly #rightOfWay: RightOfWay;
  readonly #pace = new Pace();
  #established = false;
  #adopted = false;
  #readable = false;
  /** what a read leaves out is told of by itself */
  #toldWhenMore = false;
  #hostEnded = false;
  #writeShut = false;

  constructor(
    flows: TcpFlows,
    host: HostStreams,
    rightOfWay: RightOfWay,
    environment: TcpEnvironment,
    id: number,
    owner: number,
    localAddress: number,
    localPort: number,
    guest: number,
    guestPort: number,
  ) {
    this.#flows = flows;
    this.#host = host;
    this.#rightOfWay = rightOfWay;
    this.id = id;
    this.owner = owner;
    this.connection = new TcpConnection(
      environment,
      this,
      localAddress,
      localPort,
      guest,
      guestPort,
    );
  }

  // TcpUser

  onEstablished(): void {
    this.#established = true;
    this.#tell("connected");
    if (this.handle < 0) {
      // a probe: the answer is all that was wanted
      this.connection.abort();
      this.#flows.remove(this);
      return;
    }
    // a forward's socket has waited for this; a guest's own was connected first
    if (!this.#adopted) this.#adopt();
  }

  #adopt(): void {
    this.#adopted = true;
    this.#host.adopt(this.handle, this);
  }

  onPayload(start: number, length: number): boolean {
    if (this.gather === undefined) this.gather = this.#flows.takeGather();
    // one piece may need two places with what stands in the ring behind it
    return this.gather !== undefined && this.gather.room > 4 && this.gather.add(start, length);
  }

  onAbort(reason: "reset" | "timeout"): void {
    const kept = this.#tell(reason === "timeout" ? "timeout" : "refused") === "keep";
    if (this.handle >= 0 && !kept) this.#host.reset(this.handle);
    this.handle = -1;
    this.#flows.remove(this);
  }

  onClosed(): void {
    if (this.handle >= 0) this.#host.close(this.handle);
    this.handle = -1;
    this.#flows.remove(this);
  }

  #tell(outcome: GuestConnectOutcome): unknown {
    const { onOutcome } = this;
    this.onOutcome = undefined;
    return onOutcome?.(outcome);
  }

  // HostStreamOwner

  onHostConnected(now: number): void {
    this.#adopted = true;
    if (!this.#flows.takeRings(this) || !this.connection.answer(now)) {
      this.#flows.countNoRing();
      this.#host.reset(this.handle);
      this.handle = -1;
      this.connection.refuse();
      this.#flows.remove(this);
      return;
    }
    this.#flows.markDirty(this);
  }

  onHostConnectFailed(now: number, why: HostFailure): void {
    this.#host.close(this.handle);
    this.handle = -1;
    this.#flows.connectFailed(now, this, why);
  }

  onHostReadable(_now: number, isOpen = false): void {
    this.#readable = true;
    this.#toldWhenMore = isOpen;
    this.#flows.markDirty(this);
  }

  onHostWritable(): void {
    this.#flows.markDirty(this);
  }

  // one turn

  settle(now: number, readGather: Gather, budget: number): void {
    const { connection } = this;
    const guest = connection.remoteAddress;
    const streams = this.#rightOfWay.streams(now, guest);
    const yields = this.#rightOfWay.yields(now, guest, this.#pace);
    connection.maxSendSegments = segmentsOfEach(TO_GUEST, streams, yields);
    connection.maxReceiveSegments = segmentsOfEach(FROM_GUEST, streams, yields);
    connection.maxReceiveOctets = octetsOfEach(streams, this.#flows.takesLarge(connection));
    if (this.handle >= 0 && this.#established) {
      this.#push(now);
      if (this.handle >= 0 && connection.state !== "CLOSED") this.#pull(now, readGather, budget);
    }
    if (connection.state === "CLOSED") return;
    connection.output(now);
    if (connection.state === "TIME-WAIT" && this.handle >= 0) {
      this.#host.close(this.handle);
      this.handle = -1;
    }
  }

  /** guest → host */
  #push(now: number): void {
    const { connection } = this;
    if (connection.pending > 0) {
      this.gather ??= this.#flows.takeGather();
      // every gather is in use: the octets stand in the ring and wait for the next turn
      if (this.gather === undefined) {
        this.#flows.continueLater(this);
        return;
      }
      connection.listPending(this.gather);
      const taken = this.#host.write(this.handle, this.gather);
      if (taken === "again") {
        // the host is short of memory, and tells nobody when it is not any more
        connection.onTaken(now, 0, this.gather);
        this.#flows.retry(this, now);
      } else if (typeof taken === "string") {
        this.#flows.releaseGather(this);
        this.#fail();
        return;
      } else {
        connection.onTaken(now, taken, this.gather);
        if (taken > 0) this.#onMoved(now, taken);
      }
    }
    this.#flows.releaseGather(this);
    // taking the last octets may have ended the connection, and closed the socket with it
    if (connection.endOfText && !this.#writeShut && this.handle >= 0) {
      this.#writeShut = true;
      this.#host.shutdownWrite(this.handle);
    }
  }

  #onMoved(now: number, octets: number): void {
    this.#rightOfWay.onOctets(now, this.connection.remoteAddress, this.#pace, octets);
  }

  /** host → guest */
  #pull(now: number, gather: Gather, budget: number): void {
    const { connection } = this;
    let left = budget;
    while (this.#readable && !this.#hostEnded) {
      if (connection.sendRoom === 0 || connection.blocked) {
        connection.output(now);
        if (connection.sendRoom === 0 || connection.blocked) return;
      }
      if (left <= 0) {
        this.#flows.continueLater(this);
        return;
      }
      gather.clear();
      connection.listSendRoom(gather, left);
      const wanted = gather.octets;
      const got = this.#host.read(this.handle, gather);
      if (got === "again") {
        this.#readable = false;
      } else if (typeof got === "string") {
        this.#fail();
        return;
      } else if (got === 0) {
        this.#hostEnded = true;
        connection.close();
      } else {
        connection.onFilled(got);
        this.#onMoved(now, got);
        left -= got;
        if (got === wanted) connection.output(now);
        else if (this.#toldWhenMore) this.#readable = false;
      }
    }
  }

  /** the host's side broke: the guest sees a reset */
  #fail(): void {
    this.#host.close(this.handle);
    this.handle = -1;
    this.connection.abort();
    this.#flows.remove(this);
  }
}
