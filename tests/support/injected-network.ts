/**
 * A whole network as `lib/daemon/network/network.ts` puts it together, with arrays for ports, memory for the host and a number
 * for the time. The subnet is 10.0.0.0/24: gateway .1 (also an alias of the host), DNS .2, guests from .11 on.
 */
import { parseIpv4 } from "../../lib/addr/ipv4.ts";
import { Network } from "../../lib/daemon/network/network.ts";
import type { NetworkPlan } from "../../lib/daemon/network/engine-protocol.ts";
import { FRAME_HEADROOM, type BridgePort } from "../../lib/link/bridge-port.ts";
import { DhcpServer } from "../../lib/service/dhcp/server.ts";
import { OctetCount } from "../../lib/trace/octet-count.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { simdSumOctets } from "../../lib/wire/checksum-simd.ts";
import { arp, describe, ethernet, ipv4, type Arp, type Packet } from "./injected-frames.ts";
import { InjectedDatagrams, InjectedStreams } from "./injected-hosts.ts";

export const GATEWAY = "10.0.0.1";
export const DNS = "10.0.0.2";
export const GATEWAY_MAC = "5a:94:ef:e4:0c:dd";
export const ALL = "ff:ff:ff:ff:ff:ff";
/** address space; pages that are not touched cost nothing */
const MEMORY = 576 << 20;
const RECEIVE_SIZE = 256 * 1024;
/** of the scratch, as much as a turn of these tests uses */
const SCRATCH_USED = 256 * 1024;

/** Takes frames apart from memory only when it is flushed, as real ports do: until then nobody may write over them. */
export class ArrayPort implements BridgePort {
  readonly id: number;
  busy = false;
  towards: BridgePort | undefined;
  /** frames it takes before it is full */
  room = Infinity;
  takesLarge = false;
  keepsFrames = false;
  lacksChecksum = false;
  dropped = 0;
  readonly octetsOut = new OctetCount();
  readonly #octets: Uint8Array;
  readonly #listed: { pieces: number[]; frame: Uint8Array }[] = [];
  readonly #sent: Uint8Array[] = [];

  constructor(id: number, octets: Uint8Array) {
    this.id = id;
    this.#octets = octets;
  }

  #read([head, headLength, body1, length1, body2, length2]: number[]): Uint8Array {
    const octets = this.#octets;
    return new Uint8Array([
      ...octets.subarray(head, head! + headLength!),
      ...octets.subarray(body1, body1! + length1!),
      ...octets.subarray(body2, body2! + length2!),
    ]);
  }

  transmit(...pieces: number[]): boolean {
    if (this.#listed.length + this.#sent.length >= this.room) {
      this.dropped++;
      return false;
    }
    const [head] = pieces;
    // a port may write its framing there
    this.#octets.fill(0xa5, head! - FRAME_HEADROOM, head);
    const frame = this.#read(pieces);
    this.octetsOut.add(frame.length);
    this.#listed.push({ pieces, frame });
    return true;
  }

  flush(): void {
    for (const { pieces, frame } of this.#listed.splice(0)) {
      const now = this.#read(pieces);
      if (now.toHex() !== frame.toHex())
        throw new Error("a frame was written over before its flush");
      this.#sent.push(frame);
    }
  }

  /** what has come since the last call */
  take(): Uint8Array[] {
    this.flush();
    return this.#sent.splice(0);
  }

  /** the same, a line each */
  lines(): string[] {
    return this.take().map(describe);
  }
}

/** One guest: its port, its addresses, and the frames it sends. */
export class InjectedGuest {
  readonly port: ArrayPort;
  readonly mac: string;
  readonly ip: string;
  readonly #net: InjectedNetwork;

  constructor(net: InjectedNetwork, number: number) {
    this.#net = net;
    this.port = new ArrayPort(number, net.octets);
    this.mac = `52:54:00:00:00:${(10 + number).toString(16).padStart(2, "0")}`;
    this.ip = `10.0.0.${10 + number}`;
  }

  /** one frame in, and all that follows from it; what came out at this guest's port */
  send(frame: Uint8Array): string[] {
    this.#net.inject(this.port, frame);
    return this.port.lines();
  }

  sendPacket(packet: Packet, to = GATEWAY_MAC): string[] {
    return this.send(ethernet(to, this.mac, "0800", ipv4(packet)));
  }

  sendArp(fields: Partial<Arp>, to = ALL): string[] {
    const { mac: sha, ip: spa } = this;
    const packet = arp({ operation: 1, sha, spa, tpa: GATEWAY, ...fields });
    return this.send(ethernet(to, this.mac, "0806", packet));
  }
}

export class InjectedNetwork {
  now = 1_000_000;
  readonly octets: Uint8Array;
  readonly network: Network;
  readonly streams: InjectedStreams;
  readonly datagrams: InjectedDatagrams;
  readonly guests: InjectedGuest[] = [];
  /** DNS queries over UDP as the main thread would get them */
  readonly names: { query: number; name: string }[] = [];
  readonly queries: { message: Uint8Array; from: number; port: number }[] = [];
  /** lines about guests that break the link's rules */
  readonly offences: string[] = [];
  echoRefusals = 0;
  random = () => 1000;
  readonly #receive: number;
  readonly #dhcp: DhcpServer;

  constructor(plan: Partial<NetworkPlan> = {}, descriptors = 1 << 20) {
    const memory = new PacketMemory(MEMORY);
    this.octets = memory.octets;
    this.#receive = memory.reserve(RECEIVE_SIZE);
    // what comes next is the scratch: nobody may count on zeros there
    this.octets.fill(0xa5, this.#receive, this.#receive + RECEIVE_SIZE + SCRATCH_USED);
    this.streams = new InjectedStreams(memory.octets);
    this.datagrams = new InjectedDatagrams(memory.octets);
    const whole: NetworkPlan = {
      subnet: "10.0.0.0/24",
      gateway: GATEWAY,
      hostAliases: [GATEWAY],
      dns: DNS,
      gatewayMac: GATEWAY_MAC,
      mtu: 1500,
      hostAccess: "all",
      linkLocalAccess: false,
      searchDomains: [],
      leaseSeconds: 3600,
      dhcpFirst: "10.0.0.11",
      staticLeases: [],
      ...plan,
    };
    this.network = new Network({
      plan: whole,
      memory,
      sum: simdSumOctets(memory.memory),
      streams: this.streams,
      datagrams: this.datagrams,
      random: () => this.random(),
      descriptors,
      dnsTcpPath: "dns.sock",
      dhcp: {
        onPayload: (now, _packet, _port, start, end, mac, ingress) =>
          this.#onDhcp(now, start, end, mac, ingress.id),
      },
      leasedTo: (address) => this.#dhcp.leases.leasedTo(this.now, address),
      onOffence: (line) => void this.offences.push(line),
      dns: {
        onPayload: (_now, packet, port, start, end) =>
          void this.queries.push({
            message: this.octets.slice(start, end),
            from: packet.src,
            port,
          }),
      },
      flush: () => this.#flush(),
      askName: (query, name) => this.names.push({ query, name }),
      onEchoRefused: () => this.echoRefusals++,
    });
    const { plan: made } = this.network.gateway;
    this.#dhcp = new DhcpServer(
      {
        subnet: made.subnet,
        gateway: made.address,
        dns: parseIpv4(DNS)!,
        reserved: [],
        first: parseIpv4(whole.dhcpFirst!)!,
        mtu: whole.mtu,
        leaseSeconds: whole.leaseSeconds,
        domainName: undefined,
        searchDomains: [],
        staticLeases: whole.staticLeases,
        isHeldByOther: (address, port) => this.network.isHeldByOther(address, port),
      },
      [],
      this.network.counters,
    );
  }

  #onDhcp(now: number, start: number, end: number, mac: number, port: number): void {
    const reply = this.#dhcp.onMessage(now, this.octets.slice(start, end), mac, port);
    if (reply === undefined) return;
    const { address } = this.network.gateway.plan;
    this.network.sendService(now, address, 67, reply.address, 68, reply.message, reply.mac);
  }

  /** A guest that is attached and, unless it is to be a stranger, has said who it is. */
  guest(known = true): InjectedGuest {
    const guest = new InjectedGuest(this, this.guests.length + 1);
    this.guests.push(guest);
    this.network.link.attach(guest.port);
    if (known) guest.sendArp({});
    for (const { port } of this.guests) port.take();
    return guest;
  }

  /** Frames that come in one turn. */
  inject(port: ArrayPort, ...frames: Uint8Array[]): void {
    let end = this.#receive;
    for (const frame of frames) {
      const start = end + FRAME_HEADROOM;
      end = start + frame.length;
      this.octets.set(frame, start);
      this.network.onFrame(this.now, port, start, end);
    }
    this.settle();
    // what was received is written over in the next turn
    this.octets.fill(0xa5, this.#receive, end);
  }

  #flush(): void {
    for (const { port } of this.guests) port.flush();
  }

  /** what the engine does at the end of a turn */
  settle(): void {
    this.network.datagrams.settle(this.now);
    this.network.tcp.settle(this.now);
    this.#flush();
    this.network.gateway.scratch.reset();
  }

  /** further turns as long as something was left to do */
  finish(): void {
    while (this.network.hasUnfinished) {
      this.network.resume(this.now);
      this.settle();
    }
  }

  /** Lets time pass from deadline to deadline. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.network.nextDeadline();
      if (next > end) break;
      this.now = Math.max(this.now, next);
      this.network.onDeadline(this.now);
      this.settle();
    }
    this.now = end;
  }

  /** counts of a reason, 0 when there were none */
  count(reason: string): number {
    return this.network.counters.values[reason] ?? 0;
  }
}
