/**
 * The reverse of `segmentation.ts`, for frames to the host: TCP segments of one connection that follow each other become one
 * large segment, which costs the host little more than a single one. What does not follow, and all that is not plain data,
 * passes as it is. Nothing is copied before it is known how much it is; frames of one connection keep their order, and cutting
 * what has been joined gives the same frames again.
 */
import { fold, type SumOctets } from "../wire/checksum.ts";
import {
  ETHERNET_HEADER_LENGTH,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  etherType,
} from "../wire/ethernet.ts";
import { DONT_FRAGMENT, IPV4_HEADER_LENGTH, PROTOCOL_TCP } from "../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../wire/ipv6.ts";
import { put16, u16, u32 } from "../wire/octets.ts";
import { ACK, PSH, TCP_CHECKSUM, TCP_HEADER_LENGTH } from "../wire/tcp.ts";
import {
  emitPlainHeader,
  emitVirtioHeader,
  NEEDS_CHECKSUM,
  TCP_OVER_IPV4,
  TCP_OVER_IPV6,
  VIRTIO_HEADER_LENGTH,
} from "./virtio-header.ts";

/** largest IPv4 packet; the headers of IPv6 count into it here */
const MAX_PACKET = 65535;
const MAX_FRAMES = 64;
/** connections that have frames waiting at a time; more are served one after the other */
const MAX_CONNECTIONS = 8;

/** Frames of one connection that follow each other; the first one's headers speak for all. */
class Train {
  count = 0;
  readonly frames = new Int32Array(MAX_FRAMES);
  readonly ends = new Int32Array(MAX_FRAMES);
  /** of the first frame */
  segment = 0;
  payload = 0;
  /** octets of the first frame's payload: no other has more */
  size = 0;
  /** of all payloads */
  octets = 0;
  /** the first frame's checksums have been looked at, and are right */
  isSound = false;
}

export class Coalescer {
  readonly #octets: Uint8Array;
  readonly #sum: SumOctets;
  /** a place in packet memory for a record, 0: there is none, and the frames of it are lost */
  readonly #put: (length: number, frames: number) => number;
  readonly #trains = Array.from({ length: MAX_CONNECTIONS }, () => new Train());
  #waiting = 0;
  #next = 0;
  /** of the frame that `#read` has looked at; the packet begins behind the Ethernet header */
  #segment = 0;
  #payload = 0;

  constructor(octets: Uint8Array, sum: SumOctets, put: (length: number, frames: number) => number) {
    this.#octets = octets;
    this.#sum = sum;
    this.#put = put;
  }

  /** Takes in a frame, which stays untouched until `flush`. */
  add(start: number, end: number): void {
    const kind = this.#read(start, end);
    if (kind === "other") {
      this.#putFrame(start, end);
      return;
    }
    const train = this.#waiting === 0 ? undefined : this.#trainOf(start);
    if (train !== undefined) {
      if (kind === "data" && this.#follows(train, start, end)) {
        this.#append(train, start, end);
        return;
      }
      this.#emit(train);
    }
    if (kind === "data") this.#begin(train ?? this.#freeTrain(), start, end);
    else this.#putFrame(start, end);
  }

  /** Puts out all that waits. */
  flush(): void {
    if (this.#waiting === 0) return;
    for (const train of this.#trains) this.#emit(train);
  }

  /** "data": may be joined with others; "tcp": of a connection whose order counts; "other": all else */
  #read(start: number, end: number): "data" | "tcp" | "other" {
    const octets = this.#octets;
    const packet = start + ETHERNET_HEADER_LENGTH;
    if (packet + IPV4_HEADER_LENGTH + TCP_HEADER_LENGTH > end) return "other";
    const type = etherType(octets, start);
    if (type === ETHERTYPE_IPV4) {
      // neither options nor fragments, and no padding behind the packet
      if (octets[packet] !== 0x45 || octets[packet + 9] !== PROTOCOL_TCP) return "other";
      if ((u16(octets, packet + 6) & ~DONT_FRAGMENT) !== 0) return "other";
      this.#segment = packet + IPV4_HEADER_LENGTH;
    } else if (type === ETHERTYPE_IPV6) {
      if (octets[packet + 6] !== PROTOCOL_TCP) return "other";
      this.#segment = packet + IPV6_HEADER_LENGTH;
      if (this.#segment + TCP_HEADER_LENGTH > end) return "other";
    } else return "other";
    const headerLength = (octets[this.#segment + 12]! >>> 4) * 4;
    this.#payload = this.#segment + headerLength;
    const length =
      type === ETHERTYPE_IPV4
        ? u16(octets, packet + 2)
        : IPV6_HEADER_LENGTH + u16(octets, packet + 4);
    const isWhole = headerLength >= TCP_HEADER_LENGTH && packet + length === end;
    const isData = this.#payload < end && (octets[this.#segment + 13]! & ~PSH) === ACK;
    return isWhole && isData && end - packet <= MAX_PACKET ? "data" : "tcp";
  }

  /** What waits of the connection that the frame belongs to. */
  #trainOf(start: number): Train | undefined {
    const octets = this.#octets;
    const length = this.#segment - start;
    for (const train of this.#trains) {
      if (train.count === 0) continue;
      const first = train.frames[0]!;
      if (
        train.segment - first === length &&
        u32(octets, train.segment) === u32(octets, this.#segment) &&
        this.#sameAddresses(first, start, length)
      )
        return train;
    }
    return undefined;
  }

  #sameAddresses(one: number, other: number, length: number): boolean {
    // IPv4's addresses are the last 8 octets of its header, IPv6's the last 32
    const addresses = length === ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH ? 8 : 32;
    return this.#same(one + length - addresses, other + length - addresses, addresses);
  }

  #same(one: number, other: number, length: number): boolean {
    const octets = this.#octets;
    for (let i = 0; i < length; i++) if (octets[one + i] !== octets[other + i]) return false;
    return true;
  }

  /** The frame goes on where the train ends, and says in its headers nothing else than the first one. */
  #follows(train: Train, start: number, end: number): boolean {
    const octets = this.#octets;
    const first = train.frames[0]!;
    const packet = start + ETHERNET_HEADER_LENGTH;
    const firstPacket = first + ETHERNET_HEADER_LENGTH;
    const segment = this.#segment;
    const firstSegment = train.segment;
    const length = end - this.#payload;
    const isIpv4 = segment - packet === IPV4_HEADER_LENGTH;
    return (
      train.count < MAX_FRAMES &&
      length <= train.size &&
      train.payload - firstPacket + train.octets + length <= MAX_PACKET &&
      u32(octets, segment + 4) === (u32(octets, firstSegment + 4) + train.octets) >>> 0 &&
      // all but lengths, identification, checksums, sequence number and PSH
      this.#same(start, first, ETHERNET_HEADER_LENGTH + 2) &&
      (isIpv4
        ? this.#same(packet + 6, firstPacket + 6, 4) && this.#nextIdentification(train, packet)
        : this.#same(packet, firstPacket, 4) && this.#same(packet + 6, firstPacket + 6, 2)) &&
      this.#same(segment + 8, firstSegment + 8, 5) &&
      this.#same(segment + 14, firstSegment + 14, 2) &&
      this.#same(segment + 18, firstSegment + 18, this.#payload - segment - 18) &&
      (train.isSound || this.#isSound(firstPacket, firstSegment, train.ends[0]!)) &&
      this.#isSound(packet, segment, end)
    );
  }

  /** Where it may not be fragmented it has no meaning (RFC 6864 section 4.1). */
  #nextIdentification(train: Train, packet: number): boolean {
    const octets = this.#octets;
    const first = train.frames[0]! + ETHERNET_HEADER_LENGTH;
    return (
      (u16(octets, packet + 6) & DONT_FRAGMENT) !== 0 ||
      u16(octets, packet + 4) === ((u16(octets, first + 4) + train.count) & 0xffff)
    );
  }

  /** The checksums are right: they are made anew when the frame is joined with others. */
  #isSound(packet: number, segment: number, end: number): boolean {
    const isIpv4 = segment - packet === IPV4_HEADER_LENGTH;
    if (isIpv4 && this.#sum(packet, IPV4_HEADER_LENGTH) !== 0xffff) return false;
    const length = end - segment;
    return fold(this.#pseudoSum(packet, segment, length) + this.#sum(segment, length)) === 0xffff;
  }

  /** RFC 9293 3.1, RFC 8200 8.1 */
  #pseudoSum(packet: number, segment: number, length: number): number {
    const isIpv4 = segment - packet === IPV4_HEADER_LENGTH;
    const addresses = isIpv4 ? this.#sum(packet + 12, 8) : this.#sum(packet + 8, 32);
    return fold(addresses + PROTOCOL_TCP + length);
  }

  #freeTrain(): Train {
    for (const train of this.#trains) if (train.count === 0) return train;
    const train = this.#trains[this.#next]!;
    this.#next = (this.#next + 1) % MAX_CONNECTIONS;
    this.#emit(train);
    return train;
  }

  #begin(train: Train, start: number, end: number): void {
    train.segment = this.#segment;
    train.payload = this.#payload;
    train.size = end - this.#payload;
    train.octets = 0;
    train.isSound = false;
    this.#waiting++;
    this.#append(train, start, end);
  }

  #append(train: Train, start: number, end: number): void {
    const length = end - this.#payload;
    train.isSound = train.count > 0;
    train.frames[train.count] = start;
    train.ends[train.count++] = end;
    train.octets += length;
    // a shorter one and a pushed one can only be the last
    if (length < train.size || (this.#octets[this.#segment + 13]! & PSH) !== 0) this.#emit(train);
  }

  #emit(train: Train): void {
    const { count } = train;
    if (count === 0) return;
    train.count = 0;
    this.#waiting--;
    if (count === 1) this.#putFrame(train.frames[0]!, train.ends[0]!);
    else this.#putTrain(train, count);
  }

  #putFrame(start: number, end: number): void {
    const at = this.#put(VIRTIO_HEADER_LENGTH + end - start, 1);
    if (at !== 0) this.#octets.copyWithin(emitPlainHeader(this.#octets, at), start, end);
  }

  #putTrain(train: Train, count: number): void {
    const octets = this.#octets;
    const first = train.frames[0]!;
    const headLength = train.payload - first;
    const at = this.#put(VIRTIO_HEADER_LENGTH + headLength + train.octets, count);
    if (at === 0) return;
    const isIpv4 = etherType(octets, first) === ETHERTYPE_IPV4;
    const head = emitVirtioHeader(
      {
        flags: NEEDS_CHECKSUM,
        type: isIpv4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6,
        headerLength: headLength,
        segmentSize: train.size,
        checksumStart: train.segment - first,
        checksumOffset: TCP_CHECKSUM,
      },
      octets,
      at,
    );
    octets.copyWithin(head, first, train.payload);
    let to = head + headLength;
    for (let i = 0; i < count; i++) {
      octets.copyWithin(to, train.frames[i]! + headLength, train.ends[i]);
      to += train.ends[i]! - train.frames[i]! - headLength;
    }
    const packet = head + ETHERNET_HEADER_LENGTH;
    const segment = head + train.segment - first;
    const length = to - segment;
    if (isIpv4) {
      put16(octets, packet + 2, segment - packet + length);
      put16(octets, packet + 10, 0);
      put16(octets, packet + 10, ~this.#sum(packet, IPV4_HEADER_LENGTH));
    } else put16(octets, packet + 4, length);
    const last = train.frames[count - 1]! + train.segment - first;
    octets[segment + 13]! |= octets[last + 13]! & PSH;
    put16(octets, segment + TCP_CHECKSUM, this.#pseudoSum(packet, segment, length));
  }
}
