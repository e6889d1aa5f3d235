/**
 * A guest attached by a unix stream with length-prefixed frames (QEMU). One receive and one send a turn: frames are
 * handled where they were received, and leave as one vectored write of the pieces the network listed.
 */
import type { BridgePort } from "../link/bridge-port.ts";
import { deframe, MAX_PREFIX, QEMU_FRAMING, type StreamFraming } from "../link/stream-framing.ts";
import { Gather } from "../storage/gather.ts";
import type { PacketMemory } from "../storage/packet-memory.ts";
import { OctetCount } from "../trace/octet-count.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import { EAGAIN, libc, SO_SNDBUF, SOL_SOCKET } from "./libc.ts";
import { EDGE_TRIGGERED, FAILED, HUNG_UP, PEER_DONE, READABLE, WRITABLE } from "./poller.ts";
import type { PortOwner } from "./port-owner.ts";
import type { VectoredIo } from "./vectored-io.ts";

const RECEIVE_SIZE = 256 * 1024;
/** larger announcements are not frames (spec: section 8.4) */
const MAX_STREAM_FRAME = 128 * 1024;
const BACKLOG_SIZE = 1024 * 1024;
/** octets after which senders that can wait are told to, so that one write takes all */
const BUSY_OCTETS = 384 * 1024;
const PIECES = 1024;
const EVENTS = READABLE | PEER_DONE | EDGE_TRIGGERED;

/** Packet memory of one port; kept and used again when a port goes. */
export interface PortMemory {
  receive: number;
  backlog: number;
  /** lengths of frames that are listed for sending */
  prefixes: number;
}

export function reservePortMemory(memory: PacketMemory): PortMemory {
  return {
    receive: memory.reserve(RECEIVE_SIZE + MAX_STREAM_FRAME + MAX_PREFIX),
    backlog: memory.reserve(BACKLOG_SIZE),
    prefixes: memory.reserve(PIECES * MAX_PREFIX),
  };
}

export class StreamPort implements BridgePort, EventHandler {
  readonly id: number;
  readonly kind = "stream";
  readonly keepsFrames = true;
  towards: BridgePort | undefined;
  readonly memory: PortMemory;
  readonly fd: number;
  readonly #framing: StreamFraming;
  readonly #io: VectoredIo;
  readonly #octets: Uint8Array;
  readonly #owner: PortOwner;
  readonly #gather = new Gather(PIECES);
  /** the guest has gone, and what it sent before may still be there to read */
  #ending = false;
  #detached = false;
  #received = 0;
  #receivedAt = 0;
  /** one for all reads: a closure for each would be garbage */
  readonly #onFrame = (from: number, to: number): void => {
    this.framesIn++;
    this.#owner.onFrame(this.#receivedAt, this, from, to);
  };
  #nextPrefix = 0;
  #backlogStart = 0;
  #backlogEnd = 0;
  #full = false;
  #listed = false;
  #loop: EventLoop | undefined;
  framesIn = 0;
  framesOut = 0;
  readonly octetsIn = new OctetCount();
  readonly octetsOut = new OctetCount();
  dropped = 0;

  constructor(
    id: number,
    fd: number,
    framing: StreamFraming,
    memory: PortMemory,
    io: VectoredIo,
    octets: Uint8Array,
    owner: PortOwner,
  ) {
    this.id = id;
    this.fd = fd;
    this.memory = memory;
    this.#framing = framing;
    this.#io = io;
    this.#octets = octets;
    this.#owner = owner;
    const size = new Int32Array([BACKLOG_SIZE]);
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, size, 4);
  }

  watch(loop: EventLoop): void {
    this.#loop = loop;
    loop.add(this.fd, EVENTS, this);
  }

  /** A unix socket tells of room after every read of its peer: only while room is waited for does the loop listen to it. */
  #setFull(full: boolean): void {
    this.#full = full;
    if (!this.#detached) this.#loop?.change(this.fd, full ? EVENTS | WRITABLE : EVENTS);
  }

  get busy(): boolean {
    return this.#full || this.#gather.octets > BUSY_OCTETS;
  }

  onEvents(events: number): void {
    if (events & WRITABLE && this.#full) this.flush();
    if (events & (PEER_DONE | HUNG_UP | FAILED)) this.#ending = true;
    if (events & ~WRITABLE) this.receive();
  }

  /** One receive; more than fits is left for the next turn. */
  receive(): void {
    if (this.#detached) return;
    const room = RECEIVE_SIZE + MAX_PREFIX + MAX_STREAM_FRAME - this.#received;
    const got = this.#io.readPiece(this.fd, this.memory.receive + this.#received, room);
    if (got <= 0) {
      if (got === -EAGAIN) return;
      this.#detach(got === 0 ? "the guest has gone" : "the connection broke");
      return;
    }
    this.#take(got);
    // edge-triggered: a full buffer may have left octets behind, and an end that came with the last octets is not told
    // again; both wait until the others had their turn
    if (!this.#detached && (got === room || this.#ending)) this.#owner.receiveLater(this);
  }

  /** Ends the port; a turn that was put off for it finds nothing to do. */
  #detach(why: string): void {
    this.#detached = true;
    this.#owner.detach(this, why);
  }

  /** Takes in octets that somebody else has read from the connection before it was ours. */
  receiveEarly(octets: Uint8Array): void {
    if (octets.length > RECEIVE_SIZE) {
      this.#detach("it sent more than it may before it was attached");
      return;
    }
    this.#octets.set(octets, this.memory.receive);
    this.#take(octets.length);
  }

  /** Handles the frames in the receive buffer, which has `got` more octets than before. */
  #take(got: number): void {
    this.octetsIn.add(got);
    const start = this.memory.receive;
    const end = start + this.#received + got;
    this.#receivedAt = this.#owner.now();
    const rest = deframe(this.#framing, this.#octets, start, end, MAX_STREAM_FRAME, this.#onFrame);
    // everything that refers to the receive buffer leaves before it is used again
    this.#owner.settle();
    if (typeof rest === "string") {
      this.#detach("it announced a frame of more than 128 KiB");
      return;
    }
    this.#received = end - rest;
    if (this.#received > 0 && rest > start) this.#octets.copyWithin(start, rest, end);
  }

  transmit(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): boolean {
    const length = headLength + length1 + length2;
    const { prefix } = this.#framing;
    const at = this.#putPrefix(head, length);
    if (this.#full) return this.#keep(at, head, headLength, body1, length1, body2, length2);
    // what the socket does not take must fit into the backlog
    if (this.#gather.room < 4 || this.#gather.octets + prefix + length > BACKLOG_SIZE) {
      this.flush();
      if (this.#full) return this.#keep(at, head, headLength, body1, length1, body2, length2);
    }
    if (at + prefix === head) {
      this.#gather.add(at, prefix + headLength);
    } else {
      this.#gather.add(at, prefix);
      this.#gather.add(head, headLength);
    }
    this.#gather.add(body1, length1);
    this.#gather.add(body2, length2);
    this.framesOut++;
    this.octetsOut.add(length);
    if (!this.#listed) {
      this.#listed = true;
      this.#owner.flushLater(this);
    }
    return true;
  }

  /**
   * Writes a frame's length and tells where. The octets in front of a frame are shared by all ports that a frame goes
   * to: QEMU's framing, which is the same for all of them, is written there, any other elsewhere.
   */
  #putPrefix(head: number, length: number): number {
    let at = head - QEMU_FRAMING.prefix;
    if (this.#framing !== QEMU_FRAMING) {
      at = this.memory.prefixes + this.#nextPrefix * MAX_PREFIX;
      this.#nextPrefix = (this.#nextPrefix + 1) % PIECES;
    }
    this.#framing.putLength(this.#octets, at, length);
    return at;
  }

  /** The socket is full: the frame is copied behind what waits already, or dropped. */
  #keep(
    at: number,
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): boolean {
    const { prefix } = this.#framing;
    const length = prefix + headLength + length1 + length2;
    if (!this.#makeRoom(length)) {
      this.dropped++;
      return false;
    }
    this.#copy(at, prefix);
    this.#copy(head, headLength);
    this.#copy(body1, length1);
    this.#copy(body2, length2);
    this.framesOut++;
    this.octetsOut.add(length);
    return true;
  }

  #makeRoom(length: number): boolean {
    if (this.#backlogEnd + length <= BACKLOG_SIZE) return true;
    const waiting = this.#backlogEnd - this.#backlogStart;
    if (waiting + length > BACKLOG_SIZE) return false;
    const base = this.memory.backlog;
    this.#octets.copyWithin(base, base + this.#backlogStart, base + this.#backlogEnd);
    this.#backlogStart = 0;
    this.#backlogEnd = waiting;
    return true;
  }

  #copy(start: number, length: number): void {
    const to = this.memory.backlog + this.#backlogEnd;
    this.#octets.copyWithin(to, start, start + length);
    this.#backlogEnd += length;
  }

  /** Writes what is listed, or what waits from before. */
  flush(): void {
    this.#listed = false;
    if (this.#full) {
      this.#flushBacklog();
      return;
    }
    const gather = this.#gather;
    if (gather.count === 0) return;
    const wasBusy = this.busy;
    const sent = this.#io.send(this.fd, gather);
    if (sent < gather.octets) {
      // a broken connection shows on the next receive; until then frames are kept like those of a slow guest
      let skip = Math.max(0, sent);
      this.#backlogStart = 0;
      this.#backlogEnd = 0;
      for (let i = 0; i < gather.count; i++) {
        const length = gather.lengths[i]!;
        if (skip < length) this.#copy(gather.starts[i]! + skip, length - skip);
        skip = Math.max(0, skip - length);
      }
      this.#setFull(true);
    }
    gather.clear();
    if (wasBusy && !this.#full) this.#owner.portDrained();
  }

  #flushBacklog(): void {
    while (this.#backlogStart < this.#backlogEnd) {
      const at = this.memory.backlog + this.#backlogStart;
      const sent = this.#io.sendPiece(this.fd, at, this.#backlogEnd - this.#backlogStart);
      if (sent <= 0) return;
      this.#backlogStart += sent;
    }
    this.#setFull(false);
    this.#owner.portDrained();
  }
}
