/**
 * The C library's calls that Bun does not offer in the form the data path needs: non-blocking sockets on plain
 * descriptors, epoll, vectored I/O, descriptor passing, file locks. Linux only (glibc or musl); every wrapper
 * returns the call's result, or the negative errno. Addresses are numbers, lengths are octets.
 */
import { dlopen, FFIType, read, type Pointer } from "bun:ffi";

const symbols = {
  __errno_location: { args: [], returns: "ptr" },
  accept4: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  epoll_create1: { args: ["i32"], returns: "i32" },
  epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  epoll_wait: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
  eventfd: { args: ["u32", "i32"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  flock: { args: ["i32", "i32"], returns: "i32" },
  getpeername: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  read: { args: ["i32", "ptr", "usize"], returns: FFIType.i64_fast },
  readv: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
  recv: { args: ["i32", "ptr", "usize", "i32"], returns: FFIType.i64_fast },
  recvmsg: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
  sendmsg: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
  sendmmsg: { args: ["i32", "ptr", "u32", "i32"], returns: "i32" },
  sendto: { args: ["i32", "ptr", "usize", "i32", "ptr", "u32"], returns: FFIType.i64_fast },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  umask: { args: ["u32"], returns: "u32" },
  write: { args: ["i32", "ptr", "usize"], returns: FFIType.i64_fast },
  writev: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
} as const;

function open(): ReturnType<typeof dlopen<typeof symbols>> {
  const names = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];
  for (const name of names) {
    try {
      return dlopen(name, symbols);
    } catch {
      // the next name is tried; the last failure is told below
    }
  }
  throw new Error(
    `Cannot open the C library: none of ${names.join(", ")} has the calls limanet needs (Linux with glibc or musl is required)`,
  );
}

/** The raw calls, for hot paths; -1 means "see errno()". */
export const libc = open().symbols;

/** errno of the calling thread's last failed call. */
export function errno(): number {
  // the name is the C library's
  // oxlint-disable-next-line no-underscore-dangle
  return read.i32(libc.__errno_location() as Pointer, 0);
}

/** result, or the negative errno where the call said -1 */
export function orErrno(result: number | bigint): number {
  const n = Number(result);
  return n === -1 ? -errno() : n;
}

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0x800;
export const SOCK_CLOEXEC = 0x80000;
export const IPPROTO_ICMP = 1;
export const SOL_IP = 0;
export const SOL_SOCKET = 1;
export const SOL_TCP = 6;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_LINGER = 13;
export const TCP_NODELAY = 1;
export const IPV6_V6ONLY = 26;
export const SOL_IPV6 = 41;
export const IP_TTL = 2;
export const IP_RECVERR = 11;
export const MSG_ERRQUEUE = 0x2000;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;
export const SCM_RIGHTS = 1;
export const SHUT_WR = 1;
export const F_DUPFD_CLOEXEC = 1030;
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x80000000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;

export const EINTR = 4;
export const EAGAIN = 11;
export const EINPROGRESS = 115;

const NAMES: Record<number, string> = {
  1: "EPERM",
  2: "ENOENT",
  4: "EINTR",
  11: "EAGAIN",
  13: "EACCES",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  32: "EPIPE",
  36: "ENAMETOOLONG",
  90: "EMSGSIZE",
  95: "EOPNOTSUPP",
  97: "EAFNOSUPPORT",
  98: "EADDRINUSE",
  99: "EADDRNOTAVAIL",
  101: "ENETUNREACH",
  104: "ECONNRESET",
  105: "ENOBUFS",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  113: "EHOSTUNREACH",
};

/** "EADDRINUSE" for 98; "errno 7" for a number without a name here. */
export function errnoName(code: number): string {
  return NAMES[Math.abs(code)] ?? `errno ${Math.abs(code)}`;
}
