/**
 * A network on real sockets: the pure `Network`, the host's sockets, the guests' ports, and the turns of the loop that
 * drives them. One turn: wait for events, let each handler take in what came, settle (writes to the host, segments to
 * the guests), flush the ports, run what is due.
 */
import { formatIpv4, parseCidr, parseIpv4 } from "../../addr/ipv4.ts";
import { formatMac, parseMac } from "../../addr/mac.ts";
import { formatEndpoint, parseEndpoint } from "../../addr/endpoint.ts";
import type { UdpService } from "../../flow/datagram-flows.ts";
import type { GuestConnectOutcome } from "../../flow/tcp-flows.ts";
import { monotonicMs, random32, steadyUnixMs } from "../../host/clock.ts";
import { descriptorLimit } from "../../host/descriptors.ts";
import { HostError } from "../../host/listening-sockets.ts";
import { FrameCapture } from "../../host/frame-capture.ts";
import { pageRelease } from "../../host/packet-pages.ts";
import type { LargeFrames } from "../../host/vhost-port.ts";
import type { BridgePort } from "../../link/bridge-port.ts";
import { Segmenter } from "../../link/segmentation.ts";
import { KeptPromises } from "../../service/dhcp/kept-promises.ts";
import { DhcpServer, type DhcpReply } from "../../service/dhcp/server.ts";
import { endingBy } from "../../service/dhcp/lease-table.ts";
import { FairShare } from "../../storage/fair-share.ts";
import { PacketMemory } from "../../storage/packet-memory.ts";
import { simdSumOctets } from "../../wire/checksum-simd.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "../../wire/dhcpv4.ts";
import type { PortsEngine } from "../engine/guest-ports.ts";
import type { EngineHost, EngineLoop, EnginePorts, OpenHost } from "./engine-host.ts";
import type { EngineEvent, EngineStart, Forward, Lease, Transport } from "./engine-protocol.ts";
import { Network, PACKET_MEMORY_SIZE } from "./network.ts";

/** times that senders who wait for a port are asked again in one turn */
const MAX_ROUNDS = 8;
/** DNS queries waiting for the main thread */
const MAX_QUERIES = 1024;
/** octets of a turn in which a guest streams: acknowledgements and messages are as many frames, and have less */
const STREAM_TURN_OCTETS = 32 * 1024;
/** frames of such a turn, if they are not large */
const STREAM_TURN_FRAMES = 32;

interface OpenForward {
  forward: Forward;
  close(): void;
}

interface PendingQuery {
  guest: number;
  guestPort: number;
  /** number of the switch's port that it came in at */
  port: number;
}

export class NetworkEngine<Loop extends EngineLoop> implements PortsEngine {
  readonly loop: Loop;
  readonly tell: (event: EngineEvent) => void;
  readonly ports: EnginePorts;
  readonly largeFrames: LargeFrames;
  readonly #memory = new PacketMemory(PACKET_MEMORY_SIZE);
  readonly #releasePages = pageRelease(this.#memory);
  readonly #listeners: EngineHost<Loop>["listeners"];
  readonly #network: Network;
  readonly #dhcp: DhcpServer;
  readonly #promises = new KeptPromises<DhcpReply>();
  readonly #dnsAddress: number;
  readonly #forwards = new Map<string, OpenForward>();
  readonly #proxies: number[] = [];
  readonly #queries = new Map<number, PendingQuery>();
  readonly #queryPlaces = new FairShare(MAX_QUERIES);
  #nextQuery = 0;
  /** of guests, in this turn */
  #framesIn = 0;
  #octetsIn = 0;
  #now = monotonicMs();
  #probes: { at: number; end(): void }[] = [];

  constructor(start: EngineStart, tell: (event: EngineEvent) => void, openHost: OpenHost<Loop>) {
    this.tell = tell;
    const { loop, streams, datagrams, listeners, ports } = openHost(this, this.#memory);
    this.loop = loop;
    this.ports = ports;
    this.#listeners = listeners;
    loop.onWake = (now) => {
      this.#now = now;
    };
    const { plan } = start;
    const subnet = parseCidr(plan.subnet)!;
    this.#dnsAddress = parseIpv4(plan.dns)!;
    const sum = simdSumOctets(this.#memory.memory);
    this.#network = new Network({
      plan,
      memory: this.#memory,
      sum,
      streams,
      datagrams,
      random: random32,
      descriptors: descriptorLimit(),
      dnsTcpPath: start.dnsTcpPath,
      dhcp: this.#dhcpService(),
      dns: this.#dnsService(),
      leasedTo: (address) => this.#dhcp.leases.leasedTo(steadyUnixMs(), address),
      onOffence: (line) => this.#log("warn", line),
      askName: (query, name) => this.tell({ type: "name-query", query, name }),
      flush: () => this.ports.flush(),
      onEchoRefused: () =>
        this.#log(
          "warn",
          "ping to the outside is not carried: the host allows this user no ping sockets (sysctl net.ipv4.ping_group_range)",
        ),
    });
    const gatewayMac = parseMac(plan.gatewayMac)!;
    this.largeFrames = {
      segmenter: new Segmenter(this.#memory.octets, sum, this.#network.gateway.scratch),
      sum,
      counters: this.#network.counters,
      mtu: plan.mtu,
      gatewayMac,
      isObserved: () => this.#network.gateway.isObserved,
      takesLarge: (mac) =>
        mac === gatewayMac || this.#network.link.portOf(mac)?.takesLarge === true,
      onPieces: (at, port, head, headLength, body, length) => {
        this.#countIn(headLength + length);
        this.#network.link.onPieces(at, port, head, headLength, body, length);
      },
    };
    this.#dhcp = new DhcpServer(
      {
        subnet,
        gateway: parseIpv4(plan.gateway)!,
        dns: this.#dnsAddress,
        reserved: plan.hostAliases.map((alias) => parseIpv4(alias)!),
        first: plan.dhcpFirst === undefined ? subnet.network + 1 : parseIpv4(plan.dhcpFirst)!,
        mtu: plan.mtu,
        leaseSeconds: plan.leaseSeconds,
        domainName: plan.domainName,
        searchDomains: plan.searchDomains,
        staticLeases: plan.staticLeases,
        isHeldByOther: (address, port) => this.#network.isHeldByOther(address, port),
      },
      endingBy(steadyUnixMs() + plan.leaseSeconds * 1000, start.leases),
      this.#network.counters,
    );
    if (start.capture !== undefined) this.capture(start.capture);
  }

  #log(level: "error" | "warn" | "info" | "debug", line: string): void {
    this.tell({ type: "log", level, line });
  }

  // ---------------------------------------------------------------- turns

  /** One turn; waits at most `limitMs` for something to happen (Infinity: as long as it takes). */
  turn(limitMs: number): void {
    const next = Math.min(
      this.#network.nextDeadline(),
      this.#nextProbe(),
      this.ports.nextDeadline(),
    );
    const due = next - monotonicMs();
    const idle = !this.ports.hasUnfinished && !this.#network.hasUnfinished;
    const wait = idle ? Math.min(limitMs, due) : 0;
    // of a guest's stream, its ends and whoever fills the guest's socket wait for a processor as a rule: once they had theirs
    // there is more to take at once, and nobody needs to wake us; of large frames there is more at once anyway
    const isStream = this.#octetsIn >= STREAM_TURN_OCTETS && this.#framesIn >= STREAM_TURN_FRAMES;
    if (wait !== 0 && isStream) this.loop.giveWay();
    this.#framesIn = 0;
    this.#octetsIn = 0;
    this.loop.wait(wait === Infinity ? -1 : wait <= 0 ? 0 : Math.ceil(wait) | 0);
    this.ports.receive();
    this.#network.resume(this.#now);
    if (this.#network.nextDeadline() <= this.#now) this.#network.onDeadline(this.#now);
    if (this.#probes.length > 0) this.#endProbes();
    this.settle();
  }

  rest(): void {
    this.#network.releaseFree(this.#releasePages);
  }

  now(): number {
    return this.#now;
  }

  onFrame(now: number, port: BridgePort, start: number, end: number): void {
    this.#countIn(end - start);
    this.#network.onFrame(now, port, start, end);
  }

  #countIn(octets: number): void {
    this.#framesIn++;
    this.#octetsIn += octets;
  }

  heldUntil(port: BridgePort): number {
    return this.#network.link.heldUntil(this.#now, port);
  }

  settle(): void {
    const { tcp, datagrams } = this.#network;
    datagrams.settle(this.#now);
    // what still waits after the last round is taken up by the next turn, which then does not sleep
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (this.ports.drained) {
        this.ports.drained = false;
        tcp.onPortsDrained();
        datagrams.onPortsDrained();
      }
      tcp.settle(this.#now);
      this.ports.flush();
      if (!this.ports.drained) break;
    }
    this.#network.gateway.scratch.reset();
    if (this.#dhcp.leases.changed) {
      this.#dhcp.leases.changed = false;
      const leases = this.#dhcp.leases.list();
      this.tell({ type: "leases-changed", leases, state: this.#promises.told() });
    }
  }

  connect(port: BridgePort): void {
    this.#network.link.attach(port);
  }

  disconnect(port: BridgePort): void {
    this.#network.detach(port);
  }

  // ---------------------------------------------------------------- services

  #dhcpService(): UdpService {
    return {
      onPayload: (now, _packet, _srcPort, start, end, sourceMac, ingress) => {
        const reply = this.#dhcp.onMessage(
          steadyUnixMs(),
          this.#memory.octets.slice(start, end),
          sourceMac,
          ingress.id,
        );
        if (reply === undefined) return;
        if (!this.#dhcp.leases.changed) this.#answerDhcp(now, reply);
        else if (!this.#promises.wait(reply)) this.#network.counters.count("dhcp-not-stored");
      },
    };
  }

  #answerDhcp(now: number, { message, address, mac }: DhcpReply): void {
    const { address: gateway } = this.#network.gateway.plan;
    this.#network.sendService(
      now,
      gateway,
      DHCP_SERVER_PORT,
      address,
      DHCP_CLIENT_PORT,
      message,
      mac,
    );
  }

  leasesStored(state: number): void {
    this.#now = monotonicMs();
    for (const reply of this.#promises.stored(state)) this.#answerDhcp(this.#now, reply);
  }

  #dnsService(): UdpService {
    return {
      onPayload: (_now, packet, srcPort, start, end, _mac, { id: port }) => {
        if (!this.#queryPlaces.take(port)) {
          this.#network.counters.count("dns-queries-full");
          return;
        }
        const query = this.#nextQuery++;
        this.#queries.set(query, { guest: packet.src, guestPort: srcPort, port });
        const message = this.#memory.octets.slice(start, end);
        this.tell({
          type: "dns-query",
          query,
          message,
          client: `${formatIpv4(packet.src)} ${srcPort}`,
        });
      },
    };
  }

  answerDns(query: number, message: Uint8Array | undefined): void {
    const pending = this.#queries.get(query);
    if (pending === undefined) return;
    this.#queries.delete(query);
    this.#queryPlaces.give(pending.port);
    if (message === undefined) return;
    this.#now = monotonicMs();
    this.#network.sendService(
      this.#now,
      this.#dnsAddress,
      53,
      pending.guest,
      pending.guestPort,
      message,
    );
  }

  // ---------------------------------------------------------------- forwards

  /** Throws HostError. */
  expose(forward: Forward): string {
    const { local, remote, protocol } = forward;
    const key = `${protocol} ${local}`;
    if (this.#forwards.has(key)) throw new HostError("EEXIST", "proxy already running");
    const to = this.#guestEndpoint(remote);
    const owner = {
      onAccept: (now: number, fd: number) =>
        void this.#network.tcp.connectToGuest(now, fd, to.address, to.port),
    };
    if (protocol === "unix") {
      const handle = this.#listeners.listenUnix(local, owner);
      this.#forwards.set(key, { forward, close: () => this.#listeners.close(handle) });
      return local;
    }
    const from = parseEndpoint(local);
    if (from === undefined)
      throw new HostError("EINVAL", `Cannot forward ${local}: not of the form IP:PORT`);
    if (protocol === "tcp") {
      const { handle, port } = this.#listeners.listenTcp(from.host, from.port, owner);
      const bound = formatEndpoint({ host: from.host, port });
      const open = { ...forward, local: bound };
      this.#forwards.set(`tcp ${bound}`, {
        forward: open,
        close: () => this.#listeners.close(handle),
      });
      return bound;
    }
    const opened = this.#network.datagrams.openForward(from.host, from.port, to.address, to.port);
    const bound = formatEndpoint({ host: from.host, port: opened.port });
    this.#forwards.set(`udp ${bound}`, {
      forward: { ...forward, local: bound },
      close: () => this.#network.datagrams.closeForward(opened),
    });
    return bound;
  }

  /** Serves the SOCKS proxy on a port of 127.0.0.1 (0: any that is free); the port. Throws HostError. */
  socks(port: number): number {
    const bound = this.#listeners.listenTcp("127.0.0.1", port, {
      onAccept: (now, fd) => this.#network.socks.onAccept(now, fd),
    });
    this.#proxies.push(bound.handle);
    return bound.port;
  }

  answerName(query: number, address: string | undefined): void {
    this.#now = monotonicMs();
    const found = address === undefined ? undefined : parseIpv4(address);
    this.#network.socks.onName(this.#now, query, found);
  }

  unexpose(local: string, protocol: Transport): void {
    const key = `${protocol} ${local}`;
    const open = this.#forwards.get(key);
    if (open === undefined) throw new HostError("ENOENT", "proxy not found");
    this.#forwards.delete(key);
    open.close();
  }

  forwards(): Forward[] {
    return [...this.#forwards.values()].map((open) => open.forward);
  }

  #guestEndpoint(text: string): { address: number; port: number } {
    const endpoint = parseEndpoint(text);
    const address = endpoint === undefined ? undefined : parseIpv4(endpoint.host);
    if (endpoint === undefined || address === undefined || endpoint.port === 0) {
      throw new HostError("EINVAL", `Cannot reach ${text}: not of the form IPv4:PORT`);
    }
    return { address, port: endpoint.port };
  }

  /** Makes a connected stream socket lead to a guest's port. */
  tunnel(fd: number, ip: string, port: number): void {
    const to = this.#guestEndpoint(`${ip}:${port}`);
    this.#now = monotonicMs();
    this.#network.tcp.connectToGuest(this.#now, fd, to.address, to.port);
  }

  probe(
    ip: string,
    port: number,
    timeoutMs: number,
    done: (outcome: GuestConnectOutcome) => void,
  ): void {
    const to = this.#guestEndpoint(`${ip}:${port}`);
    this.#now = monotonicMs();
    let open = true;
    const end = (outcome: GuestConnectOutcome) => {
      if (open) done(outcome);
      open = false;
    };
    this.#probes.push({ at: this.#now + timeoutMs, end: () => end("timeout") });
    this.#network.tcp.connectToGuest(this.#now, -1, to.address, to.port, end);
  }

  #nextProbe(): number {
    let next = Infinity;
    for (const probe of this.#probes) next = Math.min(next, probe.at);
    return next;
  }

  #endProbes(): void {
    for (const probe of this.#probes) if (probe.at <= this.#now) probe.end();
    this.#probes = this.#probes.filter((probe) => probe.at > this.#now);
  }

  // ---------------------------------------------------------------- views

  /** those in force; the table remembers more, for clients that come back */
  leases(): Lease[] {
    const now = steadyUnixMs();
    return this.#dhcp.leases.list().filter(({ expiresAt = Infinity }) => expiresAt > now);
  }

  cam(): Record<string, number> {
    const table: Record<string, number> = {};
    for (const [mac, port] of this.#network.link.addresses()) table[formatMac(mac)] = port.id;
    return table;
  }

  stats(): Record<string, number> {
    return {
      ...this.#network.counters.values,
      ...this.ports.stats(),
      tcpFlows: this.#network.tcp.size,
      datagramFlows: this.#network.datagrams.size,
      socksConnections: this.#network.socks.size,
    };
  }

  /** Starts or (null) ends putting all frames of the guests into a capture's ring. */
  capture(into: SharedArrayBuffer | null): void {
    if (into === null) {
      this.#network.link.observer = undefined;
      return;
    }
    const wake = () => this.tell({ type: "frames-captured" });
    const capture = new FrameCapture(into, this.#memory.octets, wake);
    this.#network.link.observer = (head, headLength, body1, length1, body2, length2) =>
      capture.add(head, headLength, body1, length1, body2, length2);
  }

  close(): void {
    for (const open of this.#forwards.values()) open.close();
    this.#network.socks.closeAll();
    this.#network.tcp.closeAll();
    this.#network.datagrams.closeAll();
    this.ports.close();
    for (const handle of this.#proxies) this.#listeners.close(handle);
    this.loop.close();
  }
}
