/** Receives a descriptor over a unix stream socket (SCM_RIGHTS, unix(7)): one message with exactly one descriptor. */
import {
  EAGAIN,
  EPOLLIN,
  EPOLLRDHUP,
  libc,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  orErrno,
  SCM_RIGHTS,
  SOL_SOCKET,
} from "./libc.ts";
import type { EventLoop } from "./event-loop.ts";
import { pinned } from "./pinned.ts";

const DATA_LENGTH = 16n;
const control = new DataView(new ArrayBuffer(256));
const iovec = new BigUint64Array([
  BigInt(pinned(new Uint8Array(Number(DATA_LENGTH)))),
  DATA_LENGTH,
]);
/** struct msghdr: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48 */
const message = new DataView(new ArrayBuffer(56));
const MESSAGE_AT = pinned(message);
message.setBigUint64(16, BigInt(pinned(iovec)), true);
message.setBigUint64(24, 1n, true);
message.setBigUint64(32, BigInt(pinned(control)), true);

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
  loop.add(connection, EPOLLIN | EPOLLRDHUP, {
    onEvents: () => {
      message.setBigUint64(40, BigInt(control.byteLength), true);
      const got = orErrno(libc.recvmsg(connection, MESSAGE_AT, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
      if (got === -EAGAIN) return;
      const fds = got > 0 ? passedDescriptors(Number(message.getBigUint64(40, true))) : [];
      finish();
      if (fds.length === 1) onDescriptor(fds[0]!);
      else for (const fd of fds) libc.close(fd);
    },
  });
}

/** struct cmsghdr: length 8, level 4, type 4, then the data */
function passedDescriptors(length: number): number[] {
  if (length < 20) return [];
  const size = Number(control.getBigUint64(0, true));
  if (control.getInt32(8, true) !== SOL_SOCKET || control.getInt32(12, true) !== SCM_RIGHTS)
    return [];
  const fds: number[] = [];
  for (let at = 16; at + 4 <= Math.min(size, length); at += 4) fds.push(control.getInt32(at, true));
  return fds;
}
