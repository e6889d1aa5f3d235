/**
 * Darwin (macOS 13 and later) on arm64 and x86-64. Nobody of this project has run it: each line names the public header
 * of xnu (github.com/apple-oss-distributions/xnu) in which the fact stands.
 */
import { SOCKET_PATH_LIMIT } from "../config/paths.ts";
import type { HostAbi } from "./host-abi.ts";

export const DARWIN: HostAbi = {
  libraries: ["libSystem.B.dylib"],
  // bsd/sys/errno.h: errno is what __error() points at
  errnoCall: "__error",
  // fcntl is variadic, and Apple's arm64 passes variable arguments on the stack only, where FFI does not put them. Its
  // system call stub, which libSystem exports, is not: int __fcntl(int, int, long) (libsyscall/wrappers/cancellable/fcntl-base.c)
  fcntlCall: "__fcntl",
  acceptCall: "accept",
  // bsd/sys/socket.h has neither SOCK_NONBLOCK nor SOCK_CLOEXEC
  openFlags: 0,
  // bsd/sys/fcntl.h
  O_NONBLOCK: 0x4,
  F_DUPFD_CLOEXEC: 67,
  RLIMIT_NOFILE: 8,

  // bsd/sys/socket.h
  AF_INET6: 30,
  SOL_SOCKET: 0xffff,
  SO_REUSEADDR: 0x4,
  SO_TYPE: 0x1008,
  SO_ERROR: 0x1007,
  SO_SNDBUF: 0x1001,
  SO_RCVBUF: 0x1002,
  SO_LINGER: 0x80,
  // bsd/sys/mman.h
  MADV_FREE: 5,
  // bsd/sys/socket.h
  MSG_DONTWAIT: 0x80,
  // 0x80000 in recent headers only; not needed, since Bun ignores SIGPIPE
  MSG_NOSIGNAL: 0,
  MSG_CMSG_CLOEXEC: 0,
  // bsd/netinet6/in6.h
  IPV6_V6ONLY: 27,
  // bsd/netinet/in.h
  IP_TTL: 4,
  // bsd/netinet/udp.h has nothing like it
  UDP_SEGMENT: 0,

  // bsd/sys/socket.h, bsd/netinet/in.h, bsd/sys/un.h: sa_len and sa_family are an octet each
  addressHasLength: true,
  unixPathMax: SOCKET_PATH_LIMIT.darwin,
  // bsd/sys/socket.h: struct cmsghdr is three words of 32 bits, data follow aligned to four octets
  control: { level: 4, type: 8, data: 12 },

  // bsd/netinet/in.h has no IP_RECVERR
  hasErrorQueue: false,
  // found by others on Macs: github.com/techomancer/iris pull request 18, github.com/libkrun/libkrun pull request 690
  echoIsOwn: false,
  fullIsENOBUFS: true,

  // bsd/sys/errno.h
  errnoNames: {
    1: "EPERM",
    2: "ENOENT",
    4: "EINTR",
    9: "EBADF",
    12: "ENOMEM",
    13: "EACCES",
    16: "EBUSY",
    22: "EINVAL",
    23: "ENFILE",
    24: "EMFILE",
    32: "EPIPE",
    35: "EAGAIN",
    36: "EINPROGRESS",
    37: "EALREADY",
    40: "EMSGSIZE",
    47: "EAFNOSUPPORT",
    48: "EADDRINUSE",
    49: "EADDRNOTAVAIL",
    51: "ENETUNREACH",
    54: "ECONNRESET",
    55: "ENOBUFS",
    56: "EISCONN",
    57: "ENOTCONN",
    60: "ETIMEDOUT",
    61: "ECONNREFUSED",
    63: "ENAMETOOLONG",
    65: "EHOSTUNREACH",
    102: "EOPNOTSUPP",
  },
};
