/**
 * A unix datagram socket by which guests are attached, a frame a datagram (spec: sections 8.9, gvproxy 3.2). It leads to one
 * guest or to many:
 *   passed  an end of a socket pair that a guest has handed over
 *   one     bound to a path: connected to the first that sends, so that the event loop tells when it has room again
 *   many    bound to a path: guests are told apart by their addresses, as vfkit's and krunkit's sockets have them
 */
import { FRAME_HEADROOM } from "../link/bridge-port.ts";
import type { PacketMemory } from "../storage/packet-memory.ts";
import { beginAlike } from "../wire/octets.ts";
import { DatagramPort } from "./datagram-port.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import { Iovecs } from "./iovecs.ts";
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
/** an address of no family ends a connection (connect(2)) */
const NOWHERE_AT = pinned(new Uint8Array(16));
const SHORTEST_ADDRESS = 3;

export function reserveDatagramMemory(memory: PacketMemory): number {
  return memory.reserve(SLOT * SLOTS);
}

export type Guests = "passed" | "one" | "many";

export interface DatagramOwner extends PortOwner {
  /** A guest is heard of for the first time: its port's number; undefined: there is no room for it. */
  admit(): number | undefined;
  /** The guest's port is there. */
  admitted(port: DatagramPort): void;
}

export class DatagramSocket implements EventHandler {
  readonly fd: number;
  readonly memory: number;
  readonly #guests: Guests;
  readonly #base: number;
  readonly #octets: Uint8Array;
  readonly #owner: DatagramOwner;
  readonly #iovecs = new Iovecs(3);
  readonly #message = new MessageHeader();
  /** sender of the last datagram */
  readonly #sender = new Uint8Array(128);
  readonly #senderAt = addressOf(this.#sender);
  /** where the socket is connected to: all that comes is this one's */
  #only: DatagramPort | undefined;
  /** told apart by their addresses */
  readonly #ports: DatagramPort[] = [];
  /** whose address was the last: frames of one guest follow each other */
  #last: DatagramPort | undefined;
  /** the one guest takes no more for now */
  isFull = false;

  /** base: address of packet memory */
  constructor(
    fd: number,
    guests: Guests,
    memory: number,
    base: number,
    octets: Uint8Array,
    owner: DatagramOwner,
  ) {
    this.fd = fd;
    this.memory = memory;
    this.#guests = guests;
    this.#base = base;
    this.#octets = octets;
    this.#owner = owner;
    this.#message.setIovecs(this.#iovecs.at);
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_AT, 4);
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_AT, 4);
  }

  /** False: there is no room for the guest that has handed it over. */
  watch(loop: EventLoop): boolean {
    if (this.isPassed && this.#admit(undefined) === undefined) return false;
    loop.add(this.fd, READABLE | WRITABLE | EDGE_TRIGGERED, this);
    return true;
  }

  onEvents(events: number): void {
    if (events & WRITABLE && this.isFull) {
      this.isFull = false;
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
      if (got < 0) {
        this.#owner.settle();
        if (got !== -EAGAIN && this.#only !== undefined)
          this.#owner.detach(this.#only, `its socket failed: ${errnoName(got)}`);
        return;
      }
      const port = this.#only ?? this.#portOfSender();
      if (port === undefined || this.#isHello(at, got)) continue;
      port.framesIn++;
      port.octetsIn.add(got);
      this.#owner.onFrame(now, port, at, at + got);
    }
    this.#owner.settle();
    this.#owner.receiveLater(this);
  }

  #receiveOne(at: number): number {
    const room = SLOT - FRAME_HEADROOM;
    if (this.#only !== undefined)
      return orErrno(libc.recv(this.fd, (this.#base + at) as never, room, MSG_DONTWAIT));
    const message = this.#message;
    message.setName(this.#senderAt, this.#sender.length);
    message.setControl(0, 0);
    message.iovecCount = 1;
    this.#iovecs.set(0, this.#base + at, room);
    return orErrno(libc.recvmsg(this.fd, message.at, MSG_DONTWAIT));
  }

  #isHello(at: number, length: number): boolean {
    return (
      length === VFKIT_HELLO.length &&
      String.fromCharCode(...this.#octets.subarray(at, at + length)) === VFKIT_HELLO
    );
  }

  /** The port of whoever sent the last datagram; nothing can be sent to one without an address. */
  #portOfSender(): DatagramPort | undefined {
    const length = this.#message.nameLength;
    if (length < SHORTEST_ADDRESS) return undefined;
    if (this.#isFrom(this.#last?.address, length)) return this.#last;
    for (const port of this.#ports)
      if (this.#isFrom(port.address, length)) {
        this.#last = port;
        return port;
      }
    const address = this.#sender.slice(0, length);
    if (this.#guests === "many") return this.#admit(address);
    const isConnected = orErrno(libc.connect(this.fd, address, length)) === 0;
    return isConnected ? this.#admit(undefined) : undefined;
  }

  #isFrom(address: Uint8Array | undefined, length: number): boolean {
    return address?.length === length && beginAlike(address, this.#sender, length);
  }

  /** Without an address it is the guest to whom the socket leads. */
  #admit(address: Uint8Array | undefined): DatagramPort | undefined {
    const id = this.#owner.admit();
    if (id === undefined) return undefined;
    const port = new DatagramPort(id, this, address);
    if (address === undefined) this.#only = port;
    else this.#ports.push(port);
    this.#owner.admitted(port);
    return port;
  }

  /** Octets sent, or a negative errno; the frame's pieces as in BridgePort.transmit. */
  send(
    port: DatagramPort,
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): number {
    const iovecs = this.#iovecs;
    iovecs.set(0, this.#base + head, headLength);
    iovecs.set(1, this.#base + body1, length1);
    iovecs.set(2, this.#base + body2, length2);
    const message = this.#message;
    message.iovecCount = length2 > 0 ? 3 : length1 > 0 ? 2 : 1;
    message.setControl(0, 0);
    const { address } = port;
    if (address === undefined) message.setName(0, 0);
    else message.setName(addressOf(address), address.length);
    for (let retries = port.isStuck ? 0 : RETRIES; ; retries--) {
      const sent = orErrno(libc.sendmsg(this.fd, message.at, MSG_DONTWAIT | MSG_NOSIGNAL));
      if (sent === -ENOBUFS && retries > 0) {
        libc.usleep(RETRY_US);
        continue;
      }
      const isFull = sent === -EAGAIN || (sent === -ENOBUFS && !abi.fullIsENOBUFS);
      // the event loop tells of room where the socket leads to one guest
      if (isFull && address === undefined) this.isFull = true;
      return sent;
    }
  }

  /** The guest has turned out to be gone while frames were sent: its port ends when nobody uses it. */
  lose(port: DatagramPort, reason: string): void {
    this.#owner.receiveLater({ receive: () => this.#owner.detach(port, reason) });
  }

  /** The port has been detached; a socket that is bound to a path is there for others. */
  forget(port: DatagramPort): void {
    const at = this.#ports.indexOf(port);
    if (at >= 0) this.#ports.splice(at, 1);
    if (this.#only === port) this.#only = undefined;
    if (this.#last === port) this.#last = undefined;
    this.isFull = false;
    if (this.#guests === "one") libc.connect(this.fd, NOWHERE_AT, 16);
  }

  /** its ports end with it */
  get isPassed(): boolean {
    return this.#guests === "passed";
  }
}
