/** Receives a descriptor over a unix stream socket (SCM_RIGHTS, unix(7)): one message with exactly one descriptor. */
import { closeOnExec } from "./descriptors.ts";
import {
  abi,
  EAGAIN,
  libc,
  MSG_DONTWAIT,
  orErrno,
  SCM_RIGHTS,
  SOCK_STREAM,
  SOL_SOCKET,
} from "./libc.ts";
import type { EventLoop } from "./event-loop.ts";
import type { HostAbi } from "./host-abi.ts";
import { MessageHeader } from "./message-header.ts";
import { addressOf, pinned } from "./pinned.ts";
import { PEER_DONE, READABLE } from "./poller.ts";

const DATA_LENGTH = 16n;
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

/** Is it a connection, rather than a socket of datagrams? */
export function isStream(fd: number): boolean {
  const type = new Int32Array(1);
  const length = new Uint32Array([type.byteLength]);
  libc.getsockopt(fd, SOL_SOCKET, abi.SO_TYPE, addressOf(type), addressOf(length));
  return type[0] === SOCK_STREAM;
}
