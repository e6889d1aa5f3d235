/** A connection to a unix socket as a bare descriptor, for the engine, which does its own reading and writing. */
import { openSocket } from "./descriptors.ts";
import { AF_UNIX, errnoName, libc, orErrno, SOCK_STREAM } from "./libc.ts";
import { HostError } from "./listening-sockets.ts";
import { unixSocketAddress } from "./socket-address.ts";

/** The descriptor of a connection that is made at once or not at all; throws HostError. */
export function connectUnix(path: string): number {
  const address = unixSocketAddress(path);
  const fd = openSocket(AF_UNIX, SOCK_STREAM);
  if (fd < 0) throw new HostError(errnoName(fd), `Cannot open a socket: ${errnoName(fd)}`);
  const result = orErrno(libc.connect(fd, address, address.length));
  if (result < 0) {
    libc.close(fd);
    throw new HostError(
      errnoName(result),
      `Cannot connect to ${path}: ${errnoName(result)} (does the machine run?)`,
    );
  }
  return fd;
}
