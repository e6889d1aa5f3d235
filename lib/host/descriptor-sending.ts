/** Sends a descriptor over a unix stream socket (SCM_RIGHTS, unix(7)), as `descriptor-passing.ts` receives one. */
import { abi, errnoName, libc, MSG_NOSIGNAL, orErrno, SCM_RIGHTS, SOL_SOCKET } from "./libc.ts";
import { HostError } from "./listening-sockets.ts";
import { MessageHeader } from "./message-header.ts";
import { pinned } from "./pinned.ts";
import { connectUnix } from "./unix-connection.ts";

/** Connects to whoever listens at `from` and gives the connection to the listener at `to`; throws HostError. */
export function passConnection(from: string, to: string): void {
  const passed = connectUnix(from);
  try {
    const connection = connectUnix(to);
    const sent = orErrno(sendDescriptor(connection, passed));
    libc.close(connection);
    if (sent < 0)
      throw new HostError(errnoName(sent), `Cannot hand ${from} over to ${to}: ${errnoName(sent)}`);
  } finally {
    libc.close(passed);
  }
}

const { level, type, data } = abi.control;
const control = new DataView(new ArrayBuffer(data + 4));
control.setUint32(0, control.byteLength, true);
control.setInt32(level, SOL_SOCKET, true);
control.setInt32(type, SCM_RIGHTS, true);
const CONTROL_AT = pinned(control);
const message = new MessageHeader();
message.setIovecs(pinned(new BigUint64Array([BigInt(pinned(new Uint8Array(1))), 1n])));
message.iovecCount = 1;

/** One octet with one descriptor. */
export function sendDescriptor(connection: number, fd: number): number | bigint {
  control.setInt32(data, fd, true);
  message.setControl(CONTROL_AT, control.byteLength);
  return libc.sendmsg(connection, message.at, MSG_NOSIGNAL);
}
