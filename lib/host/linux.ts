/** Linux on x86-64 and arm64, glibc and musl: the kernel's asm-generic headers, cmsg(3), unix(7), ip(7). */
import { SOCKET_PATH_LIMIT } from "../config/paths.ts";
import type { HostAbi } from "./host-abi.ts";

export const LINUX: HostAbi = {
  libraries: ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"],
  errnoCall: "__errno_location",
  // variadic, but Linux passes variable arguments like others
  fcntlCall: "fcntl",
  acceptCall: "accept4",
  // SOCK_NONBLOCK and SOCK_CLOEXEC
  openFlags: 0x800 | 0x80000,
  O_NONBLOCK: 0x800,
  F_DUPFD_CLOEXEC: 1030,
  RLIMIT_NOFILE: 7,

  AF_INET6: 10,
  SOL_SOCKET: 1,
  SO_REUSEADDR: 2,
  SO_TYPE: 3,
  SO_ERROR: 4,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SO_LINGER: 13,
  IPV6_V6ONLY: 26,
  IP_TTL: 2,
  UDP_SEGMENT: 103,
  // MADV_DONTNEED: Linux' MADV_FREE gives pages back only when others need them
  MADV_FREE: 4,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  MSG_CMSG_CLOEXEC: 0x40000000,

  addressHasLength: false,
  unixPathMax: SOCKET_PATH_LIMIT.linux,
  // length 8
  control: { level: 8, type: 12, data: 16 },

  hasErrorQueue: true,
  echoIsOwn: true,
  fullIsENOBUFS: false,

  errnoNames: {
    1: "EPERM",
    2: "ENOENT",
    4: "EINTR",
    9: "EBADF",
    11: "EAGAIN",
    12: "ENOMEM",
    13: "EACCES",
    16: "EBUSY",
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
    106: "EISCONN",
    107: "ENOTCONN",
    110: "ETIMEDOUT",
    111: "ECONNREFUSED",
    113: "EHOSTUNREACH",
    114: "EALREADY",
    115: "EINPROGRESS",
  },
};
