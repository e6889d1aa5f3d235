/**
 * A guest attached by unix datagrams, a frame each: vfkit's socket (one socket, the guest named by the first datagram's
 * sender) or one end of a socket pair handed over by descriptor passing (spec: sections 8.9, gvproxy 3.2).
 */
import { ptr } from "bun:ffi";
import { FRAME_HEADROOM, type BridgePort } from "../link/bridge-port.ts";
import type { PacketMemory } from "../storage/packet-memory.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import {
  abi,
  EAGAIN,
  errnoName,
  errnoOf,
  libc,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  orErrno,
  SO_RCVBUF,
  SO_SNDBUF,
  SOL_SOCKET,
} from "./libc.ts";
import { MessageHeader } from "./message-header.ts";
import { addressOf, pinned } from "./pinned.ts";
import { EDGE_TRIGGERED, READABLE, WRITABLE } from "./poller.ts";
import type { PortOwner } from "./port-owner.ts";

const SLOT = 66 * 1024;
const SLOTS = 16;
const VFKIT_HELLO = "VFKT";
const SEND_BUFFER_AT = pinned(new Int32Array([1 << 20]));
const RECEIVE_BUFFER_AT = pinned(new Int32Array([4 << 20]));
const ENOBUFS = errnoOf("ENOBUFS");
/** where nobody tells of room again, it is waited for (specification of vmnet, section 3.1) */
const RETRIES = abi.fullIsENOBUFS ? 10 : 0;
const RETRY_US = 50;

export function reserveDatagramMemory(memory: PacketMemory): number {
  return memory.reserve(SLOT * SLOTS);
}

export class DatagramPort implements BridgePort, EventHandler {
  readonly id: number;
  readonly fd: number;
  readonly memory: number;
  readonly #base: number;
  readonly #octets: Uint8Array;
  readonly #owner: PortOwner;
  readonly #iovecs = new BigUint64Array(8);
  readonly #message = new MessageHeader();
  /** sender of the first datagram, for a socket that is not connected */
  readonly #peer = new Uint8Array(128);
  #named: boolean;
  #full = false;
  #gone = false;
  /** frames are dropped for want of room: only the first of them waits for it, so that a guest that sleeps costs little */
  #stuck = false;
  framesIn = 0;
  framesOut = 0;
  octetsIn = 0;
  octetsOut = 0;
  dropped = 0;

  /** base: address of packet memory; connected: the other end is known already (socket pair) */
  constructor(
    id: number,
    fd: number,
    memory: number,
    base: number,
    octets: Uint8Array,
    owner: PortOwner,
    connected: boolean,
  ) {
    this.id = id;
    this.fd = fd;
    this.memory = memory;
    this.#base = base;
    this.#octets = octets;
    this.#owner = owner;
    this.#named = connected;
    this.#message.setIovecs(addressOf(this.#iovecs));
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_AT, 4);
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_AT, 4);
  }

  watch(loop: EventLoop): void {
    loop.add(this.fd, READABLE | WRITABLE | EDGE_TRIGGERED, this);
  }

  get busy(): boolean {
    return this.#full;
  }

  onEvents(events: number): void {
    if (events & WRITABLE && this.#full) {
      this.#full = false;
      this.#owner.portDrained();
    }
    if (events & ~WRITABLE) this.receive();
  }

  /** Up to SLOTS frames a turn; more wait until the others had their turn. */
  receive(): void {
    const now = this.#owner.now();
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = this.memory + slot * SLOT + FRAME_HEADROOM;
      const got = this.#receiveOne(at);
      if (got === -EAGAIN) {
        this.#owner.settle();
        return;
      }
      if (got < 0) {
        this.#owner.settle();
        this.#owner.detach(this, `its socket failed: ${errnoName(got)}`);
        return;
      }
      if (
        got === VFKIT_HELLO.length &&
        String.fromCharCode(...this.#octets.subarray(at, at + got)) === VFKIT_HELLO
      )
        continue;
      this.framesIn++;
      this.octetsIn += got;
      this.#owner.onFrame(now, this, at, at + got);
    }
    this.#owner.settle();
    this.#owner.receiveLater(this);
  }

  #receiveOne(at: number): number {
    if (this.#named)
      return orErrno(
        libc.recv(this.fd, (this.#base + at) as never, SLOT - FRAME_HEADROOM, MSG_DONTWAIT),
      );
    const message = this.#message;
    message.setName(addressOf(this.#peer), this.#peer.length);
    message.setControl(0, 0);
    message.iovecCount = 1;
    this.#iovecs[0] = BigInt(this.#base + at);
    this.#iovecs[1] = BigInt(SLOT - FRAME_HEADROOM);
    const got = orErrno(libc.recvmsg(this.fd, message.at, MSG_DONTWAIT));
    const { nameLength } = message;
    // an unnamed sender cannot be answered, and another may still come
    if (got >= 0 && nameLength > 2) {
      this.#named = orErrno(libc.connect(this.fd, ptr(this.#peer), nameLength)) === 0;
    }
    message.setName(0, 0);
    return got;
  }

  transmit(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): boolean {
    const iovecs = this.#iovecs;
    iovecs[0] = BigInt(this.#base + head);
    iovecs[1] = BigInt(headLength);
    iovecs[2] = BigInt(this.#base + body1);
    iovecs[3] = BigInt(length1);
    iovecs[4] = BigInt(this.#base + body2);
    iovecs[5] = BigInt(length2);
    this.#message.iovecCount = length2 > 0 ? 3 : length1 > 0 ? 2 : 1;
    const sent = this.#named ? this.#send() : -EAGAIN;
    if (sent < 0) {
      this.dropped++;
      const why = errnoName(sent);
      if (why === "ENOBUFS" && abi.fullIsENOBUFS) this.#stuck = true;
      else if (why === "EAGAIN" || why === "ENOBUFS") this.#full = this.#named;
      else if (why === "ECONNREFUSED" || why === "ENOTCONN" || why === "EPIPE") this.#gone = true;
      if (this.#gone)
        this.#owner.receiveLater({ receive: () => this.#owner.detach(this, "the guest has gone") });
      return false;
    }
    this.#stuck = false;
    this.framesOut++;
    this.octetsOut += sent;
    return true;
  }

  #send(): number {
    for (let retries = this.#stuck ? 0 : RETRIES; ; retries--) {
      const sent = orErrno(libc.sendmsg(this.fd, this.#message.at, MSG_DONTWAIT | MSG_NOSIGNAL));
      if (sent !== -ENOBUFS || retries === 0) return sent;
      libc.usleep(RETRY_US);
    }
  }

  flush(): void {
    // every frame has been sent by itself
  }
}
