/** Listening sockets of port forwards, the control of who may connect, and the guests' attachment sockets. */
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  unlinkSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { parseIpv4 } from "../addr/ipv4.ts";
import type { HostListenerOwner, HostListeners } from "../flow/host-sockets.ts";
import { acceptConnection, openSocket } from "./descriptors.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import {
  AF_INET,
  AF_INET6,
  AF_UNIX,
  EAGAIN,
  errnoName,
  IPV6_V6ONLY,
  libc,
  orErrno,
  SO_REUSEADDR,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_IPV6,
  SOL_SOCKET,
} from "./libc.ts";
import { isLoopbackPeer, listenPlan, portAdvice } from "./loopback-peers.ts";
import { hostPlatform } from "./machine.ts";
import { pinned } from "./pinned.ts";
import { READABLE } from "./poller.ts";
import {
  ipv4SocketAddress,
  ipv6SocketAddress,
  parseIpv6,
  portOfSocketAddress,
  unixSocketAddress,
} from "./socket-address.ts";

const BACKLOG = 1024;
/** struct sockaddr_storage */
const SOCKET_ADDRESS_SIZE = 128;
/** The host has no room for another connection: who wants one waits in the backlog, and asking again at once is no use. */
const HOST_IS_SHORT: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]);
/** then it is asked again */
const SHORT_MS = 250;
const ONE = new Int32Array([1]);
const { O_DIRECTORY, O_NOFOLLOW } = constants;
/** what a socket is called until it has its place */
const MADE = "s";
/** chown(2): the owner stays */
const SAME_USER = 0xffff_ffff;

/** Who but ourselves may connect to a unix socket: a group. */
export interface SocketAccess {
  gid: number;
}

/** A call on the host that a person asked for and that failed. */
export class HostError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** "" is all addresses, IPv4 and IPv6; undefined when the host is not an address */
export function bindAddress(host: string, port: number): Uint8Array<ArrayBuffer> | undefined {
  if (host === "") return ipv6SocketAddress(new Uint8Array(16), port);
  const v4 = parseIpv4(host === "localhost" ? "127.0.0.1" : host);
  if (v4 !== undefined) return ipv4SocketAddress(v4, port);
  const v6 = parseIpv6(host);
  return v6 === undefined ? undefined : ipv6SocketAddress(v6, port);
}

export class ListeningSockets implements HostListeners {
  readonly #loop: EventLoop;
  readonly #now: () => number;
  readonly #platform: "darwin" | "linux";
  readonly #paths = new Map<number, string>();

  constructor(loop: EventLoop, now: () => number, platform = hostPlatform()) {
    this.#loop = loop;
    this.#now = now;
    this.#platform = platform;
  }

  listenTcp(
    host: string,
    port: number,
    owner: HostListenerOwner,
  ): { handle: number; port: number } {
    const what = `${host === "" ? "*" : host}:${port}`;
    const plan = listenPlan(this.#platform, host, port);
    const address = bindAddress(plan.host, port);
    if (address === undefined)
      throw new HostError("EINVAL", `Cannot listen on ${what}: not an IP address`);
    const v6 = address.length === 28;
    const fd = openSocket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM);
    if (fd < 0) throw hostError("open a socket for", what, fd);
    libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, ONE, 4);
    // "" means both families; a literal IPv6 address means itself alone
    const only = new Int32Array([host === "" ? 0 : 1]);
    if (v6) libc.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, only, 4);
    this.#bind(fd, address, what);
    const length = new Uint32Array([address.length]);
    libc.getsockname(fd, address, length);
    this.#accept(fd, owner, plan.loopbackOnly ? (v6 ? "ipv6" : "ipv4") : undefined);
    return { handle: fd, port: portOfSocketAddress(address) };
  }

  listenUnix(path: string, owner: HostListenerOwner, access?: SocketAccess): number {
    const fd = this.#unixSocket(path, SOCK_STREAM, access);
    this.#accept(fd, owner);
    return fd;
  }

  /** A bound datagram socket; the caller watches it. */
  bindUnixDatagram(path: string, access?: SocketAccess): number {
    return this.#unixSocket(path, SOCK_DGRAM, access);
  }

  #unixSocket(path: string, type: number, access: SocketAccess | undefined): number {
    const address = unixAddress(path);
    removeStaleSocket(path, address, type);
    const fd = openSocket(AF_UNIX, type);
    if (fd < 0) throw hostError("open a socket for", path, fd);
    if (access !== undefined) this.#bindForGroup(fd, path, type, access.gid);
    else {
      // the socket is never open to others, not even between bind and chmod
      const before = libc.umask(0o177);
      try {
        this.#bind(fd, address, path, type === SOCK_STREAM);
      } finally {
        libc.umask(before);
      }
      chmodSync(path, 0o600);
    }
    this.#paths.set(fd, path);
    return fd;
  }

  /**
   * The socket is made in a folder of our own beside its place, and gets its place when all is right with it: whoever sees it
   * there may use it, and nobody may before. Folders are named by descriptors, since those who may write to the outer one
   * could put other files in the place of names between one step and the next.
   */
  #bindForGroup(fd: number, path: string, type: number, gid: number): void {
    const failure = (code: string) => {
      libc.close(fd);
      return new HostError(code, `Cannot give the socket ${path} to the group ${gid}: ${code}`);
    };
    const folders: number[] = [];
    let own: string | undefined;
    try {
      const outer = openSync(dirname(path), O_DIRECTORY);
      folders.push(outer);
      own = mkdtempSync(`${dirname(path)}/.`);
      const inner = openSync(own, O_DIRECTORY | O_NOFOLLOW);
      folders.push(inner);
      const { uid, mode } = fstatSync(inner);
      if (uid !== process.geteuid!() || (mode & 0o077) !== 0) throw failure("EPERM");
      const before = libc.umask(0o007);
      try {
        this.#bind(fd, unixAddress(join(own, MADE)), path, type === SOCK_STREAM);
      } finally {
        libc.umask(before);
      }
      const made = textOf(MADE);
      let result = orErrno(libc.fchownat(inner, made, SAME_USER, gid, 0));
      if (result === 0) result = orErrno(libc.renameat(inner, made, outer, textOf(basename(path))));
      if (result < 0) {
        rmSync(join(own, MADE), { force: true });
        throw failure(errnoName(result));
      }
    } catch (error) {
      if (error instanceof HostError) throw error;
      throw failure((error as { code?: string }).code ?? "EIO");
    } finally {
      for (const folder of folders) closeSync(folder);
      if (own !== undefined) removeEmptyFolder(own);
    }
  }

  #bind(fd: number, address: Uint8Array<ArrayBuffer>, what: string, listen = true): void {
    let result = orErrno(libc.bind(fd, address, address.length));
    if (result === 0 && listen) result = orErrno(libc.listen(fd, BACKLOG));
    if (result < 0) {
      libc.close(fd);
      throw hostError("listen on", what, result);
    }
  }

  /** onlyLoopback: peers from elsewhere are turned away; of this family they are */
  #accept(fd: number, owner: HostListenerOwner, onlyLoopback?: "ipv4" | "ipv6"): void {
    const peer = new Uint8Array(SOCKET_ADDRESS_SIZE);
    const length = new Uint32Array(1);
    const handler: EventHandler = {
      onEvents: () => {
        // bounded, so that a flood of connections leaves time for frames; the loop tells again
        for (let i = 0; i < 64; i++) {
          length[0] = peer.length;
          const accepted = acceptConnection(fd, peer, length);
          if (accepted < 0) {
            if (HOST_IS_SHORT.has(errnoName(accepted))) this.#loop.rest(fd, READABLE, SHORT_MS);
            return;
          }
          if (onlyLoopback !== undefined && !isLoopbackPeer(peer, onlyLoopback)) {
            libc.close(accepted);
            continue;
          }
          owner.onAccept(this.#now(), accepted);
        }
      },
    };
    this.#loop.add(fd, READABLE, handler);
  }

  /** Ends a listener, or any other socket that is watched, with the file that it may have. */
  close(handle: number): void {
    this.#loop.remove(handle);
    libc.close(handle);
    const path = this.#paths.get(handle);
    if (path === undefined) return;
    this.#paths.delete(handle);
    try {
      unlinkSync(path);
    } catch {
      // somebody else has removed it already
    }
  }
}

/** of the C library's kind, kept for as long as the program runs */
const textOf = (text: string) => pinned(new TextEncoder().encode(`${text}\0`));

function removeEmptyFolder(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // whoever may write to the folder around it has put something there
  }
}

function unixAddress(path: string): Uint8Array<ArrayBuffer> {
  try {
    return unixSocketAddress(path);
  } catch (error) {
    throw new HostError("ENAMETOOLONG", (error as Error).message);
  }
}

/** The error for a call's negative errno. */
export function hostError(verb: string, what: string, result: number): HostError {
  const code = errnoName(result);
  const why: Record<string, string> = {
    EADDRINUSE: "the address is in use (stop the other program or choose another port)",
    EACCES: `permission denied: ${portAdvice(hostPlatform(), "PORT")}; a socket's folder must be writable`,
    EADDRNOTAVAIL: "this machine has no such address",
    ENOENT: "its folder does not exist",
    EMFILE: "this process has no descriptors left (raise the limit with ulimit -n)",
  };
  return new HostError(code, `Cannot ${verb} ${what}: ${why[code] ?? code}`);
}

/** Can an address be listened on now? The error when not. Nothing stays bound. */
export function tryToBind(
  protocol: "tcp" | "udp",
  host: string,
  port: number,
): HostError | undefined {
  const what = `${host === "" ? "*" : host}:${port}`;
  const address = bindAddress(host, port);
  if (address === undefined) return new HostError("EINVAL", `${what} is not an IP address`);
  const v6 = address.length === 28;
  const type = protocol === "tcp" ? SOCK_STREAM : SOCK_DGRAM;
  const fd = openSocket(v6 ? AF_INET6 : AF_INET, type);
  if (fd < 0) return hostError("open a socket for", what, fd);
  if (protocol === "tcp") libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, ONE, 4);
  if (v6 && host !== "") libc.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, ONE, 4);
  let result = orErrno(libc.bind(fd, address, address.length));
  if (result === 0 && protocol === "tcp") result = orErrno(libc.listen(fd, 1));
  libc.close(fd);
  return result < 0 ? hostError("listen on", what, result) : undefined;
}

/** Makes room for a listener of another program; throws HostError when something stands there that is in use. */
export const removeStaleStreamSocket = (path: string): void =>
  removeStaleSocket(path, unixSocketAddress(path), SOCK_STREAM);

/** A socket file that nobody serves any more is removed; one that is served, or is no socket, is left alone. */
function removeStaleSocket(path: string, address: Uint8Array<ArrayBuffer>, type: number): void {
  let isSocket: boolean;
  try {
    isSocket = lstatSync(path).isSocket();
  } catch {
    return;
  }
  if (!isSocket)
    throw new HostError(
      "EEXIST",
      `Cannot listen on ${path}: a file that is no socket stands there (move it away)`,
    );
  const fd = openSocket(AF_UNIX, type);
  const result = orErrno(libc.connect(fd, address, address.length));
  // EAGAIN: its server has many connections to accept already
  const served = result === 0 || result === -EAGAIN;
  libc.close(fd);
  if (served)
    throw new HostError(
      "EADDRINUSE",
      `Cannot listen on ${path}: another process serves it (stop that one first)`,
    );
  unlinkSync(path);
}
