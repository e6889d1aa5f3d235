/** Receives a descriptor over a unix stream socket (SCM_RIGHTS, unix(7)): one message with exactly one descriptor. */
import { closeOnExec } from "./descriptors.ts";
import {
  abi,
  AF_UNIX,
  EAGAIN,
  libc,
  MSG_DONTWAIT,
  orErrno,
  SCM_RIGHTS,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
} from "./libc.ts";
import type { EventLoop } from "./event-loop.ts";
import type { HostAbi } from "./host-abi.ts";
import { MessageHeader } from "./message-header.ts";
import { pinned } from "./pinned.ts";
import { PEER_DONE, READABLE } from "./poller.ts";
import { familyOf } from "./socket-address.ts";

const DATA_LENGTH = 16n;
/** a sockaddr_un */
const NAME_LENGTH = 110;
const control = new DataView(new ArrayBuffer(256));
const iovec = new BigUint64Array([
  BigInt(pinned(new Uint8Array(Number(DATA_LENGTH)))),
  DATA_LENGTH,
]);
const CONTROL_AT = pinned(control);
const message = new MessageHeader();
message.setIovecs(pinned(iovec));
message.iovecCount = 1;

/** Waits on `connection` (which it closes in the end) and hands on the descriptor that comes. */
export function acceptDescriptor(
  loop: EventLoop,
  connection: number,
  onDescriptor: (fd: number) => void,
): void {
  const finish = () => {
    loop.remove(connection);
    libc.close(connection);
  };
  loop.add(connection, READABLE | PEER_DONE, {
    onEvents: () => {
      message.setControl(CONTROL_AT, control.byteLength);
      const flags = MSG_DONTWAIT | abi.MSG_CMSG_CLOEXEC;
      const got = orErrno(libc.recvmsg(connection, message.at, flags));
      if (got === -EAGAIN) return;
      const fds = got > 0 ? passedDescriptors(control, message.controlLength, abi) : [];
      if (abi.MSG_CMSG_CLOEXEC === 0) fds.forEach(closeOnExec);
      finish();
      if (fds.length === 1) onDescriptor(fds[0]!);
      else for (const fd of fds) libc.close(fd);
    },
  });
}

/** The descriptors in a control message of `length` octets, the first of one recvmsg(2). */
export function passedDescriptors(
  octets: DataView,
  length: number,
  { SOL_SOCKET: level, control: at }: Pick<HostAbi, "SOL_SOCKET" | "control">,
): number[] {
  if (length < at.data + 4) return [];
  const end = Math.min(octets.getUint32(0, true), length);
  if (octets.getInt32(at.level, true) !== level || octets.getInt32(at.type, true) !== SCM_RIGHTS)
    return [];
  const fds: number[] = [];
  for (let i = at.data; i + 4 <= end; i += 4) fds.push(octets.getInt32(i, true));
  return fds;
}

/**
 * What a passed descriptor is. A connection is taken of unix sockets alone: closing one of TCP may wait as long as whoever
 * passed it likes (SO_LINGER, socket(7)).
 */
export function socketKind(fd: number): "stream" | "datagram" | "other" {
  const type = new Int32Array(1);
  const length = new Uint32Array([type.byteLength]);
  libc.getsockopt(fd, SOL_SOCKET, abi.SO_TYPE, type, length);
  if (type[0] === SOCK_DGRAM) return "datagram";
  const name = new Uint8Array(NAME_LENGTH);
  length[0] = NAME_LENGTH;
  const isNamed = libc.getsockname(fd, name, length) === 0;
  return isNamed && type[0] === SOCK_STREAM && familyOf(new DataView(name.buffer), 0) === AF_UNIX
    ? "stream"
    : "other";
}
