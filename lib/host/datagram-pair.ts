/**
 * A pair of datagram sockets between a virtual machine's network card and a switch, a frame a datagram: the switch gets its
 * end by descriptor passing (specification, sections 8.9 and 14).
 */
import { sendDescriptor } from "./descriptor-sending.ts";
import { openSocketPair } from "./descriptors.ts";
import {
  errnoName,
  libc,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  orErrno,
  SO_RCVBUF,
  SO_SNDBUF,
  SOCK_DGRAM,
  SOL_SOCKET,
} from "./libc.ts";
import { HostError } from "./listening-sockets.ts";
import { pinned } from "./pinned.ts";
import { connectUnix } from "./unix-connection.ts";

/** Virtualization.framework wants room to receive four times as much as to send */
const SEND_BUFFER_AT = pinned(new Int32Array([1 << 20]));
const RECEIVE_BUFFER_AT = pinned(new Int32Array([4 << 20]));

function sized(fd: number): number {
  libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_AT, 4);
  libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_AT, 4);
  return fd;
}

const failure = (what: string, result: number): HostError =>
  new HostError(errnoName(result), `Cannot ${what}: ${errnoName(result)}`);

export function openPair(): { ours: number; theirs: number } {
  const ends = openSocketPair(SOCK_DGRAM);
  if (typeof ends === "number") throw failure("make a pair of datagram sockets", ends);
  return { ours: sized(ends[0]), theirs: sized(ends[1]) };
}

/** An end of a pair whose other end the listener at `path` has got; throws HostError. */
export function passedPair(path: string): number {
  const connection = connectUnix(path);
  const { ours, theirs } = openPair();
  const sent = orErrno(sendDescriptor(connection, theirs));
  libc.close(theirs);
  libc.close(connection);
  if (sent >= 0) return ours;
  libc.close(ours);
  throw failure(`hand a network card over to ${path}`, sent);
}

const HELLO = new TextEncoder().encode("VFKT");
const HELLO_AT = pinned(HELLO);

/**
 * Is there still somebody at the other end? A network of limanet's is asked by vfkit's hello, which it drops: a datagram
 * socket tells of its other end's end only to those who send.
 */
export function isAnswered(fd: number): boolean {
  const sent = orErrno(
    libc.sendto(fd, HELLO_AT, HELLO.length, MSG_DONTWAIT | MSG_NOSIGNAL, null, 0),
  );
  return sent >= 0 || ["EAGAIN", "ENOBUFS"].includes(errnoName(sent));
}
