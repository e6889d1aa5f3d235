/**
 * One TCP endpoint that faces a guest (RFC 9293, with RFC 7323 window scaling and timestamps, RFC 2018/6675 selective
 * acknowledgement, RFC 5681/6582 congestion control, RFC 6298 time-outs, RFC 5961 challenge acknowledgements).
 *
 * How it works. Octets from the host socket stand in the send ring from `sndUna` on and stay there until the guest
 * acknowledges them; `output` cuts segments straight out of the ring. In-order payload of the guest is offered to the
 * user where it was received (`onPayload`), without a copy; what the host socket does not take, and what came out of
 * order, is kept in the receive ring. The advertised window is the receive ring's free room, so nothing is buffered
 * that was not promised. The connection never reads a clock: every entry takes `now` in milliseconds, and
 * `nextDeadline` says when `onDeadline` wants to be called.
 *
 *   LISTEN ──answer()──► SYN-RECEIVED ─┐                    connect() ──► SYN-SENT ──► ESTABLISHED
 *   ESTABLISHED ──close()──► FIN-WAIT-1 ──► FIN-WAIT-2 ──► TIME-WAIT ──► CLOSED
 *   ESTABLISHED ──guest's FIN──► CLOSE-WAIT ──close()──► LAST-ACK ──► CLOSED
 *
 * LISTEN here means: a SYN has come and waits for the host's side to be connected. Rings exist from SYN-RECEIVED or
 * SYN-SENT until TIME-WAIT.
 */
import type { SumOctets } from "../wire/checksum.ts";
import { fold, sumBehind } from "../wire/checksum.ts";
import { put16, put32 } from "../wire/octets.ts";
import { ACK, FIN, PSH, RST, SYN, TCP_HEADER_LENGTH, type TcpView } from "../wire/tcp.ts";
import { PROTOCOL_TCP } from "../wire/ipv4.ts";
import { RangeSet } from "../storage/range-set.ts";
import type { Gather } from "../storage/gather.ts";
import { RetransmissionTimeout } from "./retransmission-timeout.ts";
import { seqAdd, seqDistance, seqLess, seqLessOrEqual } from "./sequence.ts";
import { StreamRing, type RingPools } from "./stream-ring.ts";

export type TcpState =
  | "LISTEN"
  | "SYN-SENT"
  | "SYN-RECEIVED"
  | "ESTABLISHED"
  | "FIN-WAIT-1"
  | "FIN-WAIT-2"
  | "CLOSE-WAIT"
  | "CLOSING"
  | "LAST-ACK"
  | "TIME-WAIT"
  | "CLOSED";

/** Where segments go. */
export interface SegmentSink {
  /** Octets of payload that a segment may have: more than its MSS where somebody cuts it. */
  payloadLimit(connection: TcpConnection): number;
  /**
   * Offset at which a TCP header of up to 60 octets may be written for so much payload, or -1 when the guest's port is busy;
   * segments without text (`control`) are let through longer.
   */
  open(connection: TcpConnection, control: boolean, payloadLength: number): number;
  /** whoever cuts the segment for which a header was opened last, or the guest's card, makes its checksum */
  readonly makesChecksum: boolean;
  /** Sends the header written at `header` and up to two pieces of payload. */
  send(
    connection: TcpConnection,
    header: number,
    headerLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): void;
}

/** What the connection tells its owner. */
export interface TcpUser {
  onEstablished(now: number): void;
  /** In-order payload in packet memory: list it in the gather of the next `flush`, it is not copied. False: no room to list it. */
  onPayload(start: number, length: number): boolean;
  /** the connection is over without having been closed in order; "reset" by the guest or "timeout" */
  onAbort(reason: "reset" | "timeout"): void;
  /** both directions are closed in order; nothing more will happen */
  onClosed(): void;
}

export interface TcpEnvironment {
  octets: Uint8Array;
  sum: SumOctets;
  pools: RingPools;
  sink: SegmentSink;
  /** 32 random bits */
  random(): number;
  /** largest payload the link carries without options: MTU - 40 */
  mss: number;
}

const WINDOW_SHIFT = 7;
const MAX_SYN_RETRIES = 5;
const MAX_RETRIES = 12;
/** the link has no path on which an old segment could linger, so not the 2 MSL of RFC 9293 */
const TIME_WAIT_MS = 2000;
/** RFC 9293 3.8.4 */
const KEEPALIVE_IDLE_MS = 7_200_000;
const KEEPALIVE_INTERVAL_MS = 75_000;
const KEEPALIVE_PROBES = 9;
/** RFC 9293 3.7.1 */
const DEFAULT_MSS = 536;
const MAX_PERSIST_MS = 60_000;
/** RFC 5961 section 7: at most one challenge ACK in this time */
const CHALLENGE_ACK_INTERVAL_MS = 100;
/** RFC 9293 3.8.6.3 allows 500; what holds an acknowledgement longer than this is no answer that comes at once */
const HELD_ACK_MS = 2;
/** quick answers in a row after which an acknowledgement waits for the next one, and what a disappointment costs */
const QUICK_ANSWERS = 4;
const LATE_ANSWER = -64;
/** octets after which a connection counts as bulk and gets large rings */
const BULK_OCTETS = 48 * 1024;
const RANGES = 32;
/** of a segment that a guest's card takes whole: the largest IP packet less its header and a TCP header with timestamps */
const MAX_LARGE_PAYLOAD = 65535 - 20 - 32;
/** of one that is cut, at most: as many as that are of the usual size */
const CUT_SEGMENTS = 44;
/** more than any window has, and so few that their octets are below 2^31 whatever the MTU */
const MANY_SEGMENTS = 0x7fff;
export const MANY_OCTETS = 1 << 30;
/** RFC 2018 section 3: as many as there is room for, one less beside timestamps */
const SACK_BLOCKS = 4;
/** of connections that have lost nothing yet */
const NO_SEGMENTS = new Int32Array(0);

export class TcpConnection {
  state: TcpState = "LISTEN";
  /** segments that may be under way at most, to the guest and from it */
  maxSendSegments = MANY_SEGMENTS;
  maxReceiveSegments = MANY_SEGMENTS;
  /** octets that may be under way from the guest at most, whatever its segments */
  maxReceiveOctets = MANY_OCTETS;
  /** "local" is the address the guest talks to, "remote" the guest; unsigned 32-bit */
  readonly localAddress: number;
  readonly localPort: number;
  readonly remoteAddress: number;
  readonly remotePort: number;
  /** `output` stopped because the guest's port was busy; call it again when the port has drained */
  blocked = false;
  /** segments sent more than once */
  retransmissions = 0;

  readonly #env: TcpEnvironment;
  readonly #user: TcpUser;
  readonly #portsWord: number;
  readonly #pseudoSum: number;

  // send sequence space (RFC 9293 3.3.1)
  #iss: number;
  #sndUna: number;
  #sndNxt: number;
  /** highest sequence number ever sent; sndNxt goes back to sndUna after a time-out */
  #sndMax: number;
  /** end of the octets in the send ring */
  #sndEnd: number;
  #sndWnd = 0;
  #sndWl1 = 0;
  #sndWl2 = 0;
  #sndShift = 0;
  #maxSndWnd = 0;
  #mss = DEFAULT_MSS;
  #cardPayload = DEFAULT_MSS;
  #finQueued = false;
  #finSent = false;
  readonly #sendRing: StreamRing;
  readonly #sacked = new RangeSet(RANGES);
  /** counted until there are many */
  #sentOctets = 0;

  // congestion control
  #cwnd = 0;
  #ssthresh = 0x7fffffff;
  #duplicateAcks = 0;
  #inRecovery = false;
  #recover = 0;
  /** end of what was retransmitted in this recovery */
  #highRxt = 0;
  readonly #rto = new RetransmissionTimeout();
  #retries = 0;
  /** without timestamps one segment at a time is timed; -1: none */
  #timedAt = -1;
  #timedSeq = 0;
  #timedOut = false;
  /** our timestamp when the last time-out expired */
  #timeoutTs = 0;

  // receive sequence space
  #rcvNxt = 0;
  /** right edge of the advertised window */
  #rcvAdv = 0;
  /** first octet the host socket has not taken */
  #rcvRead = 0;
  /** octets from rcvRead on that are listed by the user where they were received, not in the ring */
  #direct = 0;
  #rcvShift = 0;
  readonly #receiveRing: StreamRing;
  readonly #outOfOrder = new RangeSet(RANGES);
  /** where segments that came out of order begin, the newest first; of those that follow each other the last alone */
  #newestOutOfOrder = NO_SEGMENTS;
  #finReceived = false;
  /** a FIN came, in order or not, and has this sequence number */
  #finKnown = false;
  #finSeq = 0;
  /** both FINs are through, but the host has still octets to take */
  #waitForRead = false;
  /** counted until there are many */
  #receivedOctets = 0;
  /** the last segment's text is listed by the user, and nothing else is to be done for it than to acknowledge it */
  #leads = false;
  #lastAckSent = 0;

  #timestamps = false;
  #sackPermitted = false;
  #tsOffset = 0;
  #tsRecent = 0;
  #ackPending = false;
  #sendAckNow = false;
  /** when the last text of the guest came that has not been answered by text */
  #askedAt = -Infinity;
  #quickAnswers = 0;
  /** when an acknowledgement that waits for the host's answer goes without it */
  #ackAt = Infinity;
  #lastChallengeAt = -Infinity;

  #retransmitAt = Infinity;
  #persistAt = Infinity;
  #persistMs = 0;
  #keepaliveAt = Infinity;
  #keepaliveProbes = 0;
  #timeWaitAt = Infinity;

  constructor(
    env: TcpEnvironment,
    user: TcpUser,
    localAddress: number,
    localPort: number,
    remoteAddress: number,
    remotePort: number,
  ) {
    this.#env = env;
    this.#user = user;
    this.localAddress = localAddress;
    this.localPort = localPort;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    this.#portsWord = (localPort << 16) | remotePort;
    this.#pseudoSum =
      (localAddress >>> 16) +
      (localAddress & 0xffff) +
      (remoteAddress >>> 16) +
      (remoteAddress & 0xffff) +
      PROTOCOL_TCP;
    this.#sendRing = new StreamRing(env.pools);
    this.#receiveRing = new StreamRing(env.pools);
    this.#iss = env.random() | 0;
    this.#tsOffset = env.random() | 0;
    this.#sndUna = this.#iss;
    this.#sndNxt = this.#iss;
    this.#sndMax = this.#iss;
    this.#sndEnd = seqAdd(this.#iss, 1);
    this.#recover = this.#iss;
  }

  // ---------------------------------------------------------------- opening

  /** Takes in the guest's SYN; nothing is sent before `answer`. */
  onSyn(segment: TcpView): void {
    this.#onPeerSyn(segment);
    this.#sndWnd = segment.window;
  }

  /** The host's side is connected: answers the held SYN. False when no ring is free. */
  answer(now: number): boolean {
    if (!this.#openRings()) return false;
    this.state = "SYN-RECEIVED";
    this.#sendSyn(now);
    return true;
  }

  /** Opens a connection to the guest. False when no ring is free. */
  connect(now: number): boolean {
    if (!this.#openRings()) return false;
    this.state = "SYN-SENT";
    this.#rcvShift = WINDOW_SHIFT;
    this.#timestamps = true;
    this.#sackPermitted = true;
    this.#sendSyn(now);
    return true;
  }

  /** Sends the SYN again at once, for when the guest's hardware address has just become known. */
  retrySyn(now: number): void {
    if (this.state === "SYN-SENT") this.#sendSyn(now);
  }

  #openRings(): boolean {
    if (!this.#sendRing.open()) return false;
    if (!this.#receiveRing.open()) {
      this.#sendRing.close();
      return false;
    }
    return true;
  }

  #onPeerSyn(segment: TcpView): void {
    const irs = segment.seq;
    this.#rcvNxt = seqAdd(irs, 1);
    this.#rcvRead = this.#rcvNxt;
    this.#rcvAdv = this.#rcvNxt;
    this.#lastAckSent = this.#rcvNxt;
    if (segment.windowScale >= 0) {
      this.#sndShift = segment.windowScale;
      this.#rcvShift = WINDOW_SHIFT;
    } else {
      this.#sndShift = 0;
      this.#rcvShift = 0;
    }
    this.#timestamps = segment.hasTimestamps;
    this.#tsRecent = segment.tsVal;
    this.#sackPermitted = segment.sackPermitted;
    const peerMss = segment.mss === 0 ? DEFAULT_MSS : Math.max(segment.mss, 64);
    this.#mss = Math.min(peerMss, this.#env.mss) - (this.#timestamps ? 12 : 0);
    // such a card cuts segments to what the link carries, which may be more than the guest's end of the connection wants
    this.#cardPayload = peerMss < this.#env.mss ? this.#mss : this.#multiple(MAX_LARGE_PAYLOAD);
    // RFC 6928
    this.#cwnd = Math.min(10 * this.#mss, Math.max(2 * this.#mss, 14600));
  }

  /** octets of payload of a segment for the link: what the peer takes, and what fits beside timestamps */
  get mss(): number {
    return this.#mss;
  }

  /** of a segment that the guest's card cuts */
  get cardPayload(): number {
    return this.#cardPayload;
  }

  /** of a segment that is cut on its way */
  get cutPayload(): number {
    return this.#multiple(Math.min(MAX_LARGE_PAYLOAD, CUT_SEGMENTS * this.#mss));
  }

  #multiple(most: number): number {
    return most - (most % this.#mss);
  }

  #sendSyn(now: number): void {
    const { octets, sink } = this.#env;
    const active = this.state === "SYN-SENT";
    const at = sink.open(this, true, 0);
    this.#retransmitAt = now + this.#rto.rtoMs;
    this.#sndMax = seqAdd(this.#iss, 1);
    this.#sndNxt = this.#sndMax;
    if (at < 0) return;
    let end = at + TCP_HEADER_LENGTH;
    put32(octets, end, 0x02040000 | this.#env.mss);
    end += 4;
    if (active || this.#sackPermitted) {
      put32(octets, end, 0x01010402);
      end += 4;
    }
    if (active || this.#timestamps) {
      put32(octets, end, 0x0101080a);
      put32(octets, end + 4, this.#tsNow(now));
      put32(octets, end + 8, active ? 0 : this.#tsRecent);
      end += 12;
    }
    if (active || this.#rcvShift > 0) {
      put32(octets, end, 0x01030300 | WINDOW_SHIFT);
      end += 4;
    }
    // RFC 7323 2.2: the window of a SYN is never scaled
    const window = Math.min(this.#receiveRing.size, 0xffff);
    this.#rcvAdv = seqAdd(this.#rcvNxt, window);
    this.#timedAt = this.#retries === 0 ? now : -1;
    this.#timedSeq = this.#sndMax;
    this.#finishHeader(at, end - at, this.#iss, active ? SYN : SYN | ACK, window, 0, 0, 0, 0);
  }

  // ---------------------------------------------------------------- segments in

  /** A checked segment of this connection. */
  onSegment(now: number, segment: TcpView): void {
    this.#leads = false;
    this.#keepaliveProbes = 0;
    if (this.#keepaliveAt !== Infinity) this.#keepaliveAt = now + KEEPALIVE_IDLE_MS;
    switch (this.state) {
      case "CLOSED":
        return;
      case "LISTEN":
        if (segment.flags & RST) this.#abort("reset");
        return;
      case "SYN-SENT":
        this.#onSegmentInSynSent(now, segment);
        return;
      case "TIME-WAIT":
        if (segment.flags & RST) {
          if (segment.seq === this.#rcvNxt) this.#end();
        } else if (segment.flags & FIN) {
          // RFC 9293 3.10.7.4: a retransmitted FIN restarts the wait
          this.#timeWaitAt = now + TIME_WAIT_MS;
          this.#sendAck(now);
        } else if (segment.sequenceLength > 0) {
          this.#challenge(now);
        }
        return;
      default:
        this.#onSegmentSynchronized(now, segment);
    }
  }

  /** May a new SYN take over this connection's port pair? (RFC 9293 3.6.1, RFC 7323: newer than all we saw) */
  mayBeReusedBy(segment: TcpView): boolean {
    return this.state === "TIME-WAIT" && seqLess(this.#rcvNxt, segment.seq);
  }

  #onSegmentInSynSent(now: number, segment: TcpView): void {
    const { flags } = segment;
    const ackOk = (flags & ACK) !== 0 && segment.ack === this.#sndMax;
    if (flags & ACK && !ackOk) {
      if (!(flags & RST)) this.#sendReset(segment.ack, RST);
      return;
    }
    if (flags & RST) {
      if (ackOk) this.#abort("reset");
      return;
    }
    if (!(flags & SYN)) return;
    this.#onPeerSyn(segment);
    if (!ackOk) {
      // simultaneous open (RFC 9293 3.5)
      this.state = "SYN-RECEIVED";
      this.#sendSyn(now);
      return;
    }
    this.#sndUna = segment.ack;
    this.#sndNxt = segment.ack;
    this.#sndWnd = segment.window;
    this.#maxSndWnd = segment.window;
    this.#sndWl1 = segment.seq;
    this.#sndWl2 = segment.ack;
    if (this.#timedAt >= 0) this.#rto.onMeasurement(now - this.#timedAt);
    this.#timedAt = -1;
    this.#ackPending = true;
    this.#becomeEstablished(now);
  }

  #becomeEstablished(now: number): void {
    this.state = "ESTABLISHED";
    this.#retransmitAt = Infinity;
    this.#retries = 0;
    this.#keepaliveAt = now + KEEPALIVE_IDLE_MS;
    this.#user.onEstablished(now);
  }

  #onSegmentSynchronized(now: number, segment: TcpView): void {
    const { flags } = segment;
    if (
      this.state === "SYN-RECEIVED" &&
      flags & SYN &&
      !(flags & ACK) &&
      seqAdd(segment.seq, 1) === this.#rcvNxt
    ) {
      this.#sendSyn(now);
      return;
    }
    if (
      this.#timestamps &&
      segment.hasTimestamps &&
      seqLess(segment.tsVal, this.#tsRecent) &&
      !(flags & RST)
    ) {
      // RFC 7323 5.3 R1 (PAWS)
      this.#sendAck(now);
      return;
    }
    const length = segment.sequenceLength;
    if (!this.#acceptable(segment.seq, length)) {
      if (!(flags & RST)) {
        // RFC 9293 3.10.7.4: an ACK on a segment outside a closed window still counts
        if (flags & ACK && segment.seq === this.#rcvNxt) this.#onAck(now, segment);
        // two ends that are out of step must not answer each other's bare acknowledgements for ever
        if (length === 0) this.#challenge(now);
        else if ((this.state as TcpState) !== "CLOSED") this.#sendAck(now);
      }
      return;
    }
    if (flags & RST) {
      // RFC 5961 3.2: only the exact number resets, anything else in the window is challenged
      if (segment.seq === this.#rcvNxt) this.#abort("reset");
      else this.#challenge(now);
      return;
    }
    if (flags & SYN) {
      this.#challenge(now);
      return;
    }
    if (!(flags & ACK)) return;
    if (
      this.#timestamps &&
      segment.hasTimestamps &&
      seqLessOrEqual(segment.seq, this.#lastAckSent) &&
      seqLessOrEqual(this.#tsRecent, segment.tsVal)
    ) {
      this.#tsRecent = segment.tsVal;
    }
    if (this.state === "SYN-RECEIVED") {
      if (!seqLess(this.#sndUna, segment.ack) || seqLess(this.#sndMax, segment.ack)) {
        this.#sendReset(segment.ack, RST);
        return;
      }
      if (this.#timedAt >= 0) this.#rto.onMeasurement(now - this.#timedAt);
      this.#timedAt = -1;
      this.#sndUna = segment.ack;
      this.#sndNxt = segment.ack;
      this.#sndWnd = segment.window << this.#sndShift;
      this.#maxSndWnd = this.#sndWnd;
      this.#sndWl1 = segment.seq;
      this.#sndWl2 = segment.ack;
      this.#becomeEstablished(now);
    } else if (!this.#onAck(now, segment)) {
      return;
    }
    // the ACK may have ended the connection
    if (this.state === "CLOSED" || this.state === "TIME-WAIT") return;
    if (length > 0) this.#onText(now, segment);
  }

  /** RFC 9293 3.10.7.4, first check; the window is the one last advertised */
  #acceptable(seq: number, length: number): boolean {
    // a FIN needs no room and may stand one beyond the edge
    const window = Math.max(0, seqDistance(this.#rcvNxt, this.#rcvAdv));
    const offset = seqDistance(this.#rcvNxt, seq);
    if (length === 0) return window === 0 ? offset === 0 : offset >= 0 && offset < window;
    if (window === 0) return false;
    const last = offset + length - 1;
    return (offset >= 0 && offset < window) || (last >= 0 && last < window);
  }

  /** False when the ACK cannot be and its segment is to be dropped. */
  #onAck(now: number, segment: TcpView): boolean {
    const { ack } = segment;
    if (seqLess(this.#sndMax, ack) || seqLess(ack, seqAdd(this.#sndUna, -this.#maxSndWnd))) {
      // RFC 5961 5.2
      this.#challenge(now);
      return false;
    }
    const probing = this.#persistAt !== Infinity;
    // RFC 9293 3.8.6.1: a guest that answers probes may keep its window closed as long as it likes
    if (probing) this.#retries = 0;
    let newSack = false;
    if (this.#sackPermitted && segment.sackCount > 0) newSack = this.#onSack(segment);
    const window = segment.window << this.#sndShift;
    const windowChanged = window !== this.#sndWnd;
    if (seqLess(this.#sndUna, ack)) {
      this.#onNewAck(now, segment);
      // onNewAck may have ended the connection
      if ((this.state as TcpState) === "CLOSED") return true;
    } else if (ack === this.#sndUna) {
      // the answer to a window probe is no sign of loss
      const inFlight = this.#sndMax !== this.#sndUna && !probing;
      if (inFlight && (newSack || (segment.sequenceLength === 0 && !windowChanged)))
        this.#onDuplicateAck(now);
    }
    if (
      seqLess(this.#sndWl1, segment.seq) ||
      (this.#sndWl1 === segment.seq && seqLessOrEqual(this.#sndWl2, ack)) ||
      (windowChanged && ack === this.#sndUna && seqLessOrEqual(this.#sndWl1, segment.seq))
    ) {
      this.#sndWnd = window;
      if (window > this.#maxSndWnd) this.#maxSndWnd = window;
      this.#sndWl1 = segment.seq;
      this.#sndWl2 = ack;
      if (window > 0) this.#persistAt = Infinity;
    }
    return true;
  }

  /** True when the blocks told something new. */
  #onSack(segment: TcpView): boolean {
    const before = this.#sacked.octets;
    for (let i = 0; i < segment.sackCount; i++) {
      const start = segment.sackStarts[i]!;
      const end = segment.sackEnds[i]!;
      if (
        seqLess(start, end) &&
        seqLess(this.#sndUna, start) &&
        seqLessOrEqual(end, this.#sndMax)
      ) {
        this.#sacked.add(start, end);
      }
    }
    return this.#sacked.octets !== before;
  }

  #onNewAck(now: number, segment: TcpView): void {
    const { ack } = segment;
    const acked = seqDistance(this.#sndUna, ack);
    this.#sndUna = ack;
    if (seqLess(this.#sndNxt, ack)) this.#sndNxt = ack;
    this.#sacked.trim(ack);
    this.#retries = 0;
    if (this.#timestamps && segment.hasTimestamps && segment.tsEcr !== 0) {
      // An older echo says that the ACK of an earlier copy was lost, and the time measured would be that of a time-out.
      // The time-out stays backed off until something sent after it is acknowledged (Karn; RFC 6298 section 5.7).
      if (!this.#timedOut || seqLessOrEqual(this.#timeoutTs, segment.tsEcr))
        this.#rto.onMeasurement(Math.max(0, seqDistance(segment.tsEcr, this.#tsNow(now))));
    } else if (this.#timedAt >= 0 && seqLessOrEqual(this.#timedSeq, ack)) {
      this.#rto.onMeasurement(now - this.#timedAt);
      this.#timedAt = -1;
    }
    if (this.#inRecovery) {
      if (seqLessOrEqual(this.#recover, ack)) {
        this.#inRecovery = false;
        this.#cwnd = this.#ssthresh;
        this.#duplicateAcks = 0;
      } else if (!this.#sackPermitted) {
        // RFC 6582 3.2: a partial ACK names the next lost segment
        this.#cwnd = Math.max(this.#mss, this.#cwnd - acked + this.#mss);
        this.#highRxt = ack;
        this.#retransmitHole(now);
      } else if (seqLess(this.#highRxt, ack)) {
        this.#highRxt = ack;
      }
    } else {
      this.#duplicateAcks = 0;
      // RFC 5681 3.1, counting octets (RFC 3465, L = 2)
      if (this.#cwnd < this.#ssthresh) this.#cwnd += Math.min(acked, 2 * this.#mss);
      else
        this.#cwnd += Math.max(
          1,
          Math.floor((this.#mss * Math.min(acked, this.#mss)) / this.#cwnd),
        );
      if (this.#cwnd > 0x3fffffff) this.#cwnd = 0x3fffffff;
    }
    this.#retransmitAt = this.#sndUna === this.#sndMax ? Infinity : now + this.#rto.rtoMs;
    if (this.#finSent && ack === this.#sndMax) this.#onFinAcked(now);
  }

  #onFinAcked(now: number): void {
    if (this.state === "FIN-WAIT-1") this.state = "FIN-WAIT-2";
    else if (this.state === "CLOSING" || this.state === "LAST-ACK") this.#finishWhenRead(now);
  }

  /** Both FINs are through: the end comes when the host has taken everything, since the ring goes with it. */
  #finishWhenRead(now: number): void {
    this.#waitForRead = this.pending > 0;
    if (this.#waitForRead) return;
    if (this.state === "LAST-ACK") this.#end();
    else this.#enterTimeWait(now);
  }

  #onDuplicateAck(now: number): void {
    this.#duplicateAcks++;
    if (this.#inRecovery) {
      if (!this.#sackPermitted) this.#cwnd += this.#mss;
      return;
    }
    // RFC 6582 3.2: not again for losses before the last recovery's end
    if (seqLess(this.#sndUna, this.#recover)) return;
    if (this.#duplicateAcks < 3 && this.#sacked.octets <= 2 * this.#mss) return;
    const flight = seqDistance(this.#sndUna, this.#sndMax);
    this.#inRecovery = true;
    this.#recover = this.#sndMax;
    this.#highRxt = this.#sndUna;
    this.#ssthresh = Math.max(flight >> 1, 2 * this.#mss);
    this.#cwnd = this.#sackPermitted ? this.#ssthresh : this.#ssthresh + 3 * this.#mss;
    this.#timedAt = -1;
    if (!this.#sackPermitted) this.#retransmitHole(now);
  }

  #onText(now: number, segment: TcpView): void {
    this.#ackPending = true;
    this.#askedAt = now;
    // after the guest's FIN there is no more text; its repetition is acknowledged
    if (this.#finReceived) return;
    let { seq } = segment;
    let start = segment.payload;
    let length = segment.payloadLength;
    const finSeq = seqAdd(seq, length);
    const before = seqDistance(seq, this.#rcvNxt);
    if (before > 0) {
      const skip = Math.min(before, length);
      start += skip;
      length -= skip;
      seq = seqAdd(seq, skip);
    }
    // what lies beyond the advertised window is not kept
    let fin = (segment.flags & FIN) !== 0;
    const beyond = seqDistance(this.#rcvAdv, seqAdd(seq, length));
    if (beyond > 0) {
      length = Math.max(0, length - beyond);
      fin = false;
    }
    if (length > 0) this.#takeText(seq, start, length);
    if (fin && !this.#finKnown) {
      this.#finKnown = true;
      this.#finSeq = finSeq;
    }
    if (this.#finKnown && this.#rcvNxt === this.#finSeq) this.#onFin(now);
  }

  #takeText(seq: number, start: number, length: number): void {
    if (this.#receivedOctets <= BULK_OCTETS) this.#receivedOctets += length;
    if (seq === this.#rcvNxt) {
      const allDirect = seqAdd(this.#rcvRead, this.#direct) === seq;
      if (allDirect && this.#outOfOrder.count === 0 && this.#user.onPayload(start, length)) {
        this.#direct += length;
        this.#rcvNxt = seqAdd(seq, length);
        this.#leads = true;
        return;
      }
      this.#receiveRing.store(seq, start, length);
      this.#rcvNxt = seqAdd(seq, length);
      if (this.#outOfOrder.count > 0) {
        this.#rcvNxt = this.#outOfOrder.endOf(this.#rcvNxt);
        this.#outOfOrder.trim(this.#rcvNxt);
      }
      return;
    }
    if (this.#outOfOrder.add(seq, seqAdd(seq, length))) this.#receiveRing.store(seq, start, length);
    if (this.#newestOutOfOrder === NO_SEGMENTS)
      this.#newestOutOfOrder = new Int32Array(SACK_BLOCKS);
    const newest = this.#newestOutOfOrder;
    if (this.#outOfOrder.indexOf(newest[0]!) !== this.#outOfOrder.indexOf(seq))
      newest.copyWithin(1, 0);
    newest[0] = seq;
    // RFC 5681 4.2: a gap is reported at once, once for each segment
    this.#sendAckNow = true;
  }

  /**
   * Header prediction: may a segment of up to `length` octets, that has the header of the last one but goes on where that
   * ended, be given to `follow`?
   */
  mayFollow(seq: number, length: number): boolean {
    return this.#leads && seq === this.#rcvNxt && seqDistance(this.#rcvNxt, this.#rcvAdv) >= length;
  }

  /** The checksum of the segment from the guest that stands in `length` octets from `start` is right. */
  isSound(start: number, length: number): boolean {
    return fold(this.#pseudoSum + length + this.#env.sum(start, length)) === 0xffff;
  }

  /** Takes the text of a segment of which `mayFollow` said that it may. */
  follow(start: number, length: number): void {
    this.#sndWl1 = this.#rcvNxt;
    this.#ackPending = true;
    this.#takeText(this.#rcvNxt, start, length);
  }

  #onFin(now: number): void {
    this.#leads = false;
    this.#rcvNxt = seqAdd(this.#rcvNxt, 1);
    this.#finReceived = true;
    switch (this.state) {
      case "ESTABLISHED":
        this.state = "CLOSE-WAIT";
        break;
      case "FIN-WAIT-1":
        this.state = "CLOSING";
        break;
      case "FIN-WAIT-2":
        this.#finishWhenRead(now);
        break;
      default:
        break;
    }
  }

  // ---------------------------------------------------------------- towards the host

  /** octets received in order that the host socket has not taken yet */
  get pending(): number {
    return seqDistance(this.#rcvRead, this.#rcvNxt) - (this.#finReceived ? 1 : 0);
  }

  /** the guest has closed its direction and the host has everything */
  get endOfText(): boolean {
    return this.#finReceived && this.pending === 0;
  }

  /** Adds the pending octets that stand in the ring to a gather that already lists the direct ones. */
  listPending(into: Gather): void {
    const inRing = this.pending - this.#direct;
    if (inRing > 0) this.#receiveRing.list(seqAdd(this.#rcvRead, this.#direct), inRing, into);
  }

  /**
   * The host socket took the first `taken` octets of the gather; direct pieces it did not take are copied to the ring,
   * so that the receive buffer may be used again.
   */
  onTaken(now: number, taken: number, gather: Gather): void {
    let skip = taken;
    let left = this.#direct;
    let seq = this.#rcvRead;
    if (taken < left) {
      for (let i = 0; i < gather.count && left > 0; i++) {
        const length = Math.min(gather.lengths[i]!, left);
        left -= length;
        if (skip < length)
          this.#receiveRing.store(seqAdd(seq, skip), gather.starts[i]! + skip, length - skip);
        skip = Math.max(0, skip - length);
        seq = seqAdd(seq, length);
      }
    }
    this.#direct = 0;
    this.#rcvRead = seqAdd(this.#rcvRead, taken);
    if (
      this.#receivedOctets > BULK_OCTETS &&
      !this.#receiveRing.isLarge &&
      this.#receiveRing.size > 0
    ) {
      const end =
        this.#outOfOrder.count > 0
          ? this.#outOfOrder.ends[this.#outOfOrder.count - 1]!
          : this.#rcvNxt;
      if (this.#receiveRing.grow(this.#rcvRead, end)) this.#ackPending = true;
    }
    // RFC 9293 3.8.6.2.2: the window is opened in steps worth a segment
    const opened = seqDistance(this.#rcvAdv, this.#windowEdge);
    if (opened >= Math.min(this.#receiveRing.size >> 1, 2 * this.#mss)) this.#ackPending = true;
    if (this.#waitForRead) this.#finishWhenRead(now);
  }

  // ---------------------------------------------------------------- from the host

  /** free room in the send ring, octets */
  get sendRoom(): number {
    return this.#sendRing.size - seqDistance(this.#sndUna, this.#sndEnd);
  }

  /** Lists the free room of the send ring (at most `limit` octets) for a vectored read. */
  listSendRoom(into: Gather, limit: number): void {
    this.#sendRing.list(this.#sndEnd, Math.min(limit, this.sendRoom), into);
  }

  /** The host's octets now stand in the first `length` octets of the listed room. */
  onFilled(length: number): void {
    this.#sndEnd = seqAdd(this.#sndEnd, length);
    if (this.#sentOctets <= BULK_OCTETS) this.#sentOctets += length;
    if (this.#sentOctets > BULK_OCTETS && !this.#sendRing.isLarge)
      this.#sendRing.grow(this.#sndUna, this.#sndEnd);
  }

  /** The host has no more to send: a FIN follows the last octet. */
  close(): void {
    this.#finQueued = true;
  }

  /** Ends the connection at once; the guest gets a RST. */
  abort(): void {
    if (this.state !== "CLOSED" && this.state !== "LISTEN" && this.state !== "TIME-WAIT")
      this.#sendReset(this.#sndNxt);
    this.#release();
  }

  /** The guest is gone: ends without a word, which nobody would hear. */
  forget(): void {
    this.#release();
  }

  /** The host has nothing there: answers the held SYN with a reset. */
  refuse(): void {
    this.#sendReset(0);
    this.#release();
  }

  /** sequence number of the guest's SYN */
  get peerInitialSequence(): number {
    return seqAdd(this.#rcvNxt, -1);
  }

  // ---------------------------------------------------------------- segments out

  /** Sends what may be sent now: retransmissions, new text, FIN, and the acknowledgement that is due. */
  output(now: number): void {
    const { state } = this;
    if (
      state === "CLOSED" ||
      state === "LISTEN" ||
      state === "SYN-SENT" ||
      state === "SYN-RECEIVED"
    )
      return;
    this.blocked = false;
    if (this.#inRecovery && this.#sackPermitted) this.#outputRecovery(now);
    const most = this.#env.sink.payloadLimit(this);
    while (!this.blocked) {
      const available = seqDistance(this.#sndNxt, this.#sndEnd);
      const inFlight = seqDistance(this.#sndUna, this.#sndNxt);
      const usable =
        Math.min(
          this.#sndWnd,
          this.maxSendSegments * this.#mss,
          this.#inRecovery && this.#sackPermitted ? this.#sndWnd : this.#cwnd,
        ) - inFlight;
      if (available <= 0) break;
      if (this.#inRecovery && this.#sackPermitted && this.#pipe() >= this.#cwnd) break;
      let length = Math.min(available, most, usable);
      if (length > this.#mss && length < available) length -= length % this.#mss;
      if (length <= 0) {
        if (this.#sndWnd === 0 && inFlight === 0 && this.#persistAt === Infinity)
          this.#armPersist(now);
        break;
      }
      // RFC 9293 3.8.6.2.1: no silly small segments while a larger one may follow soon
      if (length < this.#mss && length < available && length < this.#maxSndWnd >> 1 && inFlight > 0)
        break;
      // after a time-out, what the guest holds already is skipped
      if (this.#sacked.count > 0 && seqLess(this.#sndNxt, this.#sndMax)) {
        const held = this.#sacked.endOf(this.#sndNxt);
        if (held !== this.#sndNxt) {
          this.#sndNxt = held;
          continue;
        }
        length = Math.min(
          length,
          seqDistance(this.#sndNxt, this.#sacked.nextStart(this.#sndNxt, this.#sndEnd)),
        );
      }
      const last = length === available;
      const fin = last && this.#finQueued;
      if (!this.#sendText(now, this.#sndNxt, length, (last ? PSH : 0) | (fin ? FIN : 0))) break;
      if (fin) this.#onFinSent();
      this.#advance(now, length + (fin ? 1 : 0));
    }
    if (
      !this.blocked &&
      this.#finQueued &&
      this.#sndNxt === this.#sndEnd &&
      this.#mayStillSendFin()
    ) {
      if (this.#sendText(now, this.#sndNxt, 0, FIN)) {
        this.#onFinSent();
        this.#advance(now, 1);
      }
    }
    if (this.#sendAckNow || (this.#ackPending && !this.#holdAck(now))) this.#sendAck(now);
  }

  /**
   * Where the host has answered the guest's small requests at once, the acknowledgement of the next one waits for the
   * answer and goes with it: one frame less for every exchange. An answer that is late costs the guest little, as few
   * milliseconds are waited, and only after many quick ones are others waited for again.
   */
  #holdAck(now: number): boolean {
    if (this.#quickAnswers < QUICK_ANSWERS || this.state !== "ESTABLISHED") return false;
    if (seqDistance(this.#lastAckSent, this.#rcvNxt) >= this.#mss) return false;
    if (this.#ackAt === Infinity) this.#ackAt = now + HELD_ACK_MS;
    return true;
  }

  /** FIN not sent yet, or to be sent again after a time-out */
  #mayStillSendFin(): boolean {
    return (
      this.state === "ESTABLISHED" ||
      this.state === "CLOSE-WAIT" ||
      (this.#finSent && this.#sndNxt !== this.#sndMax)
    );
  }

  #onFinSent(): void {
    this.#finSent = true;
    if (this.state === "ESTABLISHED") this.state = "FIN-WAIT-1";
    else if (this.state === "CLOSE-WAIT") this.state = "LAST-ACK";
  }

  #advance(now: number, length: number): void {
    this.#sndNxt = seqAdd(this.#sndNxt, length);
    if (seqLess(this.#sndMax, this.#sndNxt)) {
      this.#sndMax = this.#sndNxt;
      if (!this.#timestamps && this.#timedAt < 0) {
        this.#timedAt = now;
        this.#timedSeq = this.#sndMax;
      }
    } else {
      this.retransmissions += Math.ceil(length / this.#mss);
    }
    if (this.#retransmitAt === Infinity) this.#retransmitAt = now + this.#rto.rtoMs;
  }

  /** RFC 6675 section 4: octets believed to be on their way */
  #pipe(): number {
    const highest =
      this.#sacked.count > 0 ? this.#sacked.ends[this.#sacked.count - 1]! : this.#sndUna;
    const beyond = seqDistance(highest, this.#sndNxt);
    return Math.max(0, beyond) + Math.max(0, seqDistance(this.#sndUna, this.#highRxt));
  }

  /** RFC 6675 section 5 (C): holes below the highest block are lost and are sent again first. */
  #outputRecovery(now: number): void {
    while (!this.blocked && this.#pipe() < this.#cwnd) {
      if (!this.#retransmitHole(now)) return;
    }
  }

  /** Sends the next hole again; false when there is none (or the port is busy). */
  #retransmitHole(now: number): boolean {
    let from = seqLess(this.#highRxt, this.#sndUna) ? this.#sndUna : this.#highRxt;
    from = this.#sacked.endOf(from);
    const first = from === this.#sndUna;
    const highest =
      this.#sacked.count > 0 ? this.#sacked.ends[this.#sacked.count - 1]! : this.#sndUna;
    if (!first && !seqLess(from, highest)) return false;
    // only what has been sent before is sent again: new text moves sndMax
    const sentEnd = this.#finSent ? this.#sndEnd : this.#sndMax;
    const hole = seqDistance(from, this.#sacked.nextStart(from, sentEnd));
    const length = Math.min(hole, this.#mss, seqDistance(from, sentEnd));
    if (length <= 0) {
      // only the FIN is missing
      if (first && this.#finSent && this.#sendText(now, from, 0, FIN))
        this.#highRxt = seqAdd(from, 1);
      return false;
    }
    if (!this.#sendText(now, from, length, 0)) return false;
    this.retransmissions++;
    this.#highRxt = seqAdd(from, length);
    return true;
  }

  #sendText(now: number, seq: number, length: number, flags: number): boolean {
    const at = this.#env.sink.open(this, false, length);
    if (at < 0) {
      this.blocked = true;
      return false;
    }
    if (this.#askedAt !== -Infinity) {
      if (now - this.#askedAt < HELD_ACK_MS) this.#quickAnswers++;
      this.#askedAt = -Infinity;
    }
    let headerLength = TCP_HEADER_LENGTH;
    if (this.#timestamps) headerLength = this.#writeTimestamps(now, at);
    const first = Math.min(length, this.#sendRing.contiguous(seq));
    this.#finishHeader(
      at,
      headerLength,
      seq,
      flags | ACK,
      this.#window() >>> this.#rcvShift,
      this.#sendRing.at(seq),
      first,
      first < length ? this.#sendRing.at(seqAdd(seq, first)) : 0,
      length - first,
    );
    return true;
  }

  #sendAck(now: number): void {
    const at = this.#env.sink.open(this, true, 0);
    if (at < 0) {
      this.blocked = true;
      return;
    }
    let headerLength = TCP_HEADER_LENGTH;
    if (this.#timestamps) headerLength = this.#writeTimestamps(now, at);
    if (this.#sackPermitted && this.#outOfOrder.count > 0)
      headerLength += this.#writeSack(at + headerLength);
    const seq = seqLess(this.#sndNxt, this.#sndMax) ? this.#sndMax : this.#sndNxt;
    this.#finishHeader(at, headerLength, seq, ACK, this.#window() >>> this.#rcvShift, 0, 0, 0, 0);
  }

  /** RFC 2018 section 4: the block of the newest segment first, then those that were told of last; the length of the option. */
  #writeSack(at: number): number {
    const { octets } = this.#env;
    const ranges = this.#outOfOrder;
    const newest = this.#newestOutOfOrder;
    const blocks = Math.min(ranges.count, this.#timestamps ? SACK_BLOCKS - 1 : SACK_BLOCKS);
    put32(octets, at, 0x01010500 | (2 + blocks * 8));
    let end = at + 4;
    // a bit for each range: RANGES is 32
    let told = 0;
    for (let i = 0; end < at + 4 + blocks * 8; i++) {
      const range =
        i < SACK_BLOCKS ? ranges.indexOf(newest[i]!) : ranges.count - 1 - (i - SACK_BLOCKS);
      if (range < 0 || (told & (1 << range)) !== 0) continue;
      told |= 1 << range;
      put32(octets, end, ranges.starts[range]!);
      put32(octets, end + 4, ranges.ends[range]!);
      end += 8;
    }
    return end - at;
  }

  /** RFC 5961 section 5 and 7 */
  #challenge(now: number): void {
    if (this.state === "CLOSED") return;
    if (now - this.#lastChallengeAt < CHALLENGE_ACK_INTERVAL_MS) return;
    this.#lastChallengeAt = now;
    this.#sendAck(now);
  }

  #sendReset(seq: number, flags = RST | ACK): void {
    const at = this.#env.sink.open(this, true, 0);
    if (at < 0) return;
    this.#finishHeader(at, TCP_HEADER_LENGTH, seq, flags, 0, 0, 0, 0, 0);
  }

  #writeTimestamps(now: number, at: number): number {
    const { octets } = this.#env;
    put32(octets, at + 20, 0x0101080a);
    put32(octets, at + 24, this.#tsNow(now));
    put32(octets, at + 28, this.#tsRecent);
    return 32;
  }

  /** how far the guest may send */
  get #windowEdge(): number {
    return seqAdd(
      this.#rcvRead,
      Math.min(this.#receiveRing.size, this.maxReceiveSegments * this.#mss, this.maxReceiveOctets),
    );
  }

  /** The window to advertise; moves the right edge by whole segments only and never back. */
  #window(): number {
    const edge = this.#windowEdge;
    const opened = seqDistance(this.#rcvAdv, edge);
    if (opened >= Math.min(this.#receiveRing.size >> 1, this.#mss)) {
      const window = seqDistance(this.#rcvNxt, edge) & ~((1 << this.#rcvShift) - 1);
      const limited = Math.min(window, 0xffff << this.#rcvShift);
      if (limited > seqDistance(this.#rcvNxt, this.#rcvAdv))
        this.#rcvAdv = seqAdd(this.#rcvNxt, limited);
    }
    return Math.max(0, seqDistance(this.#rcvNxt, this.#rcvAdv));
  }

  #finishHeader(
    at: number,
    headerLength: number,
    seq: number,
    flags: number,
    window: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): void {
    const { octets, sum, sink } = this.#env;
    put32(octets, at, this.#portsWord);
    put32(octets, at + 4, seq);
    put32(octets, at + 8, flags & ACK ? this.#rcvNxt : 0);
    octets[at + 12] = headerLength << 2;
    octets[at + 13] = flags;
    put16(octets, at + 14, window);
    put32(octets, at + 16, 0);
    if (!sink.makesChecksum) {
      let total = this.#pseudoSum + headerLength + length1 + length2 + sum(at, headerLength);
      if (length1 > 0) total += sum(body1, length1);
      if (length2 > 0) total += sumBehind(length1, sum(body2, length2));
      put16(octets, at + 16, ~fold(total));
    }
    if (flags & ACK) {
      this.#lastAckSent = this.#rcvNxt;
      this.#ackPending = false;
      this.#sendAckNow = false;
      this.#ackAt = Infinity;
    }
    sink.send(this, at, headerLength, body1, length1, body2, length2);
  }

  #tsNow(now: number): number {
    return (Math.floor(now) + this.#tsOffset) | 0;
  }

  // ---------------------------------------------------------------- time

  /** When `onDeadline` wants to be called; Infinity: never. Early calls do no harm. */
  nextDeadline(): number {
    return Math.min(
      this.#retransmitAt,
      this.#persistAt,
      this.#keepaliveAt,
      this.#timeWaitAt,
      this.#ackAt,
    );
  }

  onDeadline(now: number): void {
    if (this.#timeWaitAt <= now) {
      this.#end();
      return;
    }
    if (this.#ackAt <= now) {
      this.#quickAnswers = LATE_ANSWER;
      this.#sendAck(now);
    }
    if (this.#retransmitAt <= now) this.#onRetransmissionTimeout(now);
    if (this.#persistAt <= now) this.#onPersistTimeout(now);
    if (this.#keepaliveAt <= now) this.#onKeepaliveTimeout(now);
  }

  #onRetransmissionTimeout(now: number): void {
    const opening = this.state === "SYN-SENT" || this.state === "SYN-RECEIVED";
    this.#retries++;
    if (this.#retries > (opening ? MAX_SYN_RETRIES : MAX_RETRIES)) {
      if (!opening) this.#sendReset(this.#sndNxt);
      this.#abort("timeout");
      return;
    }
    this.#rto.backOff();
    this.#timedOut = true;
    this.#timeoutTs = this.#tsNow(now);
    this.retransmissions++;
    if (opening) {
      this.#sendSyn(now);
      return;
    }
    // RFC 5681 3.1 (4), RFC 6675 5.1: start again from the first octet not acknowledged; SACK blocks stay as a hint
    // of what the guest holds except after a second time-out, when it may have dropped them (RFC 2018 section 8)
    if (this.#retries === 1) {
      this.#ssthresh = Math.max(seqDistance(this.#sndUna, this.#sndMax) >> 1, 2 * this.#mss);
    } else {
      this.#sacked.clear();
    }
    this.#cwnd = this.#mss;
    this.#inRecovery = false;
    this.#recover = this.#sndMax;
    this.#duplicateAcks = 0;
    this.#timedAt = -1;
    this.#sndNxt = this.#sndUna;
    this.#retransmitAt = now + this.#rto.rtoMs;
    // a window that has shrunk to nothing in the meantime is probed, not filled
    if (this.#sndWnd === 0 && this.#sndUna !== this.#sndEnd) {
      this.#retransmitAt = Infinity;
      this.#armPersist(now);
    }
    this.output(now);
  }

  #armPersist(now: number): void {
    this.#persistMs = this.#rto.rtoMs;
    this.#persistAt = now + this.#persistMs;
  }

  /** RFC 9293 3.8.6.1: one octet beyond the closed window asks for news; a guest that answers is never given up. */
  #onPersistTimeout(now: number): void {
    this.#persistAt = Infinity;
    if (this.#sndWnd > 0 || this.#sndUna === this.#sndEnd) return;
    this.#retries++;
    if (this.#retries > MAX_RETRIES) {
      this.#sendReset(this.#sndNxt);
      this.#abort("timeout");
      return;
    }
    this.#sendText(now, this.#sndUna, 1, 0);
    const probed = seqAdd(this.#sndUna, 1);
    if (seqLess(this.#sndMax, probed)) this.#sndMax = probed;
    this.#persistMs = Math.min(MAX_PERSIST_MS, this.#persistMs * 2);
    this.#persistAt = now + this.#persistMs;
  }

  #onKeepaliveTimeout(now: number): void {
    if (this.#keepaliveProbes >= KEEPALIVE_PROBES) {
      this.#sendReset(this.#sndNxt);
      this.#abort("timeout");
      return;
    }
    this.#keepaliveProbes++;
    this.#keepaliveAt = now + KEEPALIVE_INTERVAL_MS;
    const at = this.#env.sink.open(this, true, 0);
    if (at < 0) return;
    const headerLength = this.#timestamps ? this.#writeTimestamps(now, at) : TCP_HEADER_LENGTH;
    const window = this.#window() >>> this.#rcvShift;
    this.#finishHeader(at, headerLength, seqAdd(this.#sndUna, -1), ACK, window, 0, 0, 0, 0);
  }

  // ---------------------------------------------------------------- ending

  #enterTimeWait(now: number): void {
    if (this.#ackPending) this.#sendAck(now);
    this.#release();
    this.state = "TIME-WAIT";
    this.#timeWaitAt = now + TIME_WAIT_MS;
  }

  #abort(reason: "reset" | "timeout"): void {
    this.#release();
    this.#user.onAbort(reason);
  }

  #end(): void {
    this.#release();
    this.#user.onClosed();
  }

  /** Gives the rings back and stops the timers. */
  #release(): void {
    this.state = "CLOSED";
    this.blocked = false;
    this.#sendRing.close();
    this.#receiveRing.close();
    this.#retransmitAt = Infinity;
    this.#persistAt = Infinity;
    this.#keepaliveAt = Infinity;
    this.#timeWaitAt = Infinity;
    this.#ackAt = Infinity;
  }
}
