/**
 * Right of way: while a guest exchanges small messages, its streams keep little under way. Everything between a guest and
 * its network goes through one queue each way, the guest's socket, where a message waits behind all that a stream has sent.
 * A stream that is alone keeps as much under way as makes it fast.
 */

/**
 * Segments of a stream that may be under way at most. The guest is as near as a socket, so what is under way beyond a turn or
 * two only waits; a segment takes a time that hardly depends on its size.
 */
const STREAM_SEGMENTS = 176;
/**
 * The same of all streams of a guest together while there are messages. Fewer make messages wait less and streams slower: with
 * these a message waits for a processor as long as for the streams. A segment to the guest costs about twice one from it.
 */
export const YIELDING_TO_GUEST = 8;
export const YIELDING_FROM_GUEST = 16;
/** of one stream, however many there are */
const LEAST_SEGMENTS = 4;
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

  /** Streams of a guest that are to share what is left beside messages; 0: nobody but the one that asks has any. */
  sharing(now: number, guest: number, pace: Pace): number {
    const way = this.#ways[guest & (WAYS - 1)]!;
    const at = way.speaker === pace ? way.otherAt : way.at;
    if (now - at >= YIELD_MS || way.messages < EXCHANGE_MESSAGES) return 0;
    const age = Math.floor(now / INTERVAL_MS) - way.interval;
    return age > 1 ? 1 : Math.max(1, way.streams, age > 0 ? 0 : way.streamsBefore);
  }
}

/** Segments that each of `sharing` streams may have under way, of `together` that are left to all of them. */
export function segmentsOfEach(sharing: number, together: number): number {
  if (sharing === 0) return STREAM_SEGMENTS;
  return Math.max(LEAST_SEGMENTS, (together / sharing) | 0);
}
