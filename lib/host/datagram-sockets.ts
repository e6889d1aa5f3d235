/** The host's UDP and ICMP echo sockets for `flow/datagram-flows.ts`, each told of by the event loop. A handle is the descriptor. */
import type {
  HostDatagramOwner,
  HostDatagrams,
  HostFailure,
  Received,
  ReceivedDetails,
} from "../flow/host-sockets.ts";
import type { Gather } from "../storage/gather.ts";
import { DESTINATION_UNREACHABLE } from "../wire/icmpv4.ts";
import { random32 } from "./clock.ts";
import { openSocket } from "./descriptors.ts";
import { exchangeIdentifier, readEchoArrival } from "./echo-socket.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import type { HostAbi } from "./host-abi.ts";
import { hostFailure } from "./host-failure.ts";
import { Iovecs } from "./iovecs.ts";
import {
  abi,
  AF_INET,
  AF_INET6,
  EAGAIN,
  errnoName,
  IP_TTL,
  IPPROTO_ICMP,
  IPV6_V6ONLY,
  libc,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  orErrno,
  SO_RCVBUF,
  SOCK_DGRAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
} from "./libc.ts";
import { bindAddress, hostError, HostError } from "./listening-sockets.ts";
import { MessageHeader } from "./message-header.ts";
import { addressOf, pinned } from "./pinned.ts";
import { EDGE_TRIGGERED, FAILED, READABLE } from "./poller.ts";
import { familyOf, ipv4SocketAddress, portOfSocketAddress } from "./socket-address.ts";
import type { VectoredIo } from "./vectored-io.ts";

const ONE_AT = pinned(new Int32Array([1]));
const option = new Int32Array(1);
const OPTION_AT = pinned(option);
const OPTION_LENGTH_AT = pinned(new Uint32Array([4]));
/** room for bursts that come within one turn */
const RECEIVE_BUFFER = 1 << 20;
const DEFAULT_TTL = 64;

/** of Linux only */
const IP_RECVERR = 11;
const MSG_ERRQUEUE = 0x2000;

/** What the host says instead of an ICMP message where there is no queue of them: type 3 with these codes (RFC 792). */
const UNREACHABLE_CODES: Readonly<Record<string, number>> = {
  ENETUNREACH: 0,
  EHOSTUNREACH: 1,
  ECONNREFUSED: 3,
};

interface Socket extends EventHandler {
  errorPending: boolean;
  /** as far as is known, its way takes several datagrams with one call */
  takesTrains: boolean;
  /** the errno that a send has told and with which the error is gone from the system, where there is no queue; else 0 */
  failedWith: number;
  ttl: number;
  /** of an echo socket that the system does not keep apart from others; else -1 */
  identifier: number;
}

/** What a datagram socket's system does; tests run each on Linux. */
export type DatagramAbi = Pick<HostAbi, "hasErrorQueue" | "echoIsOwn" | "UDP_SEGMENT"> & {
  echoType: number;
};

export class DatagramSockets implements HostDatagrams {
  readonly received: ReceivedDetails = {
    length: 0,
    ttl: DEFAULT_TTL,
    peer: new Uint8Array(28),
    peerLength: 0,
    icmpType: 0,
    icmpCode: 0,
    icmpInfo: 0,
    offender: 0,
  };
  readonly #loop: EventLoop;
  readonly #io: VectoredIo;
  readonly #now: () => number;
  readonly #sockets: (Socket | undefined)[] = [];
  readonly #control = new DataView(new ArrayBuffer(256));
  readonly #iovec = new Iovecs(1);
  readonly #message = new MessageHeader();
  readonly #system: DatagramAbi;
  readonly #firstIdentifier = random32();
  #cuts: boolean | undefined;

  constructor(
    loop: EventLoop,
    io: VectoredIo,
    now: () => number,
    system: DatagramAbi = { ...abi, echoType: SOCK_DGRAM },
  ) {
    this.#loop = loop;
    this.#io = io;
    this.#now = now;
    this.#system = system;
    const { peer } = this.received;
    this.#message.setName(addressOf(peer), peer.length);
    this.#message.setIovecs(this.#iovec.at);
    this.#message.iovecCount = 1;
    this.#message.setControl(addressOf(this.#control), 0);
  }

  connectUdp(address: number, port: number, owner: HostDatagramOwner): number | HostFailure {
    return this.#connect(openSocket(AF_INET, SOCK_DGRAM), address, port, owner, -1);
  }

  connectEcho(address: number, owner: HostDatagramOwner): number | HostFailure {
    const fd = openSocket(AF_INET, this.#system.echoType, IPPROTO_ICMP);
    const identifier = this.#system.echoIsOwn ? -1 : (this.#firstIdentifier + fd) & 0xffff;
    return this.#connect(fd, address, 0, owner, identifier);
  }

  #connect(
    fd: number,
    address: number,
    port: number,
    owner: HostDatagramOwner,
    identifier: number,
  ): number | HostFailure {
    if (fd < 0) return hostFailure(fd);
    if (this.#system.hasErrorQueue) libc.setsockopt(fd, SOL_IP, IP_RECVERR, ONE_AT, 4);
    const target = ipv4SocketAddress(address, port);
    const result = orErrno(libc.connect(fd, target, target.length));
    if (result < 0) {
      libc.close(fd);
      return hostFailure(result);
    }
    this.#watch(fd, owner, identifier);
    return fd;
  }

  /** Throws HostError, which a person gets to read. */
  bindUdp(host: string, port: number, owner: HostDatagramOwner): { handle: number; port: number } {
    const what = `UDP ${host === "" ? "*" : host}:${port}`;
    const address = bindAddress(host, port);
    if (address === undefined)
      throw new HostError("EINVAL", `Cannot listen on ${what}: not an IP address`);
    const family = address.length === 28 ? AF_INET6 : AF_INET;
    const fd = openSocket(family, SOCK_DGRAM);
    if (fd < 0) throw hostError("open a socket for", what, fd);
    // as with TCP: "" means both families, a literal IPv6 address itself alone
    option[0] = host === "" ? 0 : 1;
    if (family === AF_INET6) libc.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, OPTION_AT, 4);
    const result = orErrno(libc.bind(fd, address, address.length));
    if (result < 0) {
      libc.close(fd);
      throw hostError("listen on", what, result);
    }
    const length = new Uint32Array([address.length]);
    libc.getsockname(fd, address, length);
    this.#watch(fd, owner, -1);
    return { handle: fd, port: portOfSocketAddress(address) };
  }

  #watch(fd: number, owner: HostDatagramOwner, identifier: number): void {
    option[0] = RECEIVE_BUFFER;
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, OPTION_AT, 4);
    const socket: Socket = {
      errorPending: false,
      takesTrains: true,
      failedWith: 0,
      ttl: DEFAULT_TTL,
      identifier,
      onEvents: (events) => {
        if (events & FAILED) socket.errorPending = true;
        owner.onHostReadable(this.#now());
      },
    };
    this.#sockets[fd] = socket;
    this.#loop.add(fd, READABLE | EDGE_TRIGGERED, socket);
  }

  send(handle: number, start: number, length: number, ttl: number): HostFailure | undefined {
    const socket = this.#sockets[handle];
    if (socket === undefined) return "failed";
    this.#setTtl(handle, socket, ttl);
    const sent = this.#sendOwn(handle, start, length, socket.identifier);
    return sent >= 0 ? undefined : this.#failure(socket, sent);
  }

  sendTrain(handle: number, from: Gather, length: number, ttl: number): boolean {
    const socket = this.#sockets[handle];
    if (!socket?.takesTrains || !this.#cutsTrains(handle)) return false;
    this.#setTtl(handle, socket, ttl);
    const sent = this.#io.sendTrain(handle, from, length);
    if (sent >= 0) return true;
    // as where the way takes smaller packets only, or its card makes no checksums
    if (this.#failure(socket, sent) === "failed") socket.takesTrains = false;
    return false;
  }

  /** Asked of the first UDP socket: a system that did not know of trains would send one as a single datagram. */
  #cutsTrains(handle: number): boolean {
    const { UDP_SEGMENT } = this.#system;
    this.#cuts ??=
      UDP_SEGMENT !== 0 &&
      libc.getsockopt(handle, SOL_UDP, UDP_SEGMENT, OPTION_AT, OPTION_LENGTH_AT) === 0;
    return this.#cuts;
  }

  #setTtl(handle: number, socket: Socket, ttl: number): void {
    if (socket.ttl === ttl) return;
    socket.ttl = ttl;
    option[0] = ttl;
    libc.setsockopt(handle, SOL_IP, IP_TTL, OPTION_AT, 4);
  }

  #failure(socket: Socket, sent: number): HostFailure {
    const failure = hostFailure(sent);
    if (failure === "refused") {
      socket.errorPending = true;
      socket.failedWith = sent;
    }
    return failure;
  }

  /** An echo request leaves with the socket's own identifier, where there is one, and keeps the guest's. */
  #sendOwn(handle: number, start: number, length: number, identifier: number): number {
    if (identifier < 0 || length < 8) return this.#io.sendPiece(handle, start, length);
    const { octets } = this.#io;
    const before = exchangeIdentifier(octets, start, identifier);
    const sent = this.#io.sendPiece(handle, start, length);
    exchangeIdentifier(octets, start, before);
    return sent;
  }

  sendTo(handle: number, start: number, length: number, peer: Uint8Array): HostFailure | undefined {
    const at = (this.#io.base + start) as never;
    const sent = orErrno(
      libc.sendto(handle, at, length, MSG_NOSIGNAL | MSG_DONTWAIT, peer, peer.length),
    );
    return sent >= 0 ? undefined : hostFailure(sent);
  }

  receive(handle: number, start: number, room: number): Received {
    const socket = this.#sockets[handle];
    this.#iovec.set(0, this.#io.base + start, room);
    if (socket?.errorPending && this.#receiveError(handle, socket)) return "error";
    for (;;) {
      this.#message.nameLength = this.received.peer.length;
      this.#message.controlLength = 0;
      const got = orErrno(libc.recvmsg(handle, this.#message.at, MSG_DONTWAIT));
      if (got < 0) {
        if (got === -EAGAIN || socket === undefined) return "nothing";
        socket.errorPending = true;
        socket.failedWith = got;
        return this.#receiveError(handle, socket) ? "error" : "nothing";
      }
      this.received.length = got;
      this.received.peerLength = this.#message.nameLength;
      const identifier = socket?.identifier ?? -1;
      if (identifier < 0) return "datagram";
      const kind = this.#receiveEcho(start, start + got, identifier);
      if (kind !== "nothing") return kind;
    }
  }

  /** What an echo socket that hears others, too, has got. */
  #receiveEcho(start: number, end: number, identifier: number): Received {
    const { octets } = this.#io;
    const arrival = readEchoArrival(octets, start, end, identifier);
    if (arrival.kind === "foreign") return "nothing";
    octets.copyWithin(start, arrival.at, end);
    const { received } = this;
    received.length = end - arrival.at;
    if (arrival.kind === "reply") {
      received.ttl = arrival.ttl;
      return "datagram";
    }
    received.icmpType = arrival.type;
    received.icmpCode = arrival.code;
    received.icmpInfo = arrival.info;
    received.offender = arrival.from;
    return "error";
  }

  #receiveError(handle: number, socket: Socket): boolean {
    if (this.#system.hasErrorQueue) return this.#receiveQueued(handle, socket);
    const code = UNREACHABLE_CODES[errnoName(socket.failedWith)];
    socket.errorPending = false;
    socket.failedWith = 0;
    if (code === undefined) return false;
    const { received } = this;
    received.length = 0;
    received.icmpType = DESTINATION_UNREACHABLE;
    received.icmpCode = code;
    received.icmpInfo = 0;
    received.offender = 0;
    return true;
  }

  /** ip(7), IP_RECVERR: struct sock_extended_err in a control message, the offender's address behind it; data as sent */
  #receiveQueued(handle: number, socket: Socket): boolean {
    const control = this.#control;
    this.#message.nameLength = this.received.peer.length;
    this.#message.controlLength = control.byteLength;
    const got = orErrno(libc.recvmsg(handle, this.#message.at, MSG_ERRQUEUE | MSG_DONTWAIT));
    if (got < 0 || this.#message.controlLength < 16 + 16) {
      socket.errorPending = false;
      return false;
    }
    const { received } = this;
    const SO_EE_ORIGIN_ICMP = 2;
    const fromNetwork = control.getUint8(16 + 4) === SO_EE_ORIGIN_ICMP;
    if (!fromNetwork) return this.#receiveQueued(handle, socket);
    received.length = got;
    received.icmpType = control.getUint8(16 + 5);
    received.icmpCode = control.getUint8(16 + 6);
    received.icmpInfo = control.getUint32(16 + 8, true);
    received.offender = familyOf(control, 32) === AF_INET ? control.getUint32(36) : 0;
    return true;
  }

  close(handle: number): void {
    this.#sockets[handle] = undefined;
    this.#loop.remove(handle);
    libc.close(handle);
  }
}
