/** sendmsg and readv over pieces of packet memory, with one iovec array and one msghdr for all calls. */
import type { Gather } from "../storage/gather.ts";
import type { PacketMemory } from "../storage/packet-memory.ts";
import { libc, MSG_DONTWAIT, MSG_NOSIGNAL, orErrno } from "./libc.ts";
import { MessageHeader } from "./message-header.ts";
import { addressOf } from "./pinned.ts";

const MAX_PIECES = 1024;

export class VectoredIo {
  /** address of packet memory's first octet */
  readonly base: number;
  readonly octets: Uint8Array;
  readonly #iovecs = new Uint32Array(MAX_PIECES * 4);
  readonly #iovecsAt = addressOf(this.#iovecs);
  readonly #message = new MessageHeader();

  constructor(memory: PacketMemory) {
    this.octets = memory.octets;
    this.base = addressOf(memory.octets);
    this.#message.setIovecs(this.#iovecsAt);
  }

  #list(gather: Gather): number {
    const count = Math.min(gather.count, MAX_PIECES);
    const { starts, lengths } = gather;
    const iovecs = this.#iovecs;
    for (let i = 0; i < count; i++) {
      const at = this.base + starts[i]!;
      iovecs[i * 4] = at;
      iovecs[i * 4 + 1] = at / 0x1_0000_0000;
      iovecs[i * 4 + 2] = lengths[i]!;
    }
    return count;
  }

  /** octets sent, or a negative errno */
  send(fd: number, gather: Gather): number {
    const flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    if (gather.count === 1) {
      return orErrno(
        libc.sendto(
          fd,
          (this.base + gather.starts[0]!) as never,
          gather.lengths[0]!,
          flags,
          null,
          0,
        ),
      );
    }
    this.#message.iovecCount = this.#list(gather);
    return orErrno(libc.sendmsg(fd, this.#message.at, flags));
  }

  /** octets read (0: end of stream), or a negative errno */
  read(fd: number, gather: Gather): number {
    if (gather.count === 1) {
      return orErrno(
        libc.recv(fd, (this.base + gather.starts[0]!) as never, gather.lengths[0]!, MSG_DONTWAIT),
      );
    }
    return orErrno(libc.readv(fd, this.#iovecsAt, this.#list(gather)));
  }

  /** One piece; as `send`. */
  sendPiece(fd: number, start: number, length: number): number {
    return orErrno(
      libc.sendto(fd, (this.base + start) as never, length, MSG_NOSIGNAL | MSG_DONTWAIT, null, 0),
    );
  }

  /** One piece; as `read`. */
  readPiece(fd: number, start: number, length: number): number {
    return orErrno(libc.recv(fd, (this.base + start) as never, length, MSG_DONTWAIT));
  }
}
