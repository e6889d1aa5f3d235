/**
 * Cuts a TCP segment that is larger than the link's frames into such frames (RFC 9293 3.1, RFC 791, RFC 8200). Each has a head
 * of its own and a piece of the payload; what they have alike is summed up once.
 */
import type { Scratch } from "../storage/scratch.ts";
import { fold, sumBehind, type SumOctets, wordsOf } from "../wire/checksum.ts";
import { PROTOCOL_TCP } from "../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../wire/ipv6.ts";
import { i32, put16, put32, u16 } from "../wire/octets.ts";
import { CWR, FIN, PSH, TCP_CHECKSUM } from "../wire/tcp.ts";
import { FRAME_HEADROOM } from "./bridge-port.ts";

/** Where one frame is; pieces as in BridgePort.transmit. */
export type OnCutFrame = (
  head: number,
  headLength: number,
  body1: number,
  length1: number,
  body2: number,
  length2: number,
) => void;

/** RFC 1624: to take a word away from a sum is to add its complement */
const without = (word: number): number => word ^ 0xffff;

export class SegmentCutter {
  readonly #octets: Uint8Array;
  readonly #sum: SumOctets;
  readonly #scratch: Scratch;

  constructor(octets: Uint8Array, sum: SumOctets, scratch: Scratch) {
    this.#octets = octets;
    this.#sum = sum;
    this.#scratch = scratch;
  }

  /**
   * Hands on frames with at most `size` octets of payload, at least one, and tells how many. The head to go by stands in
   * [frame, payload): the packet's header from `packet` on, TCP's from `segment`; its lengths and checksums are not read. The
   * payload is in one or two pieces. Frames stay until the scratch memory is reset and the payload is given up.
   */
  cut(
    frame: number,
    packet: number,
    segment: number,
    payload: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
    size: number,
    onFrame: OnCutFrame,
  ): number {
    const octets = this.#octets;
    const headLength = payload - frame;
    const isIpv4 = octets[packet]! >>> 4 === 4;
    const identification = u16(octets, packet + 4);
    const seq = i32(octets, segment + 4);
    const offsetAndFlags = u16(octets, segment + 12);
    const packetSum = isIpv4 ? this.#sumOfPacket(packet, segment) : 0;
    const segmentSum = this.#sumOfSegment(packet, segment, payload, isIpv4);
    const end = length1 + length2;
    let at = 0;
    let index = 0;
    // a segment without payload is a frame, too
    do {
      const length = Math.min(size, end - at);
      const left1 = length1 - at;
      const first = left1 > 0 ? Math.min(length, left1) : length;
      const start = left1 > 0 ? body1 + at : body2 - left1;
      const head = this.#scratch.take(FRAME_HEADROOM + headLength) + FRAME_HEADROOM;
      octets.copyWithin(head, frame, payload);
      const headPacket = head + packet - frame;
      const headSegment = head + segment - frame;
      const segmentLength = payload - segment + length;
      if (isIpv4) {
        const packetLength = segment - packet + segmentLength;
        const id = (identification + index) & 0xffff;
        put16(octets, headPacket + 2, packetLength);
        put16(octets, headPacket + 4, id);
        put16(octets, headPacket + 10, ~fold(packetSum + packetLength + id));
      } else {
        put16(octets, headPacket + 4, segment - packet - IPV6_HEADER_LENGTH + segmentLength);
      }
      let flags = offsetAndFlags;
      if (index > 0) flags &= ~CWR;
      if (at + length < end) flags &= ~(FIN | PSH);
      put32(octets, headSegment + 4, seq + at);
      put16(octets, headSegment + 12, flags);
      let total = segmentSum + segmentLength + wordsOf(seq + at) + flags;
      if (first > 0) total += this.#sum(start, first);
      if (first < length) total += sumBehind(first, this.#sum(body2, length - first));
      put16(octets, headSegment + TCP_CHECKSUM, ~fold(total));
      onFrame(head, headLength, start, first, body2, length - first);
      at += length;
      index++;
    } while (at < end);
    return index;
  }

  /** of the header that all frames have alike */
  #sumOfPacket(packet: number, segment: number): number {
    const octets = this.#octets;
    return (
      this.#sum(packet, segment - packet) +
      without(u16(octets, packet + 2)) +
      without(u16(octets, packet + 4)) +
      without(u16(octets, packet + 10))
    );
  }

  /** of TCP's header and the pseudo header (RFC 9293 3.1, RFC 8200 8.1) that all frames have alike */
  #sumOfSegment(packet: number, segment: number, payload: number, isIpv4: boolean): number {
    const octets = this.#octets;
    return (
      (isIpv4 ? this.#sum(packet + 12, 8) : this.#sum(packet + 8, 32)) +
      PROTOCOL_TCP +
      this.#sum(segment, payload - segment) +
      without(u16(octets, segment + 4)) +
      without(u16(octets, segment + 6)) +
      without(u16(octets, segment + 12)) +
      without(u16(octets, segment + TCP_CHECKSUM))
    );
  }
}
