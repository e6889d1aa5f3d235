/**
 * A vmnet network's frames: a learning switch between the guests' ports and one uplink, the interface of the host that the
 * native library has made. What goes from guest to guest does not leave the process, and what the host sends goes to the
 * guest it is meant for alone. Where the host has no DHCP server the guests' requests are answered here, and guests keep to
 * their addresses (`lib/link/address-guard.ts`).
 */
import { monotonicMs, steadyUnixMs } from "../../host/clock.ts";
import { EventLoop } from "../../host/event-loop.ts";
import { ListeningSockets } from "../../host/listening-sockets.ts";
import { ShimInterface } from "../../host/shim.ts";
import { UplinkPort } from "../../host/uplink-port.ts";
import { VectoredIo } from "../../host/vectored-io.ts";
import { cidrContains } from "../../addr/ipv4.ts";
import { BROADCAST_MAC } from "../../addr/mac.ts";
import { AddressGuard } from "../../link/address-guard.ts";
import { FRAME_HEADROOM, type BridgePort } from "../../link/bridge-port.ts";
import { rogueDrop, typeOffset } from "../../link/rogue.ts";
import { Switch } from "../../link/switch.ts";
import { KeptPromises } from "../../service/dhcp/kept-promises.ts";
import { DhcpServer, type DhcpPlan } from "../../service/dhcp/server.ts";
import { endingBy, type Lease } from "../../service/dhcp/lease-table.ts";
import { PacketMemory } from "../../storage/packet-memory.ts";
import { Scratch } from "../../storage/scratch.ts";
import { Counters } from "../../trace/counters.ts";
import { simdSumOctets } from "../../wire/checksum-simd.ts";
import { ARP_LENGTH, ARP_REQUEST, emitArp } from "../../wire/arp.ts";
import { emitEthernet, ETHERNET_HEADER_LENGTH, ETHERTYPE_ARP } from "../../wire/ethernet.ts";
import { u16 } from "../../wire/octets.ts";
import { DhcpAnswerer } from "../../vmnet/dhcp-answerer.ts";
import { GuestPorts, type PortsEngine } from "../engine/guest-ports.ts";
import type { PortEvent } from "../engine/port-events.ts";
import type { SwitchEvent, SwitchStart, UplinkFacts } from "./switch-protocol.ts";

/** all ports at their largest, and the rings; what nobody uses takes no room */
const PACKET_MEMORY_SIZE = 256 << 20;
/** headers of frames that were cut from large ones, and answers */
const SCRATCH_SIZE = 512 << 10;

export class SwitchEngine implements PortsEngine {
  readonly loop = new EventLoop();
  readonly tell: (event: SwitchEvent | PortEvent) => void;
  readonly ports: GuestPorts;
  readonly facts: UplinkFacts;
  readonly #memory = new PacketMemory(PACKET_MEMORY_SIZE);
  readonly #counters = new Counters();
  readonly #link = new Switch(this.#memory.octets, this.#counters);
  readonly #scratch: Scratch;
  readonly #uplink: UplinkPort;
  #dhcp: { server: DhcpServer; answerer: DhcpAnswerer; guard: AddressGuard } | undefined;
  /** of this turn */
  #unixNow = steadyUnixMs();
  readonly #promises = new KeptPromises<{ port: BridgePort; frame: Uint8Array }>();

  /** Blocks until the interface is there; throws when it cannot be made. */
  constructor(start: SwitchStart, tell: (event: SwitchEvent) => void) {
    this.tell = tell;
    this.loop.onWake = () => {
      this.#unixNow = steadyUnixMs();
    };
    const listeners = new ListeningSockets(this.loop, monotonicMs);
    const io = new VectoredIo(this.#memory);
    const ports = new GuestPorts(this, this.loop, listeners, io, this.#memory);
    this.ports = ports;
    this.#scratch = new Scratch(
      this.#memory.octets,
      this.#memory.reserve(SCRATCH_SIZE),
      SCRATCH_SIZE,
      () => ports.flush(),
    );
    const shim = new ShimInterface(start, this.#memory);
    this.facts = shim.facts;
    const sum = simdSumOctets(this.#memory.memory);
    const { octets } = this.#memory;
    this.#uplink = new UplinkPort(shim, octets, sum, this.#scratch, this.#counters, {
      now: monotonicMs,
      onFrame: (now, port, from, to) => this.#link.onFrame(now, port, from, to),
      onPieces: (now, port, head, headLength, body, length) =>
        this.#link.onPieces(now, port, head, headLength, body, length),
      settle: () => this.settle(),
      receiveLater: (port) => ports.receiveLater(port),
      flushLater: (port) => ports.flushLater(port),
      portDrained: () => {},
      detach: (_port, reason) => this.tell({ type: "uplink-lost", reason }),
    });
    this.#link.attach(this.#uplink, "uplink");
    this.#link.offences.tell = (line) => this.tell({ type: "log", level: "warn", line });
    this.#uplink.watch(this.loop);
  }

  // ---------------------------------------------------------------- turns

  turn(limitMs: number): void {
    const wait = this.ports.hasUnfinished ? 0 : limitMs;
    this.loop.wait(wait === Infinity ? -1 : wait);
    this.ports.receive();
    this.settle();
  }

  now(): number {
    return monotonicMs();
  }

  /** A frame of a guest. */
  onFrame(now: number, port: BridgePort, start: number, end: number): void {
    this.#link.onFrame(now, port, start, end);
  }

  /** A guest's frame, whose source address is that guest's: true when it was DHCP's, which is then done with. */
  #answersDhcp(port: BridgePort, start: number, end: number): boolean {
    const { octets } = this.#memory;
    const answer = this.#dhcp!.answerer.onGuestFrame(this.#unixNow, octets, start, end, port.id);
    if (answer === "forward") return false;
    if (answer === "drop") return true;
    if (!this.#dhcp!.server.leases.changed) this.#send(port, answer);
    else if (!this.#promises.wait({ port, frame: answer })) this.#counters.count("dhcp-not-stored");
    return true;
  }

  leasesStored(state: number): void {
    for (const { port, frame } of this.#promises.stored(state))
      if (this.ports.has(port)) this.#send(port, frame);
  }

  #send(port: BridgePort, frame: Uint8Array): void {
    const at = this.#scratch.take(FRAME_HEADROOM + frame.length) + FRAME_HEADROOM;
    this.#memory.octets.set(frame, at);
    port.transmit(at, frame.length, 0, 0, 0, 0);
  }

  settle(): void {
    // nobody here waits for a port that is busy
    this.ports.drained = false;
    this.ports.flush();
    this.#scratch.reset();
    const leases = this.#dhcp?.server.leases;
    if (leases?.changed) {
      leases.changed = false;
      this.tell({ type: "leases-changed", leases: leases.list(), state: this.#promises.told() });
    }
  }

  connect(port: BridgePort): void {
    this.#link.attach(port);
  }

  disconnect(port: BridgePort): void {
    this.#link.detach(port);
    this.#dhcp?.guard.detach(port);
  }

  // ---------------------------------------------------------------- requests

  pin(mac: number): void {
    this.#link.pin(mac, this.#uplink);
  }

  isolate(): void {
    this.#link.isIsolated = true;
  }

  serveDhcp(plan: DhcpPlan, gatewayMac: number, leases: Lease[]): void {
    const known = endingBy(steadyUnixMs() + plan.leaseSeconds * 1000, leases);
    const { subnet, gateway } = plan;
    const guard = new AddressGuard(this.#memory.octets, this.#link, {
      isOfSubnet: (of) => cidrContains(subnet, of),
      isReserved: (of) => of === gateway || of === subnet.network || of === subnet.broadcast,
      leasedTo: (of) => server.leases.leasedTo(this.#unixNow, of),
      ask: (_now, of, holder) => this.#askFor(of, holder, gatewayMac, gateway),
    });
    const server = new DhcpServer(
      { ...plan, isHeldByOther: (of, port) => guard.isHeldByOther(of, port) },
      known,
      this.#counters,
    );
    const answerer = new DhcpAnswerer(server, gateway, gatewayMac);
    this.#dhcp = { server, answerer, guard };
    this.#link.guard = {
      admits: (now, port, start, end) =>
        port === this.#uplink ||
        (guard.admits(now, port, start, end) && !this.#answersDhcp(port, start, end)),
    };
  }

  /** In the gateway's name, at this port alone; the host gets the answer, and knows then what it would have asked itself. */
  #askFor(address: number, holder: BridgePort, gatewayMac: number, gateway: number): void {
    const { octets } = this.#memory;
    const length = ETHERNET_HEADER_LENGTH + ARP_LENGTH;
    const at = this.#scratch.take(FRAME_HEADROOM + length) + FRAME_HEADROOM;
    const packet = emitEthernet(octets, at, BROADCAST_MAC, gatewayMac, ETHERTYPE_ARP);
    emitArp(octets, packet, ARP_REQUEST, gatewayMac, gateway, 0, address);
    holder.transmit(at, length, 0, 0, 0, 0);
  }

  /** The host has a DHCP server of its own: what guests say in its place is not carried. */
  refuseDhcpServers(): void {
    const { octets } = this.#memory;
    this.#link.guard = {
      admits: (_now, port, start, end) => {
        if (port === this.#uplink) return true;
        const at = typeOffset(octets, start, end);
        const drop =
          typeof at === "string" || at < 0 ? at : rogueDrop(u16(octets, at), octets, at + 2, end);
        if (drop !== "rogue-dhcp-server") return true;
        this.#counters.count(drop);
        return false;
      },
    };
  }

  stats(): Record<string, number> {
    const uplink = Object.entries(this.#uplink.stats());
    return {
      ...this.#counters.values,
      ...this.ports.stats(),
      ...Object.fromEntries(uplink.map(([name, value]) => [`uplink-${name}`, value])),
    };
  }

  close(): void {
    this.ports.close();
    this.#uplink.stop(this.loop);
    this.loop.close();
  }
}
