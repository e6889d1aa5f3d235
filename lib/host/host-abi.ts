/**
 * What this project knows of an operating system's C interface where systems differ: names of libraries and calls,
 * numbers of <errno.h>, <fcntl.h>, <sys/socket.h>, <netinet/in.h>, and layouts. `linux.ts` and `darwin.ts` are the two
 * tables; everything else in lib/host is written once. Numbers that are the same on both are in `libc.ts`.
 */
export interface HostAbi {
  /** names under which the C library is tried */
  libraries: readonly string[];
  /** the function that gives errno's address */
  errnoCall: string;
  /** a fcntl(2) that takes its third word in a register */
  fcntlCall: string;
  /** accept(2), or one that takes flags as a fourth word */
  acceptCall: string;
  /** flags of socket(2) and of `acceptCall` for "non-blocking, closed on exec"; 0: fcntl(2) does it afterwards */
  openFlags: number;
  O_NONBLOCK: number;
  F_DUPFD_CLOEXEC: number;
  RLIMIT_NOFILE: number;

  AF_INET6: number;
  SOL_SOCKET: number;
  SO_REUSEADDR: number;
  SO_TYPE: number;
  SO_ERROR: number;
  SO_SNDBUF: number;
  SO_RCVBUF: number;
  SO_LINGER: number;
  IPV6_V6ONLY: number;
  IP_TTL: number;
  /** udp(7): sets the length of the datagrams that one sendmsg(2) is cut into; 0: there is no such thing */
  UDP_SEGMENT: number;
  /** madvise(2): the pages' octets are not needed any more */
  MADV_FREE: number;
  MSG_DONTWAIT: number;
  MSG_NOSIGNAL: number;
  /** 0: received descriptors have the flag set afterwards */
  MSG_CMSG_CLOEXEC: number;

  /** a socket address begins with its length in one octet, and the family takes one; else the family takes two */
  addressHasLength: boolean;
  /** size of sockaddr_un's path, the final zero included */
  unixPathMax: number;
  /** struct cmsghdr begins with its length, a little-endian number of which the first four octets are enough */
  control: { level: number; type: number; data: number };

  /** errors of a UDP or echo socket wait in a queue with the ICMP message's details (ip(7), IP_RECVERR) */
  hasErrorQueue: boolean;
  /**
   * Echo sockets are told apart by the kernel and hand over the ICMP message alone. Otherwise each gets, with the IP header
   * in front, whatever ICMP comes from its peer, and the identifier is ours to choose (`echo-socket.ts`).
   */
  echoIsOwn: boolean;
  /** a full datagram socket says ENOBUFS, and is not told of by the event loop when it has room again */
  fullIsENOBUFS: boolean;

  errnoNames: Readonly<Record<number, string>>;
}
