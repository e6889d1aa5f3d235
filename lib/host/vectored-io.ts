/** sendmsg and readv over pieces of packet memory, with one iovec array and one msghdr for all calls. */
import type { Gather } from "../storage/gather.ts";
import type { PacketMemory } from "../storage/packet-memory.ts";
import { Iovecs } from "./iovecs.ts";
import { abi, libc, MSG_DONTWAIT, MSG_NOSIGNAL, orErrno, SOL_UDP } from "./libc.ts";
import { MessageHeader } from "./message-header.ts";
import { addressOf } from "./pinned.ts";

const MAX_PIECES = 1024;
/** struct cmsghdr with a number of 16 bits behind it (cmsg(3)): its length, and with what is left to its end */
const CONTROL_LENGTH = 18;
const CONTROL_SPACE = 24;

export class VectoredIo {
  /** address of packet memory's first octet */
  readonly base: number;
  readonly octets: Uint8Array;
  readonly #iovecs = new Iovecs(MAX_PIECES);
  readonly #message = new MessageHeader();
  readonly #train = new MessageHeader();
  readonly #control = new DataView(new ArrayBuffer(CONTROL_SPACE));

  constructor(memory: PacketMemory) {
    this.octets = memory.octets;
    this.base = addressOf(memory.octets);
    this.#message.setIovecs(this.#iovecs.at);
    this.#train.setIovecs(this.#iovecs.at);
    this.#train.setControl(addressOf(this.#control), CONTROL_SPACE);
    this.#control.setUint32(0, CONTROL_LENGTH, true);
    this.#control.setInt32(8, SOL_UDP, true);
    this.#control.setInt32(12, abi.UDP_SEGMENT, true);
  }

  #list(gather: Gather): number {
    const count = Math.min(gather.count, MAX_PIECES);
    const { starts, lengths } = gather;
    for (let i = 0; i < count; i++) this.#iovecs.set(i, this.base + starts[i]!, lengths[i]!);
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

  /** Sends datagrams of `length` octets each but the last, where the system has that (udp(7), UDP_SEGMENT); as `send`. */
  sendTrain(fd: number, gather: Gather, length: number): number {
    this.#control.setUint16(16, length, true);
    this.#train.iovecCount = this.#list(gather);
    return orErrno(libc.sendmsg(fd, this.#train.at, MSG_NOSIGNAL | MSG_DONTWAIT));
  }

  /** octets read (0: end of stream), or a negative errno */
  read(fd: number, gather: Gather): number {
    if (gather.count === 1) {
      return orErrno(
        libc.recv(fd, (this.base + gather.starts[0]!) as never, gather.lengths[0]!, MSG_DONTWAIT),
      );
    }
    return orErrno(libc.readv(fd, this.#iovecs.at, this.#list(gather)));
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
