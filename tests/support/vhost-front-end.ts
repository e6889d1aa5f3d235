/** A virtual machine's end of vhost-user, with the driver of its card: it says what it is told to, also what it must not. */
import { toArrayBuffer, type Pointer } from "bun:ffi";
import {
  abi,
  fcntl,
  libc,
  openLibrary,
  orErrno,
  SCM_RIGHTS,
  SOL_SOCKET,
} from "../../lib/host/libc.ts";
import { MessageHeader } from "../../lib/host/message-header.ts";
import { addressOf } from "../../lib/host/pinned.ts";

const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_SEAL_SHRINK = 2;
const EFD_NONBLOCK = 0x800;
const calls = openLibrary(abi.libraries, {
  memfd_create: { args: ["ptr", "u32"], returns: "i32" },
  ftruncate: { args: ["i32", "i64"], returns: "i32" },
  eventfd: { args: ["u32", "i32"], returns: "i32" },
});

export const QUEUE_SIZE = 8;
/** addresses of the guest's and of the front-end's memory, as they stand in messages */
export const GUEST_BASE = 0x1_0000_0000;
const USER_BASE = 0x7f00_0000_0000;
const MEMORY_SIZE = 1 << 20;
/** offsets of a queue's areas, 4096 octets for each queue */
const AVAILABLE = 1024;
const USED = 2048;
/** buffers of 16 KiB begin here: those of queue 0, then those of queue 1 */
const BUFFERS = 65536;
export const BUFFER_SIZE = 16384;

export class VhostFrontEnd {
  readonly #fd: number;
  readonly memfd: number;
  readonly octets: Uint8Array;
  readonly view: DataView;
  readonly kicks = [calls.eventfd(0, EFD_NONBLOCK), calls.eventfd(0, EFD_NONBLOCK)];
  readonly interrupts = [calls.eventfd(0, EFD_NONBLOCK), calls.eventfd(0, EFD_NONBLOCK)];

  constructor(fd: number, isSealed = true) {
    this.#fd = fd;
    const name = Buffer.from("guest\0");
    this.memfd = calls.memfd_create(name, MFD_ALLOW_SEALING);
    calls.ftruncate(this.memfd, MEMORY_SIZE);
    if (isSealed) fcntl(this.memfd, F_ADD_SEALS, F_SEAL_SHRINK);
    const at = Number(libc.mmap(0, MEMORY_SIZE, 3, 1, this.memfd, 0));
    this.octets = new Uint8Array(toArrayBuffer(at as Pointer, 0, MEMORY_SIZE));
    this.view = new DataView(this.octets.buffer);
  }

  /** Sends a message; words of 64 bits, or numbers of 32 as pairs in one. */
  say(
    request: number,
    words: readonly bigint[] = [],
    fds: readonly number[] = [],
    flags = 1,
  ): void {
    const message = new DataView(new ArrayBuffer(12 + words.length * 8));
    message.setUint32(0, request, true);
    message.setUint32(4, flags, true);
    message.setUint32(8, words.length * 8, true);
    for (const [i, word] of words.entries()) message.setBigUint64(12 + i * 8, word, true);
    this.send(new Uint8Array(message.buffer), fds);
  }

  send(octets: Uint8Array, fds: readonly number[] = []): void {
    const { level, type, data } = abi.control;
    const control = new DataView(new ArrayBuffer(data + 4 * Math.max(1, fds.length)));
    control.setUint32(0, data + 4 * fds.length, true);
    control.setInt32(level, SOL_SOCKET, true);
    control.setInt32(type, SCM_RIGHTS, true);
    for (const [i, fd] of fds.entries()) control.setInt32(data + 4 * i, fd, true);
    const iovec = new BigUint64Array([BigInt(addressOf(octets)), BigInt(octets.length)]);
    const header = new MessageHeader();
    header.setIovecs(addressOf(iovec));
    header.iovecCount = 1;
    header.setControl(addressOf(control), fds.length > 0 ? data + 4 * fds.length : 0);
    const sent = orErrno(libc.sendmsg(this.#fd, header.at, abi.MSG_NOSIGNAL));
    // an address alone keeps nothing alive
    if (sent !== octets.length || iovec.length + control.byteLength === 0)
      throw new Error(`no message of ${octets.length} octets was sent`);
  }

  /** The 64 bits of an answer that has come; undefined: none has. */
  answer(): { request: number; word: bigint } | undefined {
    const octets = new Uint8Array(20);
    const got = orErrno(libc.recv(this.#fd, octets, 20, abi.MSG_DONTWAIT));
    if (got !== 20) return undefined;
    const view = new DataView(octets.buffer);
    return { request: view.getUint32(0, true), word: view.getBigUint64(12, true) };
  }

  /** One region for all of the memory. */
  shareMemory(size = MEMORY_SIZE, flags = 1): void {
    const region = [BigInt(GUEST_BASE), BigInt(size), BigInt(USER_BASE), 0n];
    this.say(5, [1n, ...region], [this.memfd], flags);
  }

  /** Sets a queue up and enables it. */
  startQueue(queue: number): void {
    const index = BigInt(queue);
    const user = BigInt(USER_BASE + queue * 4096);
    this.say(8, [index | (BigInt(QUEUE_SIZE) << 32n)]);
    this.say(10, [index]);
    this.say(9, [index, user, user + BigInt(USED), user + BigInt(AVAILABLE), 0n]);
    this.say(12, [index], [this.kicks[queue]!]);
    this.say(13, [index], [this.interrupts[queue]!]);
    this.say(18, [index | (1n << 32n)]);
  }

  /** where a buffer of a queue is in `octets` */
  buffer(queue: number, index: number): number {
    return BUFFERS + (queue * QUEUE_SIZE + index) * BUFFER_SIZE;
  }

  /** Writes a descriptor; `address` is the guest's, by default that of the buffer with its number. */
  describe(
    queue: number,
    index: number,
    length: number,
    flags: number,
    next = 0,
    address?: number,
  ): void {
    const at = queue * 4096 + index * 16;
    this.view.setBigUint64(at, BigInt(address ?? GUEST_BASE + this.buffer(queue, index)), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, next, true);
  }

  list(queue: number, ...heads: number[]): void {
    const at = queue * 4096 + AVAILABLE;
    for (const head of heads) {
      const index = this.view.getUint16(at + 2, true);
      this.view.setUint16(at + 4 + (index % QUEUE_SIZE) * 2, head, true);
      this.view.setUint16(at + 2, index + 1, true);
    }
  }

  kick(queue: number): void {
    libc.write(this.kicks[queue]!, new BigUint64Array([1n]), 8);
  }

  wasInterrupted(queue: number): boolean {
    return Number(libc.read(this.interrupts[queue]!, new BigUint64Array(1), 8)) === 8;
  }

  wantsKicks(queue: number): boolean {
    return this.view.getUint16(queue * 4096 + USED, true) === 0;
  }

  /** The same with VIRTIO_F_EVENT_IDX: the next chain that is listed is the one at which a kick is wanted. */
  wantsNextKick(queue: number): boolean {
    const at = queue * 4096;
    return (
      this.view.getUint16(at + USED + 4 + QUEUE_SIZE * 8, true) ===
      this.view.getUint16(at + AVAILABLE + 2, true)
    );
  }

  /** what came back of a queue: heads and octets */
  back(queue: number): [number, number][] {
    const at = queue * 4096 + USED;
    return Array.from({ length: this.view.getUint16(at + 2, true) }, (_, i) => {
      const element = at + 4 + (i % QUEUE_SIZE) * 8;
      return [this.view.getUint32(element, true), this.view.getUint32(element + 4, true)];
    });
  }

  close(): void {
    for (const fd of [this.memfd, ...this.kicks, ...this.interrupts]) libc.close(fd);
  }
}
