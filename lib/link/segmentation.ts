/**
 * What a network card does for the host: completes a checksum, and cuts a TCP segment of up to 64 KiB into frames of the
 * link's size (RFC 9293 3.1, RFC 791, RFC 8200). A frame is handed on as a head of its own and a piece of the large one.
 */
import type { Scratch } from "../storage/scratch.ts";
import type { SumOctets } from "../wire/checksum.ts";
import { ETHERNET_HEADER_LENGTH, etherType } from "../wire/ethernet.ts";
import { IPV4_HEADER_LENGTH, PROTOCOL_TCP } from "../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../wire/ipv6.ts";
import { put16 } from "../wire/octets.ts";
import { TCP_HEADER_LENGTH } from "../wire/tcp.ts";
import { type OnCutFrame, SegmentCutter } from "./segment-cutter.ts";
import {
  checksumOffsetOf,
  checksumStartOf,
  flagsOf,
  NEEDS_CHECKSUM,
  segmentSizeOf,
  TCP_OVER_IPV4,
  TCP_OVER_IPV6,
  typeOf,
  VIRTIO_HEADER_LENGTH,
  WHOLE,
} from "./virtio-header.ts";

const ETHERTYPE_VLAN = 0x8100;
const VLAN_TAG_LENGTH = 4;

export type SegmentationDrop = "segmentation-type" | "segmentation-headers";

export class Segmenter {
  readonly #octets: Uint8Array;
  readonly #sum: SumOctets;
  readonly #cutter: SegmentCutter;

  constructor(octets: Uint8Array, sum: SumOctets, scratch: Scratch) {
    this.#octets = octets;
    this.#sum = sum;
    this.#cutter = new SegmentCutter(octets, sum, scratch);
  }

  /**
   * Hands on the frames of the record [start, end), a virtio header and what it speaks of; pieces as in
   * BridgePort.transmit. They stay until the scratch memory is reset and the record is given back. `asWhole`: the frame goes
   * where any size is taken, and is not cut.
   */
  onRecord(
    start: number,
    end: number,
    onFrame: OnCutFrame,
    asWhole = false,
  ): SegmentationDrop | undefined {
    const octets = this.#octets;
    const frame = start + VIRTIO_HEADER_LENGTH;
    if (frame > end) return "segmentation-headers";
    const type = typeOf(octets, start);
    const needsChecksum = (flagsOf(octets, start) & NEEDS_CHECKSUM) !== 0;
    if (type === WHOLE || asWhole) {
      if (needsChecksum && !this.#complete(start, frame, end)) return "segmentation-headers";
      onFrame(frame, end - frame, 0, 0, 0, 0);
      return undefined;
    }
    if (type !== TCP_OVER_IPV4 && type !== TCP_OVER_IPV6) return "segmentation-type";
    const isTagged = etherType(octets, frame) === ETHERTYPE_VLAN;
    const packet = frame + ETHERNET_HEADER_LENGTH + (isTagged ? VLAN_TAG_LENGTH : 0);
    const segment = frame + checksumStartOf(octets, start);
    const size = segmentSizeOf(octets, start);
    const isIpv4 = type === TCP_OVER_IPV4;
    if (!needsChecksum || size === 0 || segment !== this.#tcpAt(packet, isIpv4))
      return "segmentation-headers";
    const payload = segment + (octets[segment + 12]! >>> 4) * 4;
    if (payload < segment + TCP_HEADER_LENGTH || payload > end) return "segmentation-headers";
    this.#cutter.cut(frame, packet, segment, payload, payload, end - payload, 0, 0, size, onFrame);
    return undefined;
  }

  /**
   * Where the segment of a packet begins that has one right behind its IP header; -1: it is not there. What else a sender
   * calls a segment would hide from whoever judges frames by their headers.
   */
  #tcpAt(packet: number, isIpv4: boolean): number {
    const octets = this.#octets;
    if (octets[packet]! >>> 4 !== (isIpv4 ? 4 : 6)) return -1;
    if (octets[packet + (isIpv4 ? 9 : 6)] !== PROTOCOL_TCP) return -1;
    if (!isIpv4) return packet + IPV6_HEADER_LENGTH;
    const headerLength = (octets[packet]! & 15) * 4;
    return headerLength < IPV4_HEADER_LENGTH ? -1 : packet + headerLength;
  }

  /** False: the place of the checksum is outside of the frame. */
  #complete(start: number, frame: number, end: number): boolean {
    const octets = this.#octets;
    const from = frame + checksumStartOf(octets, start);
    const place = from + checksumOffsetOf(octets, start);
    if (place + 2 > end) return false;
    // RFC 768: a UDP checksum of zero says that there is none
    put16(octets, place, ~this.#sum(from, end - from) & 0xffff || 0xffff);
    return true;
  }
}
