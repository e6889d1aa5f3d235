/**
 * One user-mode network put together: switch, gateway, flows, DHCP and DNS, over the sockets it is given. Pure: time
 * comes in with every call, the host through interfaces.
 */
import {
  cidrContains,
  isLoopback,
  isMulticast,
  isReserved,
  LIMITED_BROADCAST,
  LOOPBACK,
  parseCidr,
  parseIpv4,
} from "../../addr/ipv4.ts";
import { parseMac } from "../../addr/mac.ts";
import { allowsPort } from "../../config/host-access.ts";
import type { HostDatagrams, HostStreams, Random32 } from "../../flow/host-sockets.ts";
import { DatagramFlows, type UdpService, type UdpTarget } from "../../flow/datagram-flows.ts";
import { SocksProxy, type SocksRoute } from "../../flow/socks-proxy.ts";
import { TcpFlows, type TcpTranslate } from "../../flow/tcp-flows.ts";
import { AddressGuard } from "../../link/address-guard.ts";
import type { BridgePort } from "../../link/bridge-port.ts";
import { Switch } from "../../link/switch.ts";
import { Gateway, LOWER_HEADERS } from "../../stack/gateway.ts";
import { Reassembler } from "../../stack/reassembly.ts";
import { BlockPool } from "../../storage/block-pool.ts";
import type { PacketMemory } from "../../storage/packet-memory.ts";
import { Scratch } from "../../storage/scratch.ts";
import type { RingPools } from "../../tcp/stream-ring.ts";
import { Counters } from "../../trace/counters.ts";
import type { SumOctets } from "../../wire/checksum.ts";
import { DHCP_SERVER_PORT } from "../../wire/dhcpv4.ts";
import { PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { emitUdp, UDP_HEADER_LENGTH } from "../../wire/udp.ts";
import type { NetworkPlan } from "./engine-protocol.ts";

export const PACKET_MEMORY_SIZE = 768 << 20;
const SCRATCH_SIZE = 2 << 20;
const SMALL_RING = 32 * 1024;
const SMALL_RINGS = 8192;
const LARGE_RING = 1024 * 1024;
const LARGE_RINGS = 256;
const DNS_PORT = 53;
/** ports, listeners, DNS and files; half of the others is for TCP, an eighth each for UDP and ping, the rest for what comes from the host */
const OWN_DESCRIPTORS = 256;

/** what is counted beside the layers' own drops */
export type NetworkCounter = "host-access-refused";

export interface NetworkOptions {
  plan: NetworkPlan;
  memory: PacketMemory;
  sum: SumOctets;
  streams: HostStreams;
  datagrams: HostDatagrams;
  random: Random32;
  /** unix socket of the DNS responder for queries over TCP */
  dnsTcpPath: string;
  /** files and sockets that the process may have open */
  descriptors: number;
  /** serves UDP port 67 */
  dhcp: UdpService;
  /** hardware address of the lease in force of an address */
  leasedTo(address: number): number | undefined;
  /** a guest breaks the rules of the link; a line for people */
  onOffence(line: string): void;
  /** serves UDP port 53 of the DNS address */
  dns: UdpService;
  /** asks the main thread for the address of a name that a SOCKS client wants to reach */
  askName(query: number, name: string): void;
  /** writes out all that the ports have listed */
  flush(): void;
  onEchoRefused(): void;
}

export class Network {
  readonly counters = new Counters();
  readonly link: Switch;
  readonly gateway: Gateway;
  readonly tcp: TcpFlows;
  readonly datagrams: DatagramFlows;
  readonly socks: SocksProxy;
  readonly #pools: RingPools;
  readonly #guard: AddressGuard;

  constructor(options: NetworkOptions) {
    const { plan, memory, sum, random } = options;
    const subnet = parseCidr(plan.subnet)!;
    const address = parseIpv4(plan.gateway)!;
    const dns = parseIpv4(plan.dns)!;
    const aliases = new Set(plan.hostAliases.map((alias) => parseIpv4(alias)!));
    const mac = parseMac(plan.gatewayMac)!;
    const { octets } = memory;
    const scratch = new Scratch(octets, memory.reserve(SCRATCH_SIZE), SCRATCH_SIZE, () =>
      options.flush(),
    );
    this.link = new Switch(octets, this.counters);
    this.gateway = new Gateway(
      {
        subnet,
        address,
        aliases: [...aliases, dns],
        mac,
        mtu: plan.mtu,
        linkLocalAccess: plan.linkLocalAccess,
      },
      octets,
      sum,
      scratch,
      this.link,
      new Reassembler(memory, this.counters),
      this.counters,
    );
    this.link.offences.tell = (line) => options.onOffence(line);
    this.#guard = new AddressGuard(octets, this.link, {
      isOfSubnet: (of) => cidrContains(subnet, of),
      isReserved: (of) =>
        this.gateway.isOwn(of) || of === subnet.network || of === subnet.broadcast,
      leasedTo: (of) => options.leasedTo(of),
      ask: (now, of) => this.gateway.askFor(now, of),
    });
    this.link.guard = this.#guard;
    const pools = (this.#pools = {
      octets,
      small: new BlockPool(memory, SMALL_RING, SMALL_RINGS),
      large: new BlockPool(memory, LARGE_RING, LARGE_RINGS),
    });
    const isRefused = (port: number): boolean => {
      if (allowsPort(plan.hostAccess, port)) return false;
      this.counters.count("host-access-refused" satisfies NetworkCounter);
      return true;
    };
    const sockets = options.descriptors - OWN_DESCRIPTORS;
    const translateTcp: TcpTranslate = (to, port) => {
      if (to === dns && port === DNS_PORT) return { kind: "unix", path: options.dnsTcpPath };
      if (aliases.has(to))
        return isRefused(port) ? undefined : { kind: "ipv4", address: LOOPBACK, port };
      return this.gateway.isOwn(to) ? undefined : { kind: "ipv4", address: to, port };
    };
    this.tcp = new TcpFlows(
      this.gateway,
      options.streams,
      pools,
      translateTcp,
      random,
      sockets / 2,
      memory.view,
    );
    const translate = (to: number, port: number): UdpTarget => {
      if (port === DHCP_SERVER_PORT && (this.gateway.isOwn(to) || to === LIMITED_BROADCAST)) {
        return { kind: "service", handler: options.dhcp };
      }
      if (to === dns && port === DNS_PORT) return { kind: "service", handler: options.dns };
      if (aliases.has(to))
        return isRefused(port) ? { kind: "refuse" } : { kind: "host", address: LOOPBACK, port };
      const notHost = this.gateway.isOwn(to) || to === LIMITED_BROADCAST || to === subnet.broadcast;
      return notHost ? { kind: "refuse" } : { kind: "host", address: to, port };
    };
    this.datagrams = new DatagramFlows(
      this.gateway,
      options.datagrams,
      translate,
      random,
      sockets / 8,
      () => options.onEchoRefused(),
    );
    this.socks = new SocksProxy({
      octets,
      pool: pools.small,
      host: options.streams,
      counters: this.counters,
      // as a guest's connection would be led, and nowhere else
      route: (to, port): SocksRoute => {
        if (cidrContains(subnet, to) && !this.gateway.isOwn(to))
          return to === subnet.network || to === subnet.broadcast
            ? { kind: "none" }
            : { kind: "guest" };
        const isNowhere =
          isLoopback(to) || this.gateway.isRefused(to) || isMulticast(to) || isReserved(to);
        const target = isNowhere ? undefined : translateTcp(to, port);
        return target === undefined ? { kind: "none" } : { kind: "host", target };
      },
      connectToGuest: (now, handle, to, port, onOutcome) =>
        this.tcp.connectToGuest(now, handle, to, port, onOutcome),
      askName: (query, name) => options.askName(query, name),
    });
    this.link.connectGateway(this.gateway, mac);
    this.gateway.connect({
      tcp: this.tcp,
      udp: this.datagrams.udp,
      echo: this.datagrams.echo,
      onNeighbor: (now, neighbor) => this.tcp.onNeighbor(now, neighbor),
    });
  }

  /** A guest's card has gone, and the guests behind it with their connections. */
  detach(port: BridgePort): void {
    const macs = new Set<number>();
    for (const [mac, at] of this.link.addresses()) if (at === port) macs.add(mac);
    this.link.detach(port);
    this.#guard.detach(port);
    for (const address of this.gateway.forgetNeighbors(macs)) this.tcp.loseGuest(address);
    this.datagrams.onPortsDrained();
  }

  /** A guest other than the one at this port uses the address. */
  isHeldByOther(address: number, port: number): boolean {
    return this.#guard.isHeldByOther(address, port);
  }

  onFrame(now: number, port: BridgePort, start: number, end: number): void {
    if (this.tcp.onFollowing(now, port, start, end)) return;
    this.link.onFrame(now, port, start, end);
    // an observer is to see all frames
    if (this.link.observer === undefined) this.tcp.lead(port, start);
  }

  /** Sends a UDP payload of a service to a guest; `mac` where the guest may have no address yet. */
  sendService(
    now: number,
    src: number,
    srcPort: number,
    dst: number,
    dstPort: number,
    payload: Uint8Array,
    mac?: number,
  ): void {
    const { gateway } = this;
    const at =
      gateway.scratch.take(LOWER_HEADERS + UDP_HEADER_LENGTH + payload.length) + LOWER_HEADERS;
    gateway.octets.set(payload, at + UDP_HEADER_LENGTH);
    emitUdp(gateway.octets, at, src, dst, srcPort, dstPort, payload.length, gateway.sum);
    const length = UDP_HEADER_LENGTH + payload.length;
    if (mac === undefined) gateway.sendDatagram(now, src, dst, PROTOCOL_UDP, at, length, 64);
    else gateway.sendDatagramTo(mac, src, dst, PROTOCOL_UDP, at, length);
  }

  /** Tells of the packet memory that has been used and is free now. */
  releaseFree(release: (offset: number, length: number) => void): void {
    this.#pools.small.releaseFree(release);
    this.#pools.large.releaseFree(release);
  }

  nextDeadline(): number {
    return Math.min(
      this.tcp.nextDeadline(),
      this.datagrams.nextDeadline(),
      this.socks.nextDeadline(),
    );
  }

  onDeadline(now: number): void {
    this.tcp.onDeadline(now);
    this.datagrams.onDeadline(now);
    this.socks.onDeadline(now);
  }

  /** something is left to do in the next turn */
  get hasUnfinished(): boolean {
    return this.tcp.hasUnfinished || this.datagrams.hasUnfinished || this.socks.hasUnfinished;
  }

  /** Takes up what the last turn left. */
  resume(now: number): void {
    this.tcp.resume();
    this.datagrams.resume(now);
    this.socks.resume();
  }
}
