/**
 * IPv4 reassembly (RFC 791, 815): fragments are collected in fixed places of packet memory. Overlapping fragments drop
 * the whole datagram (as RFC 5722 has it for IPv6), so no two readers can see different contents. The number of
 * datagrams under way is bounded, for each port as well as in all.
 */
import { RangeSet } from "../storage/range-set.ts";
import type { PacketMemory } from "../storage/packet-memory.ts";
import type { Counters } from "../trace/counters.ts";
import type { Ipv4View } from "../wire/ipv4.ts";

const PLACES = 32;
const PLACES_PER_PORT = 8;
const MAX_DATAGRAM = 65535;
/** RFC 1122 3.3.2 asks for 60 to 120 s for the Internet; a link inside one machine delivers or does not */
const TIMEOUT_MS = 30_000;

export type ReassemblyDrop =
  | "fragment-overlap"
  | "fragment-length"
  | "fragment-too-long"
  | "fragment-no-place"
  | "fragment-timeout";

interface Place {
  readonly start: number;
  readonly ranges: RangeSet;
  inUse: boolean;
  /** number of the port it comes in at */
  port: number;
  src: number;
  dst: number;
  protocol: number;
  identification: number;
  /** payload length once the last fragment is in; -1 before */
  total: number;
  expiresAt: number;
  /** header of the first fragment, kept for ICMP errors that quote it */
  headerLength: number;
}

/** room for the first fragment's IPv4 header in front of the payload */
const HEADER_ROOM = 64;

export class Reassembler {
  readonly #places: Place[] = [];
  readonly #counters: Counters;

  /** counters: for datagrams given up after a time; what is wrong with a fragment is told by `add` */
  constructor(memory: PacketMemory, counters: Counters) {
    this.#counters = counters;
    for (let i = 0; i < PLACES; i++) {
      this.#places.push({
        start: memory.reserve(HEADER_ROOM + MAX_DATAGRAM + 1) + HEADER_ROOM,
        ranges: new RangeSet(64),
        inUse: false,
        port: 0,
        src: 0,
        dst: 0,
        protocol: 0,
        identification: 0,
        total: -1,
        expiresAt: 0,
        headerLength: 0,
      });
    }
  }

  /**
   * Adds the fragment the view shows. When the datagram is whole the view is aimed at it (`moreFragments` false,
   * `fragmentOffset` 0); its octets stay valid until the next call. Otherwise the view is left as it was with
   * `moreFragments` true, or a Drop says why the fragment was not kept.
   */
  add(now: number, octets: Uint8Array, packet: Ipv4View, port: number): ReassemblyDrop | undefined {
    const length = packet.end - packet.payload;
    const first = packet.fragmentOffset;
    if (length === 0 || (packet.moreFragments && length % 8 !== 0)) return "fragment-length";
    if (first + length > MAX_DATAGRAM - 20) return "fragment-too-long";
    const place = this.#placeFor(now, packet, port);
    if (place === undefined) return "fragment-no-place";
    const overlaps =
      place.ranges.endOf(first) !== first ||
      place.ranges.nextStart(first, MAX_DATAGRAM) < first + length;
    const beyondEnd = place.total >= 0 && (first + length > place.total || !packet.moreFragments);
    if (overlaps || beyondEnd || !place.ranges.add(first, first + length)) {
      place.inUse = false;
      return "fragment-overlap";
    }
    if (!packet.moreFragments) {
      if (place.ranges.ends[place.ranges.count - 1]! > first + length) {
        place.inUse = false;
        return "fragment-overlap";
      }
      place.total = first + length;
    }
    octets.copyWithin(place.start + first, packet.payload, packet.end);
    if (first === 0) {
      place.headerLength = packet.payload - packet.start;
      octets.copyWithin(place.start - place.headerLength, packet.start, packet.payload);
    }
    if (
      place.ranges.count === 1 &&
      place.ranges.starts[0] === 0 &&
      place.ranges.ends[0] === place.total
    ) {
      place.inUse = false;
      packet.start = place.start - place.headerLength;
      packet.payload = place.start;
      packet.end = place.start + place.total;
      packet.moreFragments = false;
      packet.fragmentOffset = 0;
      packet.isReassembled = true;
    } else {
      packet.moreFragments = true;
    }
    return undefined;
  }

  #placeFor(now: number, packet: Ipv4View, port: number): Place | undefined {
    let free: Place | undefined;
    let ofPort = 0;
    for (const place of this.#places) {
      if (place.inUse && place.expiresAt <= now) {
        place.inUse = false;
        this.#counters.count("fragment-timeout" satisfies ReassemblyDrop);
      }
      if (!place.inUse) {
        free ??= place;
        continue;
      }
      if (place.port !== port) continue;
      ofPort++;
      const same =
        place.src === packet.src &&
        place.identification === packet.identification &&
        place.dst === packet.dst &&
        place.protocol === packet.protocol;
      if (same) return place;
    }
    if (free === undefined || ofPort >= PLACES_PER_PORT) return undefined;
    free.inUse = true;
    free.port = port;
    free.src = packet.src;
    free.dst = packet.dst;
    free.protocol = packet.protocol;
    free.identification = packet.identification;
    free.total = -1;
    free.expiresAt = now + TIMEOUT_MS;
    free.ranges.clear();
    return free;
  }
}
