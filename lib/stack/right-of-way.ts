/**
 * Right of way: while a guest exchanges small messages, its streams keep little under way. Everything between a guest and
 * its network goes through one queue each way, the guest's socket, where a message waits behind all that a stream has sent.
 * A stream that is alone keeps as much under way as makes it fast.
 */
import { MANY_OCTETS } from "../tcp/connection.ts";

/** Segments of streams that may be under way at most; a segment takes a time that hardly depends on its size. */
export interface SegmentLimit {
  /** of a stream that is alone: what is under way beyond a turn or two only waits, and a lone message behind it */
  alone: number;
  /** of each of several, which fill each other's turns */
  several: number;
  /**
   * Of all streams of a guest together while there are messages. Fewer make messages wait less and streams slower: with these a
   * message waits for a processor as long as for the streams.
   */
  yielding: number;
}
/** a segment costs about twice one from the guest; one turn fills the guest's socket, and the next is on its way meanwhile */
export const TO_GUEST: SegmentLimit = { alone: 400, several: 176, yielding: 8 };
export const FROM_GUEST: SegmentLimit = { alone: 176, several: 176, yielding: 16 };
/** of one stream, however many there are */
const LEAST_SEGMENTS = 4;
/**
 * From a guest that shares its memory, of its streams together: what they have under way is to stay in a processor's cache. On a
 * socket there is no more under way than the socket holds.
 */
const OCTETS_FROM_GUEST = 2 * 1024 * 1024;
/** of one stream: with one segment of the largest under way, of 32 streams the slowest had a fiftieth of the fastest */
const LEAST_OCTETS = 256 * 1024;
/** how long after a message streams yield, ms: the next one comes by then, or there is none to be quick for */
const YIELD_MS = 50;
/** messages with shorter pauses that make an exchange: for one alone, which has passed by then, streams do not yield */
const EXCHANGE_MESSAGES = 4;
const INTERVAL_MS = 10;
/** what moves more octets in an interval is a stream, and remains one for STREAM_MS after the last such interval */
const MESSAGE_OCTETS = 8192;
const STREAM_MS = 1000;
/** one for each last octet of an address: a table that no guest can make grow, nor share with another of a usual subnet */
const WAYS = 256;

/** One conversation of a guest, and how much it moves. */
export class Pace {
  interval = -1;
  octets = 0;
  streamAt = -Infinity;
}

/** One guest's way to its network. */
class Way {
  /** the conversation that had a message last, and when; when another one had */
  speaker: Pace | undefined;
  at = -Infinity;
  otherAt = -Infinity;
  /** messages since the last pause */
  messages = 0;
  /** streams in the present interval, and in the one before */
  interval = -1;
  streams = 0;
  streamsBefore = 0;
}

export class RightOfWay {
  readonly #ways = Array.from({ length: WAYS }, () => new Way());

  /** A conversation of a guest has moved octets, in whatever direction. */
  onOctets(now: number, guest: number, pace: Pace, octets: number): void {
    const way = this.#ways[guest & (WAYS - 1)]!;
    const interval = Math.floor(now / INTERVAL_MS);
    const isFirst = pace.interval !== interval;
    if (isFirst) {
      pace.interval = interval;
      pace.octets = 0;
    }
    pace.octets += octets;
    if (pace.octets > MESSAGE_OCTETS) pace.streamAt = now;
    if (now - pace.streamAt >= STREAM_MS) {
      way.messages = now - way.at < YIELD_MS ? way.messages + 1 : 1;
      if (way.speaker !== pace) way.otherAt = way.at;
      way.speaker = pace;
      way.at = now;
    } else if (isFirst) {
      if (way.interval !== interval) {
        way.streamsBefore = way.interval === interval - 1 ? way.streams : 0;
        way.streams = 0;
        way.interval = interval;
      }
      way.streams++;
    }
  }

  /** There are messages of others than the one that asks. */
  yields(now: number, guest: number, pace: Pace): boolean {
    const way = this.#ways[guest & (WAYS - 1)]!;
    const at = way.speaker === pace ? way.otherAt : way.at;
    return now - at < YIELD_MS && way.messages >= EXCHANGE_MESSAGES;
  }

  /** streams of a guest, with the one that asks */
  streams(now: number, guest: number): number {
    const way = this.#ways[guest & (WAYS - 1)]!;
    const age = Math.floor(now / INTERVAL_MS) - way.interval;
    return age > 1 ? 1 : Math.max(1, way.streams, age > 0 ? 0 : way.streamsBefore);
  }
}

/** Segments that each of so many streams may have under way. */
export function segmentsOfEach(limit: SegmentLimit, streams: number, yields: boolean): number {
  if (yields) return Math.max(LEAST_SEGMENTS, (limit.yielding / streams) | 0);
  return streams > 1 ? limit.several : limit.alone;
}

/** Octets that each of so many streams of a guest may have under way to its network, at most. */
export function octetsOfEach(streams: number, sharesMemory: boolean): number {
  return sharesMemory ? Math.max(LEAST_OCTETS, (OCTETS_FROM_GUEST / streams) | 0) : MANY_OCTETS;
}
