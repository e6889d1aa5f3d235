/** The host's TCP and unix stream sockets for `flow/tcp-flows.ts`, each told of by the event loop. A handle is the descriptor. */
import type {
  HostFailure,
  HostStreamOwner,
  HostStreams,
  HostTarget,
} from "../flow/host-sockets.ts";
import { isLoopback } from "../addr/ipv4.ts";
import type { Gather } from "../storage/gather.ts";
import { openSocket } from "./descriptors.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import { hostFailure } from "./host-failure.ts";
import {
  AF_INET,
  AF_UNIX,
  EAGAIN,
  EALREADY,
  EINPROGRESS,
  EISCONN,
  libc,
  orErrno,
  SHUT_WR,
  SO_ERROR,
  SO_LINGER,
  SOCK_STREAM,
  SOL_SOCKET,
  SOL_TCP,
  TCP_NODELAY,
} from "./libc.ts";
import { pinned } from "./pinned.ts";
import { EDGE_TRIGGERED, FAILED, HUNG_UP, PEER_DONE, READABLE, WRITABLE } from "./poller.ts";
import { ipv4SocketAddress, setIpv4Endpoint, unixSocketAddress } from "./socket-address.ts";
import type { VectoredIo } from "./vectored-io.ts";

const EVENTS = READABLE | PEER_DONE | EDGE_TRIGGERED;
/** sockets that may be open although their owners have closed them */
const MAX_ENDS = 64;
const ONE_AT = pinned(new Int32Array([1]));
/** struct linger: on, 0 seconds: close sends RST */
const ABORT_AT = pinned(new Int32Array([1, 0]));
const error = new Int32Array(1);
const ERROR_AT = pinned(error);
const ERROR_LENGTH_AT = pinned(new Uint32Array([4]));
/** of all connections by turns */
const endpoint = ipv4SocketAddress(0, 0);
const endpointView = new DataView(endpoint.buffer);
const ENDPOINT_AT = pinned(endpoint);

function connectIpv4(fd: number, address: number, port: number): number {
  setIpv4Endpoint(endpointView, address, port);
  return orErrno(libc.connect(fd, ENDPOINT_AT, endpoint.length));
}

function connectUnix(fd: number, path: string): number {
  const address = unixSocketAddress(path);
  return orErrno(libc.connect(fd, address, address.length));
}

export class StreamSockets implements HostStreams {
  readonly #loop: EventLoop;
  readonly #io: VectoredIo;
  readonly #now: () => number;
  readonly #sockets: (Socket | undefined)[] = [];
  /** connected in this turn: what a guest waits for first is its SYN's answer */
  readonly #unwatched: Socket[] = [];
  /** descriptors whose one side is to be ended, and complements (~) of those to be closed, for which no guest waits */
  readonly #ends: number[] = [];

  constructor(loop: EventLoop, io: VectoredIo, now: () => number) {
    this.#loop = loop;
    loop.beforeWait = () => {
      this.#watchConnected();
      this.#carryOutEnds();
    };
    this.#io = io;
    this.#now = now;
  }

  connect(target: HostTarget, owner: HostStreamOwner): number | HostFailure {
    const isTcp = target.kind === "ipv4";
    const fd = openSocket(isTcp ? AF_INET : AF_UNIX, SOCK_STREAM);
    if (fd < 0) return hostFailure(fd);
    let result = isTcp
      ? connectIpv4(fd, target.address, target.port)
      : connectUnix(fd, target.path);
    // a connection within the host is made while connect(2) is carried out, which says so when it is called again
    if (result === -EINPROGRESS && isTcp && isLoopback(target.address))
      result = connectIpv4(fd, target.address, target.port);
    const isConnecting = result === -EINPROGRESS || result === -EALREADY;
    if (result < 0 && !isConnecting && result !== -EISCONN) {
      libc.close(fd);
      return hostFailure(result);
    }
    const socket = new Socket(fd, owner, this.#now, isTcp);
    if (isConnecting) socket.isConnecting = socket.asksForRoom = true;
    socket.isOurs = true;
    this.#sockets[fd] = socket;
    this.#unwatched.push(socket);
    return fd;
  }

  isConnected(handle: number): boolean {
    return !this.#sockets[handle]!.isConnecting;
  }

  adopt(handle: number, owner: HostStreamOwner): void {
    // a unix socket does without TCP's option: setting it fails
    const socket = new Socket(handle, owner, this.#now, true);
    socket.hasWritten = true;
    this.#sockets[handle] = socket;
    this.#watch(socket);
  }

  #watch(socket: Socket): void {
    socket.isWatched = true;
    this.#loop.add(socket.fd, socket.asksForRoom ? EVENTS | WRITABLE : EVENTS, socket);
  }

  #watchConnected(): void {
    const sockets = this.#unwatched;
    if (sockets.length === 0) return;
    for (const socket of sockets) if (this.#sockets[socket.fd] === socket) this.#watch(socket);
    sockets.length = 0;
  }

  #putOff(end: number): void {
    this.#ends.push(end);
    if (this.#ends.length === MAX_ENDS) this.#carryOutEnds();
  }

  #carryOutEnds(): void {
    const ends = this.#ends;
    if (ends.length === 0) return;
    for (const end of ends) {
      if (end < 0) libc.close(~end);
      else libc.shutdown(end, SHUT_WR);
    }
    ends.length = 0;
  }

  release(handle: number): void {
    this.#loop.remove(handle);
    this.#sockets[handle] = undefined;
  }

  write(handle: number, from: Gather): number | HostFailure {
    // one that has no owner just now has no socket here
    const socket = this.#sockets[handle];
    socket?.beforeWrite();
    const sent = this.#io.send(handle, from);
    if (sent < 0 && sent !== -EAGAIN) return hostFailure(sent);
    if (sent < from.octets && socket?.asksForRoom === false) {
      socket.asksForRoom = true;
      if (socket.isWatched) this.#loop.change(handle, EVENTS | WRITABLE);
    }
    return Math.max(0, sent);
  }

  read(handle: number, into: Gather): number | HostFailure {
    const got = this.#io.read(handle, into);
    return got >= 0 ? got : hostFailure(got);
  }

  shutdownWrite(handle: number): void {
    this.#putOff(handle);
  }

  close(handle: number): void {
    if (this.#sockets[handle]?.isOurs === true) this.#loop.forget(handle);
    else this.#loop.remove(handle);
    this.#sockets[handle] = undefined;
    this.#putOff(~handle);
  }

  reset(handle: number): void {
    libc.setsockopt(handle, SOL_SOCKET, SO_LINGER, ABORT_AT, 8);
    this.close(handle);
  }
}

class Socket implements EventHandler {
  readonly fd: number;
  isConnecting = false;
  /** the loop knows of it */
  isWatched = false;
  /** the loop tells of room, which it is asked to once a write has come short */
  asksForRoom = false;
  /** nobody else has a descriptor of it */
  isOurs = false;
  hasWritten = false;
  readonly #owner: HostStreamOwner;
  readonly #now: () => number;
  #delaysSmall: boolean;

  constructor(fd: number, owner: HostStreamOwner, now: () => number, isTcp: boolean) {
    this.fd = fd;
    this.#owner = owner;
    this.#now = now;
    this.#delaysSmall = isTcp;
  }

  /** A small write is not to wait for the acknowledgement of one before it (RFC 9293 3.7.4); the first has none before it. */
  beforeWrite(): void {
    if (this.hasWritten && this.#delaysSmall) {
      libc.setsockopt(this.fd, SOL_TCP, TCP_NODELAY, ONE_AT, 4);
      this.#delaysSmall = false;
    }
    this.hasWritten = true;
  }

  /** 0, or the errno with which the connection has failed */
  #failure(): number {
    libc.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, ERROR_AT, ERROR_LENGTH_AT);
    return -error[0]!;
  }

  onEvents(events: number): void {
    const now = this.#now();
    if (this.isConnecting) {
      if (!(events & (WRITABLE | FAILED | HUNG_UP))) return;
      this.isConnecting = false;
      const failure = this.#failure();
      if (failure < 0) {
        this.#owner.onHostConnectFailed(now, hostFailure(failure));
        return;
      }
      this.#owner.onHostConnected(now);
    }
    const isOpen = (events & (PEER_DONE | FAILED | HUNG_UP)) === 0;
    if (!isOpen || events & READABLE) this.#owner.onHostReadable(now, isOpen);
    if (events & WRITABLE) this.#owner.onHostWritable(now);
  }
}
