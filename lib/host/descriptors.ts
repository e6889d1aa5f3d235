/** Descriptors that never block and are not inherited, however the system makes them so. */
import { readlinkSync } from "node:fs";
import { abi, accept, AF_UNIX, fcntl, libc, orErrno, SHUT_RDWR } from "./libc.ts";

const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
/** what systems give where nobody has said otherwise */
const DEFAULT_LIMIT = 1024;

/** A descriptor that somebody has passed is an eventfd(2); nothing that is done with it will wait then. */
export function isEventDescriptor(fd: number): boolean {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`) !== "anon_inode:[eventfd]") return false;
  } catch {
    return false;
  }
  prepare(fd);
  return true;
}

/** For descriptors that come from elsewhere. */
export function closeOnExec(fd: number): void {
  fcntl(fd, F_SETFD, FD_CLOEXEC);
}

function prepare(fd: number): number {
  closeOnExec(fd);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | abi.O_NONBLOCK);
  return fd;
}

const prepared = (fd: number): number => (fd < 0 || abi.openFlags !== 0 ? fd : prepare(fd));

/** A descriptor, or a negative errno. */
export function openSocket(family: number, type: number, protocol = 0): number {
  return prepared(orErrno(libc.socket(family, type | abi.openFlags, protocol)));
}

/** Both ends of a pair of unix sockets, or a negative errno. */
export function openSocketPair(type: number): [number, number] | number {
  const ends = new Int32Array(2);
  const result = orErrno(libc.socketpair(AF_UNIX, type | abi.openFlags, 0, ends));
  return result < 0 ? result : [prepared(ends[0]!), prepared(ends[1]!)];
}

/** The next connection of a listener, or a negative errno. */
export function acceptConnection(listener: number, peer: Uint8Array, length: Uint32Array): number {
  return prepared(orErrno(accept(listener, peer, length, abi.openFlags)));
}

/** Another descriptor of the same thing, or a negative errno. */
export function duplicate(fd: number): number {
  return orErrno(fcntl(fd, abi.F_DUPFD_CLOEXEC, 0));
}

/** Gives a descriptor back. */
export function closeDescriptor(fd: number): void {
  libc.close(fd);
}

/** Ends a socket for whoever else has a descriptor of it, too, and gives ours back. */
export function endSocket(fd: number): void {
  libc.shutdown(fd, SHUT_RDWR);
  closeDescriptor(fd);
}

/** How many files and sockets this process may have open. */
export function descriptorLimit(): number {
  // struct rlimit: two numbers of 64 bits, of which the first is in force
  const limits = new BigUint64Array(2);
  const result = orErrno(libc.getrlimit(abi.RLIMIT_NOFILE, limits));
  return result < 0 ? DEFAULT_LIMIT : Math.min(Number(limits[0]), 0x7fff_ffff);
}

/** The reading and the writing end of a pipe, or a negative errno. */
export function openPipe(): { from: number; to: number } | number {
  const ends = new Int32Array(2);
  const result = orErrno(libc.pipe(ends));
  return result < 0 ? result : { from: prepare(ends[0]!), to: prepare(ends[1]!) };
}
