/**
 * Frames of one TCP connection that come one after the other in one turn: what the switch, the guard and the gateway have
 * said of the first of them holds for those that have the same headers, up to TCP's ports. Such frames go to TCP at once.
 * (RFC 791, RFC 9293; the vmnet networks' counterpart is `link/coalescing.ts`.)
 */
import type { BridgePort } from "../link/bridge-port.ts";
import { seqLessOrEqual } from "../tcp/sequence.ts";
import { ETHERNET_HEADER_LENGTH } from "../wire/ethernet.ts";
import { IPV4_HEADER_LENGTH } from "../wire/ipv4.ts";
import { ACK, PSH, TCP_HEADER_LENGTH } from "../wire/tcp.ts";

// offsets in a frame whose packet has no options
const VERSION = ETHERNET_HEADER_LENGTH;
const TOTAL_LENGTH = ETHERNET_HEADER_LENGTH + 2;
const IDENTIFICATION = ETHERNET_HEADER_LENGTH + 4;
const FRAGMENT_TTL_PROTOCOL = ETHERNET_HEADER_LENGTH + 6;
const CHECKSUM = ETHERNET_HEADER_LENGTH + 10;
const SOURCE = ETHERNET_HEADER_LENGTH + 12;
const DESTINATION = ETHERNET_HEADER_LENGTH + 16;
const SEGMENT = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH;
const SEQUENCE = SEGMENT + 4;
const ACKNOWLEDGEMENT = SEGMENT + 8;
const LENGTH_FLAGS_WINDOW = SEGMENT + 12;
const FLAGS = SEGMENT + 13;
const OPTIONS = SEGMENT + TCP_HEADER_LENGTH;
const TIMESTAMP = OPTIONS + 4;
const PAYLOAD_AFTER_TIMESTAMPS = OPTIONS + 12;

const PLAIN_HEADER = 0x45;
const FRAGMENT_BITS = 0x3fff;
const ALL_BUT_PSH = ~(PSH << 16);
/** RFC 7323 appendix A: two NOPs, then the option's kind and length */
const TIMESTAMPS_ALONE = 0x0101080a;

export class PacketTrain {
  /** packet memory */
  readonly #view: DataView;
  #port: BridgePort | undefined;
  #first = 0;
  /** of what differs between headers of one length that are right: their checksums are right when this is the same */
  #headerSum = 0;

  constructor(view: DataView) {
    this.#view = view;
  }

  /** A frame with a TCP segment has been taken, and stays untouched while others are compared with it. False: none can follow it. */
  begin(port: BridgePort, start: number): boolean {
    const view = this.#view;
    if (view.getUint8(start + VERSION) !== PLAIN_HEADER) return false;
    if ((view.getUint16(start + FRAGMENT_TTL_PROTOCOL) & FRAGMENT_BITS) !== 0) return false;
    this.#port = port;
    this.#first = start;
    this.#headerSum = this.#headerSumOf(start);
    return true;
  }

  /** RFC 1071: a sum is the same modulo 65,535 in whatever order */
  #headerSumOf(start: number): number {
    const view = this.#view;
    const words =
      view.getUint16(start + TOTAL_LENGTH) +
      view.getUint16(start + IDENTIFICATION) +
      view.getUint16(start + CHECKSUM);
    return words % 0xffff;
  }

  /** The frame in [start, end) is of the first one's connection, and neither opens nor ends it. */
  has(port: BridgePort, start: number, end: number): boolean {
    return (
      port === this.#port &&
      end - start >= OPTIONS &&
      // Ethernet's header and the two octets behind it
      this.#same(start, 0) &&
      this.#same(start, 4) &&
      this.#same(start, 8) &&
      this.#same(start, 12) &&
      this.#same(start, FRAGMENT_TTL_PROTOCOL) &&
      this.#same(start, SOURCE) &&
      this.#same(start, DESTINATION) &&
      // the ports
      this.#same(start, SEGMENT) &&
      this.#view.getUint16(start + TOTAL_LENGTH) === end - start - ETHERNET_HEADER_LENGTH &&
      (this.#view.getUint8(start + FLAGS) & ~PSH) === ACK &&
      this.#headerSumOf(start) === this.#headerSum
    );
  }

  #same(start: number, at: number): boolean {
    return this.#view.getInt32(start + at) === this.#view.getInt32(this.#first + at);
  }

  /**
   * Where the payload of a frame of the train begins whose segment differs from the first one's in nothing but its place in
   * the stream, PSH and a timestamp that is no older; 0: it says something else, or has no payload.
   */
  payloadOf(start: number, end: number): number {
    const view = this.#view;
    const first = this.#first;
    const word = view.getInt32(start + LENGTH_FLAGS_WINDOW);
    if (((word ^ view.getInt32(first + LENGTH_FLAGS_WINDOW)) & ALL_BUT_PSH) !== 0) return 0;
    if (!this.#same(start, ACKNOWLEDGEMENT)) return 0;
    const payload = start + SEGMENT + (word >>> 28) * 4;
    if (payload >= end) return 0;
    if (payload === start + OPTIONS) return payload;
    return payload === start + PAYLOAD_AFTER_TIMESTAMPS &&
      view.getInt32(start + OPTIONS) === TIMESTAMPS_ALONE &&
      this.#same(start, OPTIONS) &&
      seqLessOrEqual(view.getInt32(first + TIMESTAMP), view.getInt32(start + TIMESTAMP))
      ? payload
      : 0;
  }

  sequenceOf(start: number): number {
    return this.#view.getInt32(start + SEQUENCE);
  }

  segmentOf(start: number): number {
    return start + SEGMENT;
  }
}
