/** The host's UDP and ICMP echo sockets for `flow/datagram-flows.ts`, on epoll. A handle is the descriptor. */
import { ptr } from "bun:ffi";
import type {
  HostDatagramOwner,
  HostDatagrams,
  HostFailure,
  Received,
  ReceivedDetails,
} from "../flow/host-sockets.ts";
import { EDGE_TRIGGERED, type EventHandler, type EventLoop } from "./event-loop.ts";
import { hostFailure } from "./host-failure.ts";
import {
  AF_INET,
  AF_INET6,
  EAGAIN,
  EPOLLERR,
  EPOLLIN,
  IP_RECVERR,
  IP_TTL,
  IPPROTO_ICMP,
  IPV6_V6ONLY,
  libc,
  MSG_DONTWAIT,
  MSG_ERRQUEUE,
  MSG_NOSIGNAL,
  orErrno,
  SO_RCVBUF,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "./libc.ts";
import { bindAddress, hostError, HostError } from "./listening-sockets.ts";
import { addressOf, pinned } from "./pinned.ts";
import { ipv4SocketAddress, portOfSocketAddress } from "./socket-address.ts";
import type { VectoredIo } from "./vectored-io.ts";

const ONE_AT = pinned(new Int32Array([1]));
const option = new Int32Array(1);
const OPTION_AT = pinned(option);
/** room for bursts that come within one turn */
const RECEIVE_BUFFER = 1 << 20;
const DEFAULT_TTL = 64;

interface Socket extends EventHandler {
  errorPending: boolean;
  ttl: number;
}

export class DatagramSockets implements HostDatagrams {
  readonly received: ReceivedDetails = {
    length: 0,
    ttl: DEFAULT_TTL,
    peer: new Uint8Array(0),
    icmpType: 0,
    icmpCode: 0,
    icmpInfo: 0,
    offender: 0,
  };
  readonly #loop: EventLoop;
  readonly #io: VectoredIo;
  readonly #now: () => number;
  readonly #sockets: (Socket | undefined)[] = [];
  readonly #name = new Uint8Array(28);
  readonly #control = new DataView(new ArrayBuffer(256));
  readonly #iovec = new BigUint64Array(2);
  readonly #message = new DataView(new ArrayBuffer(56));
  readonly #messageAt = addressOf(this.#message);

  constructor(loop: EventLoop, io: VectoredIo, now: () => number) {
    this.#loop = loop;
    this.#io = io;
    this.#now = now;
    // struct msghdr: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48
    this.#message.setBigUint64(0, BigInt(addressOf(this.#name)), true);
    this.#message.setBigUint64(16, BigInt(addressOf(this.#iovec)), true);
    this.#message.setBigUint64(24, 1n, true);
  }

  connectUdp(address: number, port: number, owner: HostDatagramOwner): number | HostFailure {
    return this.#connect(
      libc.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
      address,
      port,
      owner,
    );
  }

  connectEcho(address: number, owner: HostDatagramOwner): number | HostFailure {
    const fd = libc.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
    return this.#connect(fd, address, 0, owner);
  }

  #connect(
    socket: number,
    address: number,
    port: number,
    owner: HostDatagramOwner,
  ): number | HostFailure {
    const fd = orErrno(socket);
    if (fd < 0) return hostFailure(fd);
    libc.setsockopt(fd, SOL_IP, IP_RECVERR, ONE_AT, 4);
    const target = ipv4SocketAddress(address, port);
    const result = orErrno(libc.connect(fd, ptr(target), target.length));
    if (result < 0) {
      libc.close(fd);
      return hostFailure(result);
    }
    this.#watch(fd, owner);
    return fd;
  }

  /** Throws HostError, which a person gets to read. */
  bindUdp(host: string, port: number, owner: HostDatagramOwner): { handle: number; port: number } {
    const what = `UDP ${host === "" ? "*" : host}:${port}`;
    const address = bindAddress(host, port);
    if (address === undefined)
      throw new HostError("EINVAL", `Cannot listen on ${what}: not an IP address`);
    const family = address.length === 28 ? AF_INET6 : AF_INET;
    const fd = orErrno(libc.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd < 0) throw hostError("open a socket for", what, fd);
    // as with TCP: "" means both families, a literal IPv6 address itself alone
    option[0] = host === "" ? 0 : 1;
    if (family === AF_INET6) libc.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, OPTION_AT, 4);
    const result = orErrno(libc.bind(fd, ptr(address), address.length));
    if (result < 0) {
      libc.close(fd);
      throw hostError("listen on", what, result);
    }
    const length = new Uint32Array([address.length]);
    libc.getsockname(fd, ptr(address), ptr(length));
    this.#watch(fd, owner);
    return { handle: fd, port: portOfSocketAddress(address) };
  }

  #watch(fd: number, owner: HostDatagramOwner): void {
    option[0] = RECEIVE_BUFFER;
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, OPTION_AT, 4);
    const socket: Socket = {
      errorPending: false,
      ttl: DEFAULT_TTL,
      onEvents: (events) => {
        if (events & EPOLLERR) socket.errorPending = true;
        owner.onHostReadable(this.#now());
      },
    };
    this.#sockets[fd] = socket;
    this.#loop.add(fd, EPOLLIN | EDGE_TRIGGERED, socket);
  }

  send(handle: number, start: number, length: number, ttl: number): HostFailure | undefined {
    const socket = this.#sockets[handle];
    if (socket !== undefined && socket.ttl !== ttl) {
      socket.ttl = ttl;
      option[0] = ttl;
      libc.setsockopt(handle, SOL_IP, IP_TTL, OPTION_AT, 4);
    }
    const sent = this.#io.sendPiece(handle, start, length);
    if (sent >= 0) return undefined;
    const failure = hostFailure(sent);
    if (failure === "refused" && socket !== undefined) socket.errorPending = true;
    return failure;
  }

  sendTo(handle: number, start: number, length: number, peer: Uint8Array): HostFailure | undefined {
    const at = (this.#io.base + start) as never;
    const sent = orErrno(
      libc.sendto(handle, at, length, MSG_NOSIGNAL | MSG_DONTWAIT, ptr(peer), peer.length),
    );
    return sent >= 0 ? undefined : hostFailure(sent);
  }

  receive(handle: number, start: number, room: number): Received {
    const socket = this.#sockets[handle];
    this.#iovec[0] = BigInt(this.#io.base + start);
    this.#iovec[1] = BigInt(room);
    if (socket?.errorPending && this.#receiveError(handle, socket)) return "error";
    this.#message.setUint32(8, this.#name.length, true);
    this.#message.setBigUint64(32, 0n, true);
    this.#message.setBigUint64(40, 0n, true);
    const got = orErrno(libc.recvmsg(handle, this.#messageAt, MSG_DONTWAIT));
    if (got < 0) {
      if (got === -EAGAIN || socket === undefined) return "nothing";
      socket.errorPending = true;
      return this.#receiveError(handle, socket) ? "error" : "nothing";
    }
    this.received.length = got;
    this.received.peer = this.#name.subarray(0, this.#message.getUint32(8, true));
    return "datagram";
  }

  /** ip(7), IP_RECVERR: struct sock_extended_err in a control message, the offender's address behind it; data as sent */
  #receiveError(handle: number, socket: Socket): boolean {
    const control = this.#control;
    this.#message.setUint32(8, this.#name.length, true);
    this.#message.setBigUint64(32, BigInt(addressOf(control)), true);
    this.#message.setBigUint64(40, BigInt(control.byteLength), true);
    const got = orErrno(libc.recvmsg(handle, this.#messageAt, MSG_ERRQUEUE | MSG_DONTWAIT));
    if (got < 0 || this.#message.getUint32(40, true) < 16 + 16) {
      socket.errorPending = false;
      return false;
    }
    const { received } = this;
    const SO_EE_ORIGIN_ICMP = 2;
    const fromNetwork = control.getUint8(16 + 4) === SO_EE_ORIGIN_ICMP;
    if (!fromNetwork) return this.#receiveError(handle, socket);
    received.length = got;
    received.icmpType = control.getUint8(16 + 5);
    received.icmpCode = control.getUint8(16 + 6);
    received.icmpInfo = control.getUint32(16 + 8, true);
    received.offender = control.getUint16(32, true) === AF_INET ? control.getUint32(36) : 0;
    return true;
  }

  close(handle: number): void {
    this.#sockets[handle] = undefined;
    this.#loop.remove(handle);
    libc.close(handle);
  }
}
