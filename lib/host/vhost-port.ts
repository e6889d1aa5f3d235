/**
 * A guest whose virtual machine shares its memory with us (vhost-user): frames are copied from its buffers and to them, and no
 * socket is between. Frames from the guest may be as large as IP allows, whatever the link's MTU, and lack their checksum.
 */
import type { BridgePort } from "../link/bridge-port.ts";
import type { Segmenter } from "../link/segmentation.ts";
import {
  CHECKSUM_IS_RIGHT,
  emitPlainHeader,
  emitVirtioHeader,
  NEEDS_CHECKSUM,
  TCP_OVER_IPV4,
  isPlainTcp,
  lacksTcpChecksum,
  TCP_START,
  typeOf,
  VIRTIO_HEADER_LENGTH,
  WHOLE,
  type VirtioHeader,
} from "../link/virtio-header.ts";
import { NO_FEATURES, type Features } from "../link/vhost-user.ts";
import { GuestBuffers, type Virtqueue } from "../link/virtqueue.ts";
import type { PacketMemory } from "../storage/packet-memory.ts";
import type { Counters } from "../trace/counters.ts";
import { OctetCount } from "../trace/octet-count.ts";
import { fold, type SumOctets } from "../wire/checksum.ts";
import { destinationMac, ETHERNET_HEADER_LENGTH, sourceMac } from "../wire/ethernet.ts";
import { IPV4_HEADER_LENGTH, PROTOCOL_TCP } from "../wire/ipv4.ts";
import { put16 } from "../wire/octets.ts";
import { TCP_CHECKSUM } from "../wire/tcp.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { libc } from "./libc.ts";
import { pinned } from "./pinned.ts";
import type { PiecesOwner, PortOwner } from "./port-owner.ts";

const RECEIVE_SIZE = 256 * 1024;
/** a virtio header, Ethernet's with two tags, and the largest IP packet; aligned */
const MAX_RECORD = 65_536 + 64;
/** in front of a packet, with two tags */
const LINK_HEADERS = ETHERNET_HEADER_LENGTH + 8;
/** of a frame with a right checksum */
const RIGHT: VirtioHeader = {
  flags: CHECKSUM_IS_RIGHT,
  type: WHOLE,
  headerLength: 0,
  segmentSize: 0,
  checksumStart: 0,
  checksumOffset: 0,
};
/** while no more buffers of the guest's than a fourth of its queue are left, those who can wait should */
const BUSY_SHARE = 4;

/** eventfd(2): what is added to its count of 64 bits wakes whoever waits for it */
const ONE_AT = pinned(new BigUint64Array([1n]));
const COUNT_LENGTH = 8;

/** Packet memory of one port; kept and used again when a port goes. */
export interface VhostMemory {
  receive: number;
  header: number;
}

export function reserveVhostMemory(memory: PacketMemory): VhostMemory {
  return {
    receive: memory.reserve(RECEIVE_SIZE + MAX_RECORD + VIRTIO_HEADER_LENGTH),
    header: memory.reserve(VIRTIO_HEADER_LENGTH),
  };
}

/** What an engine has for frames that are larger than the link's MTU. */
export interface LargeFrames extends PiecesOwner {
  readonly segmenter: Segmenter;
  readonly sum: SumOctets;
  readonly counters: Counters;
  /** octets of the largest IP packet that the link carries */
  readonly mtu: number;
  /** of our own frames, whose checksums are right; nobody else's have it */
  readonly gatewayMac: number;
  /** somebody looks at the frames on their way, which are to have their checksums then */
  isObserved(): boolean;
  /** TCP segments over IPv4 to this hardware address may be of any size. */
  takesLarge(mac: number): boolean;
}

export interface VhostOwner extends PortOwner {
  /** The port is not to take frames in now: its `receive` is called when it may. */
  holds(port: VhostPort): boolean;
}

/** One direction of a guest's card. */
export interface QueueEnd {
  queue: Virtqueue;
  /** eventfd by which the guest is interrupted; -1: it does not want to be */
  call: number;
}

/** Shows the guest what it got back, and wakes it where it wants to be. */
function publish({ queue, call }: QueueEnd): void {
  if (queue.publish() && call >= 0) libc.write(call, ONE_AT, COUNT_LENGTH);
}

export class VhostPort implements BridgePort {
  readonly id: number;
  readonly kind = "vhost-user";
  features: Features = NO_FEATURES;
  fromGuest: QueueEnd | undefined;
  towards: BridgePort | undefined;
  lacksChecksum = false;
  readonly #memory: VhostMemory;
  readonly #guestMemory: GuestMemory;
  readonly #octets: Uint8Array;
  /** our address of packet memory */
  readonly #base: number;
  readonly #owner: VhostOwner;
  readonly #large: LargeFrames;
  readonly #buffers = new GuestBuffers();
  /** of a segment without checksum */
  readonly #header: VirtioHeader = {
    flags: NEEDS_CHECKSUM,
    type: TCP_OVER_IPV4,
    headerLength: 0,
    segmentSize: 0,
    checksumStart: TCP_START,
    checksumOffset: TCP_CHECKSUM,
  };
  #toGuest: QueueEnd | undefined;
  /** the most buffers that there were at once: small drivers never list as many as a queue has room for */
  #most = 0;
  #isWaiting = false;
  #listed = false;
  #now = 0;
  /** where the next octet to the guest goes: a buffer, and a place in it */
  #buffer = 0;
  #place = 0;
  framesIn = 0;
  framesOut = 0;
  readonly octetsIn = new OctetCount();
  readonly octetsOut = new OctetCount();
  dropped = 0;

  constructor(
    id: number,
    memory: VhostMemory,
    guestMemory: GuestMemory,
    octets: Uint8Array,
    base: number,
    owner: VhostOwner,
    large: LargeFrames,
  ) {
    this.id = id;
    this.#memory = memory;
    this.#guestMemory = guestMemory;
    this.#octets = octets;
    this.#base = base;
    this.#owner = owner;
    this.#large = large;
  }

  set toGuest(end: QueueEnd | undefined) {
    this.#toGuest = end;
    this.#most = 0;
    end?.queue.askForKicks(false);
    if (this.#isWaiting) this.#owner.portDrained();
    this.#isWaiting = false;
  }

  // ---------------------------------------------------------------- from the guest

  /** As much as the receive buffer has room for; more is left for the next turn. */
  receive(): void {
    const { fromGuest } = this;
    if (fromGuest === undefined) return;
    const { queue } = fromGuest;
    const { receive } = this.#memory;
    queue.askForKicks(false);
    this.#now = this.#owner.now();
    let at = receive;
    let isHeld = false;
    while (at <= receive + RECEIVE_SIZE) {
      isHeld = this.#owner.holds(this);
      if (isHeld) break;
      const end = this.#take(queue, at);
      // a port that was detached meanwhile has no memory any more
      if (this.fromGuest !== fromGuest) return;
      if (end === 0) break;
      at = (end + 7) & ~7;
    }
    publish(fromGuest);
    // everything that refers to the receive buffer leaves before it is used again
    this.#owner.settle();
    if (this.fromGuest !== fromGuest) return;
    if (queue.isBroken) {
      this.#owner.detach(this, "its queue of frames to send is not one");
      return;
    }
    if (isHeld) return;
    // the guest kicks no more for what came before it was asked to
    if (queue.available === 0) queue.askForKicks(true);
    if (queue.available > 0) this.#owner.receiveLater(this);
  }

  /** Takes one frame to `at` and handles it; where it ends, or 0: there is none. */
  #take(queue: Virtqueue, at: number): number {
    const buffers = this.#buffers;
    buffers.clear();
    if (!queue.take(buffers)) return 0;
    const { headerLength } = this.features;
    const start = at + VIRTIO_HEADER_LENGTH - headerLength;
    let end = start;
    const fits =
      buffers.octets >= headerLength + ETHERNET_HEADER_LENGTH && buffers.octets <= MAX_RECORD;
    if (fits) {
      for (let i = 0; i < buffers.count; i++) {
        const length = buffers.lengths[i]!;
        if (!this.#guestMemory.read(buffers.addresses[i]!, this.#base + end, length)) break;
        end += length;
      }
    }
    queue.giveBack(buffers.heads[0]!, 0);
    if (end - start !== buffers.octets) {
      this.#large.counters.count(fits ? "vhost-address" : "vhost-length");
      return at;
    }
    // the shorter header has all that counts
    if (start !== at) this.#octets.copyWithin(at, start, start + headerLength);
    const frame = at + VIRTIO_HEADER_LENGTH;
    this.framesIn++;
    this.octetsIn.add(end - frame);
    const large = this.#large;
    const mac = destinationMac(this.#octets, frame);
    const type = typeOf(this.#octets, at);
    const isKept = type === TCP_OVER_IPV4 && large.takesLarge(mac);
    // the router needs no checksum, and the card of a guest that is to cut a segment makes it anew
    const isEnough =
      (mac === large.gatewayMac && type === WHOLE) || (isKept && this.#isLarge(end - frame));
    if (isEnough && !large.isObserved() && lacksTcpChecksum(this.#octets, at, end)) {
      this.lacksChecksum = true;
      this.#owner.onFrame(this.#now, this, frame, end);
      this.lacksChecksum = false;
      return end;
    }
    const drop = large.segmenter.onRecord(at, end, this.#onFrame, isKept);
    if (drop !== undefined) large.counters.count(drop);
    return end;
  }

  #isLarge(length: number): boolean {
    return length > this.#large.mtu + LINK_HEADERS;
  }

  // made once, as none is made for a packet
  readonly #onFrame = (head: number, headLength: number, body: number, length: number): void => {
    if (length === 0) this.#owner.onFrame(this.#now, this, head, head + headLength);
    else this.#large.onPieces(this.#now, this, head, headLength, body, length);
  };

  // ---------------------------------------------------------------- to the guest

  get takesLarge(): boolean {
    return this.#toGuest !== undefined && this.features.takesLarge;
  }

  get busy(): boolean {
    const end = this.#toGuest;
    if (end === undefined) return false;
    if (!this.#isShort(end.queue)) return false;
    this.#waitForRoom(end.queue);
    return this.#isWaiting;
  }

  #isShort(queue: Virtqueue): boolean {
    const { available } = queue;
    if (available > this.#most) this.#most = available;
    return available <= Math.min(queue.size / BUSY_SHARE, this.#most >> 1);
  }

  #waitForRoom(queue: Virtqueue): void {
    queue.askForKicks(true);
    this.#isWaiting = this.#isShort(queue);
    if (!this.#isWaiting) queue.askForKicks(false);
  }

  /** The guest has listed new buffers. */
  onRoom(): void {
    const queue = this.#toGuest?.queue;
    if (queue === undefined || !this.#isWaiting) return;
    // too few are waited for once more
    this.#waitForRoom(queue);
    if (!this.#isWaiting) this.#owner.portDrained();
  }

  transmit(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): boolean {
    const end = this.#toGuest;
    const length = headLength + length1 + length2;
    if (end === undefined || !this.#open(end.queue, this.features.headerLength + length)) {
      this.dropped++;
      return false;
    }
    const { header } = this.#memory;
    const { headerLength } = this.features;
    const buffers = this.#buffers;
    this.#writeHeader(header, head, length);
    // num_buffers, little-endian; there are fewer than 2^8 × 2^8
    if (headerLength === VIRTIO_HEADER_LENGTH)
      put16(this.#octets, header + 10, ((buffers.chains & 0xff) << 8) | (buffers.chains >> 8));
    const isWritten =
      this.#put(header, headerLength) &&
      this.#put(head, headLength) &&
      this.#put(body1, length1) &&
      this.#put(body2, length2);
    this.#giveBack(end.queue, isWritten ? headerLength + length : 0);
    if (!isWritten) {
      this.dropped++;
      return false;
    }
    this.framesOut++;
    this.octetsOut.add(length);
    if (!this.#listed) {
      this.#listed = true;
      this.#owner.flushLater(this);
    }
    return true;
  }

  /** The virtio header of the frame whose own headers are at `head`. */
  #writeHeader(at: number, head: number, length: number): void {
    const octets = this.#octets;
    const { believesChecksums, takesLarge } = this.features;
    const isOurs = sourceMac(octets, head) === this.#large.gatewayMac;
    const isLarge = this.#isLarge(length);
    if (takesLarge && (isOurs || isLarge) && isPlainTcp(octets, head))
      this.#writeTcpHeader(at, head, length, isLarge);
    else if (believesChecksums && isOurs) emitVirtioHeader(RIGHT, octets, at);
    else emitPlainHeader(octets, at);
  }

  /**
   * The same of a segment without checksum, which may be one to be cut: section 5.1.6.4.1 has the guest make its checksum from
   * the sum of the pseudo header.
   */
  #writeTcpHeader(at: number, head: number, length: number, isLarge: boolean): void {
    const octets = this.#octets;
    const { mtu, sum } = this.#large;
    const segment = head + TCP_START;
    const tcpHeaderLength = (octets[segment + 12]! >>> 4) * 4;
    const addresses = sum(segment - 8, 8);
    put16(octets, segment + TCP_CHECKSUM, fold(addresses + PROTOCOL_TCP + length - TCP_START));
    const header = this.#header;
    header.type = isLarge ? TCP_OVER_IPV4 : WHOLE;
    header.headerLength = isLarge ? TCP_START + tcpHeaderLength : 0;
    header.segmentSize = isLarge ? mtu - IPV4_HEADER_LENGTH - tcpHeaderLength : 0;
    emitVirtioHeader(header, octets, at);
  }

  /** Takes buffers for so many octets. False: there are not as many. */
  #open(queue: Virtqueue, octets: number): boolean {
    const buffers = this.#buffers;
    buffers.clear();
    this.#buffer = 0;
    this.#place = 0;
    while (buffers.octets < octets) {
      const mayTake = buffers.chains === 0 || this.features.mergesBuffers;
      if (mayTake && queue.take(buffers)) continue;
      queue.putBack(buffers.chains);
      if (!queue.isBroken) this.#waitForRoom(queue);
      return false;
    }
    return true;
  }

  /** Copies to where the last piece ended. */
  #put(from: number, length: number): boolean {
    const { addresses, lengths } = this.#buffers;
    let left = length;
    while (left > 0) {
      const part = Math.min(left, lengths[this.#buffer]! - this.#place);
      const start = this.#base + from + length - left;
      if (!this.#guestMemory.write(addresses[this.#buffer]! + this.#place, start, part))
        return false;
      left -= part;
      this.#place += part;
      if (this.#place === lengths[this.#buffer]) {
        this.#buffer++;
        this.#place = 0;
      }
    }
    return true;
  }

  #giveBack(queue: Virtqueue, written: number): void {
    const buffers = this.#buffers;
    let left = written;
    let i = 0;
    for (let chain = 0; chain < buffers.chains; chain++) {
      let room = 0;
      for (; i < buffers.ends[chain]!; i++) room += buffers.lengths[i]!;
      queue.giveBack(buffers.heads[chain]!, Math.min(left, room));
      left -= Math.min(left, room);
    }
  }

  flush(): void {
    this.#listed = false;
    const end = this.#toGuest;
    if (end === undefined) return;
    publish(end);
    if (end.queue.isBroken) this.#owner.detach(this, "its queue of buffers is not one");
  }
}
