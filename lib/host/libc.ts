/**
 * The C library's calls that Bun does not offer in the form the data path needs: non-blocking sockets on plain
 * descriptors, vectored I/O, descriptor passing, file locks. What differs between systems is in `linux.ts` and
 * `darwin.ts`. Addresses are numbers, lengths are octets.
 */
import { dlopen, FFIType, read, type FFIFunction, type Pointer } from "bun:ffi";
import { DARWIN } from "./darwin.ts";
import type { HostAbi } from "./host-abi.ts";
import { LINUX } from "./linux.ts";

/** this system's table */
export const abi: HostAbi = process.platform === "darwin" ? DARWIN : LINUX;

/** Opens calls of the first of the libraries that has them. */
export function openLibrary<Calls extends Record<string, FFIFunction>>(
  names: readonly string[],
  calls: Calls,
): ReturnType<typeof dlopen<Calls>>["symbols"] {
  for (const name of names) {
    try {
      return dlopen(name, calls).symbols;
    } catch {
      // the next name is tried; the last failure is told below
    }
  }
  throw new Error(
    `Cannot open the C library: none of ${names.join(", ")} has the calls limanet needs (Linux with glibc or musl, or macOS, is required)`,
  );
}

/** The raw calls, for hot paths; -1 means "see errno()". */
export const libc = openLibrary(abi.libraries, {
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  fchownat: { args: ["i32", "ptr", "u32", "u32", "i32"], returns: "i32" },
  flock: { args: ["i32", "i32"], returns: "i32" },
  getrlimit: { args: ["i32", "ptr"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  lseek: { args: ["i32", "i64", "i32"], returns: FFIType.i64_fast },
  madvise: { args: ["u64", "usize", "i32"], returns: "i32" },
  memcpy: { args: ["u64", "u64", "usize"], returns: "void" },
  mmap: { args: ["u64", "usize", "i32", "i32", "i32", "i64"], returns: FFIType.i64_fast },
  munmap: { args: ["u64", "usize"], returns: "i32" },
  pipe: { args: ["ptr"], returns: "i32" },
  read: { args: ["i32", "ptr", "usize"], returns: FFIType.i64_fast },
  readv: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
  recv: { args: ["i32", "ptr", "usize", "i32"], returns: FFIType.i64_fast },
  recvmsg: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
  renameat: { args: ["i32", "ptr", "i32", "ptr"], returns: "i32" },
  sched_yield: { args: [], returns: "i32" },
  sendmsg: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
  sendto: { args: ["i32", "ptr", "usize", "i32", "ptr", "u32"], returns: FFIType.i64_fast },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  umask: { args: ["u32"], returns: "u32" },
  usleep: { args: ["u32"], returns: "i32" },
  write: { args: ["i32", "ptr", "usize"], returns: FFIType.i64_fast },
});

/** calls whose names differ; accept(2) takes no notice of a fourth word */
const named = openLibrary(abi.libraries, {
  [abi.errnoCall]: { args: [], returns: "ptr" },
  [abi.fcntlCall]: { args: ["i32", "i32", "i64"], returns: "i32" },
  [abi.acceptCall]: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
}) as unknown as Record<string, (...words: never[]) => unknown>;
const errnoAt = named[abi.errnoCall] as () => Pointer;
export const fcntl = named[abi.fcntlCall] as (fd: number, command: number, word: number) => number;
export const accept = named[abi.acceptCall] as (
  fd: number,
  peer: Uint8Array,
  length: Uint32Array,
  flags: number,
) => number;

/** errno of the calling thread's last failed call. */
export function errno(): number {
  return read.i32(errnoAt(), 0);
}

/** result, or the negative errno where the call said -1 */
export function orErrno(result: number | bigint): number {
  const n = Number(result);
  return n === -1 ? -errno() : n;
}

export const {
  AF_INET6,
  SOL_SOCKET,
  SO_REUSEADDR,
  SO_ERROR,
  SO_SNDBUF,
  SO_RCVBUF,
  SO_LINGER,
  IPV6_V6ONLY,
  IP_TTL,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
} = abi;

// the same on Linux and Darwin
export const AF_UNIX = 1;
export const AF_INET = 2;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const IPPROTO_ICMP = 1;
export const SOL_IP = 0;
export const SOL_UDP = 17;
export const SOL_TCP = 6;
export const SOL_IPV6 = 41;
export const TCP_NODELAY = 1;
export const SCM_RIGHTS = 1;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;

/** "EADDRINUSE" for Linux' 98; "errno 7" for a number without a name here. */
export function errnoName(code: number): string {
  return abi.errnoNames[Math.abs(code)] ?? `errno ${Math.abs(code)}`;
}

/** the number of an error that this system's table names */
export function errnoOf(name: string): number {
  return Number(Object.entries(abi.errnoNames).find(([, known]) => known === name)![0]);
}

export const EINTR = errnoOf("EINTR");
export const EAGAIN = errnoOf("EAGAIN");
export const EINPROGRESS = errnoOf("EINPROGRESS");
export const EALREADY = errnoOf("EALREADY");
export const EISCONN = errnoOf("EISCONN");
