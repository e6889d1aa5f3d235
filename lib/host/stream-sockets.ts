/** The host's TCP and unix stream sockets for `flow/tcp-flows.ts`, each told of by the event loop. A handle is the descriptor. */
import { ptr } from "bun:ffi";
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

const EVENTS = READABLE | WRITABLE | PEER_DONE | EDGE_TRIGGERED;
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
  return orErrno(libc.connect(fd, ptr(address), address.length));
}

export class StreamSockets implements HostStreams {
  readonly #loop: EventLoop;
  readonly #io: VectoredIo;
  readonly #now: () => number;
  /** the connection that was started last, and whether it is one of TCP within the host */
  #latest: Socket | undefined;
  #isInside = false;

  constructor(loop: EventLoop, io: VectoredIo, now: () => number) {
    this.#loop = loop;
    this.#io = io;
    this.#now = now;
  }

  connect(target: HostTarget, owner: HostStreamOwner): number | HostFailure {
    const family = target.kind === "ipv4" ? AF_INET : AF_UNIX;
    const fd = openSocket(family, SOCK_STREAM);
    if (fd < 0) return hostFailure(fd);
    if (target.kind === "ipv4") libc.setsockopt(fd, SOL_TCP, TCP_NODELAY, ONE_AT, 4);
    const result =
      target.kind === "ipv4"
        ? connectIpv4(fd, target.address, target.port)
        : connectUnix(fd, target.path);
    if (result < 0 && result !== -EINPROGRESS) {
      libc.close(fd);
      return hostFailure(result);
    }
    const socket = new Socket(fd, owner, result, this.#now);
    this.#loop.add(fd, EVENTS, socket);
    this.#latest = socket;
    this.#isInside = target.kind === "ipv4" && isLoopback(target.address);
    return fd;
  }

  isConnected(): boolean {
    return this.#latest!.isConnected(this.#isInside);
  }

  adopt(handle: number, owner: HostStreamOwner): void {
    // a unix socket has no such option, and needs none
    libc.setsockopt(handle, SOL_TCP, TCP_NODELAY, ONE_AT, 4);
    this.#loop.add(handle, EVENTS, new Socket(handle, owner, undefined, this.#now));
  }

  release(handle: number): void {
    this.#loop.remove(handle);
  }

  write(handle: number, from: Gather): number | HostFailure {
    const sent = this.#io.send(handle, from);
    if (sent >= 0) return sent;
    return sent === -EAGAIN ? 0 : hostFailure(sent);
  }

  read(handle: number, into: Gather): number | HostFailure {
    const got = this.#io.read(handle, into);
    return got >= 0 ? got : hostFailure(got);
  }

  shutdownWrite(handle: number): void {
    libc.shutdown(handle, SHUT_WR);
  }

  close(handle: number): void {
    this.#loop.remove(handle);
    libc.close(handle);
  }

  reset(handle: number): void {
    libc.setsockopt(handle, SOL_SOCKET, SO_LINGER, ABORT_AT, 8);
    this.close(handle);
  }
}

class Socket implements EventHandler {
  readonly #fd: number;
  readonly #owner: HostStreamOwner;
  readonly #now: () => number;
  #connecting: boolean;
  /** of connect(2), the last time */
  #result: number;

  /** result: of connect(2); undefined: the connection has been made long since */
  constructor(fd: number, owner: HostStreamOwner, result: number | undefined, now: () => number) {
    this.#fd = fd;
    this.#owner = owner;
    this.#connecting = result !== undefined;
    this.#result = result ?? 0;
    this.#now = now;
  }

  /**
   * A connection within the host is made while connect(2) is carried out, which says so only when it is called again: where
   * to it takes no notice of then.
   */
  isConnected(isInside: boolean): boolean {
    if (isInside && this.#result === -EINPROGRESS)
      this.#result = orErrno(libc.connect(this.#fd, ENDPOINT_AT, endpoint.length));
    if (this.#result !== 0 && this.#result !== -EISCONN) return false;
    this.#connecting = false;
    return true;
  }

  /** 0, or the errno with which the connection has failed */
  #failure(): number {
    // a failure that connect(2) has told is gone from the socket
    if (this.#result !== -EINPROGRESS && this.#result !== -EALREADY)
      return Math.min(0, this.#result);
    libc.getsockopt(this.#fd, SOL_SOCKET, SO_ERROR, ERROR_AT, ERROR_LENGTH_AT);
    return -error[0]!;
  }

  onEvents(events: number): void {
    const now = this.#now();
    if (this.#connecting) {
      if (!(events & (WRITABLE | FAILED | HUNG_UP))) return;
      this.#connecting = false;
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
