/** What the flows need of the host; `lib/host` implements it. Handles are small integers that only the host understands. */
import type { Gather } from "../storage/gather.ts";

/** The host's addresses are IPv4, unsigned 32-bit; unix sockets are named by path. */
export type HostTarget =
  | { kind: "ipv4"; address: number; port: number }
  | { kind: "unix"; path: string };

/** Why a call on the host failed, as far as flows tell failures apart. */
export type HostFailure =
  | "again"
  | "refused"
  | "unreachable"
  | "timeout"
  | "reset"
  | "no-descriptors"
  | "failed";

export interface HostStreamOwner {
  onHostConnected(now: number): void;
  onHostConnectFailed(now: number, why: HostFailure): void;
  /**
   * There may be octets, an end or an error to read. `isOpen`: no end or error is there yet, and the owner is told again
   * when there is more than it finds in the socket now; so a read that comes short has found all.
   */
  onHostReadable(now: number, isOpen?: boolean): void;
  /** the socket takes octets again */
  onHostWritable(now: number): void;
}

/** Connected byte streams: TCP and unix sockets. */
export interface HostStreams {
  /** Starts a connection. Unless it is made already (`isConnected`), the owner hears of the outcome later. */
  connect(target: HostTarget, owner: HostStreamOwner): number | HostFailure;
  /** The connection is made, as those within the host are by the time they are started. */
  isConnected(handle: number): boolean;
  /** Gives an accepted connection its owner, who is told of readiness at once. */
  adopt(handle: number, owner: HostStreamOwner): void;
  /** Takes a connection from its owner without closing it; it can be adopted again. */
  release(handle: number): void;
  /**
   * Writes the pieces; how many octets were taken (0 when the socket is full, which its owner is told the end of), or why
   * not; "again": nobody is told when it would succeed.
   */
  write(handle: number, from: Gather): number | HostFailure;
  /** Reads into the pieces; how many octets came, 0 at the end of the stream, or "again". */
  read(handle: number, into: Gather): number | HostFailure;
  /** end of stream towards the host's peer; reading goes on */
  shutdownWrite(handle: number): void;
  close(handle: number): void;
  /** closes so that the peer sees a reset */
  reset(handle: number): void;
}

export interface HostDatagramOwner {
  onHostReadable(now: number): void;
}

/** What `receive` found. */
export type Received = "datagram" | "error" | "nothing";

/** UDP and ICMP echo sockets, each connected to one peer or bound for many. */
export interface HostDatagrams {
  /** A UDP socket connected to a peer; packets leave with `ttl`. */
  connectUdp(address: number, port: number, owner: HostDatagramOwner): number | HostFailure;
  /** A UDP socket bound to a local endpoint ("" = all addresses), for a port forward; throws HostError. */
  bindUdp(host: string, port: number, owner: HostDatagramOwner): { handle: number; port: number };
  /** An unprivileged ICMP echo socket connected to a peer; "failed" where the host does not allow it. */
  connectEcho(address: number, owner: HostDatagramOwner): number | HostFailure;
  /** Sends one datagram on a connected socket. */
  send(handle: number, start: number, length: number, ttl: number): HostFailure | undefined;
  /**
   * Sends datagrams on a connected UDP socket, of `length` octets each but the last; false: none was sent, and each is to be
   * sent alone.
   */
  sendTrain(handle: number, from: Gather, length: number, ttl: number): boolean;
  /** Sends one datagram on a bound socket to a peer that `receive` told of before. */
  sendTo(handle: number, start: number, length: number, peer: Uint8Array): HostFailure | undefined;
  /**
   * Receives one datagram into [start, start + room). On "datagram" `received` holds its length and peer; on "error"
   * an ICMP error that came back, and what was quoted of the datagram in it is received in its place.
   */
  receive(handle: number, start: number, room: number): Received;
  readonly received: ReceivedDetails;
  close(handle: number): void;
}

/** Details of the last `receive`; reused. */
export interface ReceivedDetails {
  length: number;
  ttl: number;
  /** socket address of the sender in its first `peerLength` octets, opaque, for `sendTo`; valid until the next receive */
  readonly peer: Uint8Array;
  peerLength: number;
  /** of an ICMP error */
  icmpType: number;
  icmpCode: number;
  /** next-hop MTU of "fragmentation needed" */
  icmpInfo: number;
  /** who sent the error; 0: the host itself */
  offender: number;
}

/** A connection accepted on a forward's listener. */
export interface HostListenerOwner {
  onAccept(now: number, handle: number): void;
}

export interface HostListeners {
  /** Listens on "HOST" (IPv4, IPv6, "" = all) and a port (0: any free one); throws HostError. */
  listenTcp(host: string, port: number, owner: HostListenerOwner): { handle: number; port: number };
  listenUnix(path: string, owner: HostListenerOwner): number;
  close(handle: number): void;
}

/** Randomness, 32 bits a call. */
export type Random32 = () => number;
