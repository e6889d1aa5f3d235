/**
 * TcpConnection with everything around it that it needs: packet memory, an application with octets to say and ears to
 * hear, and segments as plain octets. Time is a number that the test moves.
 */
import { Gather } from "../../lib/storage/gather.ts";
import { BlockPool } from "../../lib/storage/block-pool.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { TcpConnection, type SegmentSink, type TcpUser } from "../../lib/tcp/connection.ts";
import { fold, pseudoHeaderSum, sumOctetsOf } from "../../lib/wire/checksum.ts";
import { PROTOCOL_TCP } from "../../lib/wire/ipv4.ts";
import { put16 } from "../../lib/wire/octets.ts";
import { SYN, TCP_CHECKSUM, TcpView } from "../../lib/wire/tcp.ts";

const SMALL_RING = 16 * 1024;
const LARGE_RING = 256 * 1024;
const ROOM = 128 * 1024;

export interface EndpointOptions {
  address: number;
  port: number;
  peer: number;
  peerPort: number;
  mss: number;
  random: () => number;
  /** the peer's card takes segments of any size */
  takesLarge?: boolean;
  /** segments go here, header and payload in one piece */
  transmit: (segment: Uint8Array) => void;
}

export class TcpEndpoint implements TcpUser {
  connection: TcpConnection;
  /** what the application has heard */
  heard: Uint8Array[] = [];
  heardOctets = 0;
  /** why the connection ended: undefined while it has not */
  ended: "closed" | "reset" | "timeout" | undefined;
  /** the application listens; while it does not, the window fills up */
  listening = true;
  readonly #memory = new PacketMemory(4 * (SMALL_RING + LARGE_RING) + 4 * ROOM);
  readonly #sum = sumOctetsOf(this.#memory.octets);
  readonly #headers = this.#memory.reserve(ROOM);
  readonly #arrivals = this.#memory.reserve(ROOM);
  readonly #pools = {
    octets: this.#memory.octets,
    small: new BlockPool(this.#memory, SMALL_RING, 2),
    large: new BlockPool(this.#memory, LARGE_RING, 2),
  };
  readonly #view = new TcpView();
  readonly #options: EndpointOptions;
  readonly #gather = new Gather(256);
  #toSay = new Uint8Array(0);
  #said = 0;
  #closing = false;
  #header = 0;
  #established = false;
  #heardEnd = false;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.connection = this.#open();
  }

  #open(): TcpConnection {
    const options = this.#options;
    const { octets } = this.#memory;
    const sink: SegmentSink & { makesChecksum: boolean } = {
      makesChecksum: false,
      payloadLimit: ({ cardPayload, mss }) => (options.takesLarge === true ? cardPayload : mss),
      open: (_connection: TcpConnection, control: boolean) => {
        sink.makesChecksum = options.takesLarge === true && !control;
        return this.#headers + this.#header;
      },
      send: (_connection, header, headerLength, body1, length1, body2, length2) => {
        const segment = new Uint8Array(headerLength + length1 + length2);
        segment.set(octets.subarray(header, header + headerLength));
        segment.set(octets.subarray(body1, body1 + length1), headerLength);
        segment.set(octets.subarray(body2, body2 + length2), headerLength + length1);
        if (sink.makesChecksum) this.#sumAsACardDoes(segment);
        options.transmit(segment);
      },
    };
    return new TcpConnection(
      {
        octets,
        sum: this.#sum,
        pools: this.#pools,
        sink,
        random: options.random,
        mss: options.mss,
      },
      this,
      options.address,
      options.port,
      options.peer,
      options.peerPort,
    );
  }

  #sumAsACardDoes(segment: Uint8Array): void {
    const { address, peer } = this.#options;
    const addresses = pseudoHeaderSum(address, peer, PROTOCOL_TCP, segment.length);
    const sum = sumOctetsOf(segment)(0, segment.length);
    put16(segment, TCP_CHECKSUM, ~fold(addresses + sum));
  }

  /** Gives the application something to say; `end` closes its side after it. */
  say(octets: Uint8Array, end: boolean): void {
    const rest = this.#toSay.subarray(this.#said);
    this.#toSay = new Uint8Array(rest.length + octets.length);
    this.#toSay.set(rest);
    this.#toSay.set(octets, rest.length);
    this.#said = 0;
    this.#closing ||= end;
  }

  /** all that was to be said has been taken by the connection */
  get hasSaidAll(): boolean {
    return this.#said === this.#toSay.length;
  }

  /** the peer has closed its side and all of it was heard */
  get heardEnd(): boolean {
    return this.#heardEnd;
  }

  /** A segment from the peer; why it is none, if so. */
  receive(now: number, segment: Uint8Array): string | undefined {
    this.#memory.octets.set(segment, this.#arrivals);
    const { peer, address } = this.#options;
    const end = this.#arrivals + segment.length;
    const drop = this.#view.read(
      this.#memory.octets,
      this.#arrivals,
      end,
      peer,
      address,
      this.#sum,
    );
    if (drop !== undefined) return drop;
    const isSyn = (this.#view.flags & SYN) !== 0;
    // what the owner of connections does with ports that are used again
    if (isSyn && this.connection.mayBeReusedBy(this.#view)) {
      this.connection.forget();
      this.#established = false;
      this.connection = this.#open();
    }
    if (this.connection.state === "LISTEN" && isSyn) {
      this.connection.onSyn(this.#view);
      this.connection.answer(now);
      return undefined;
    }
    this.connection.onSegment(now, this.#view);
    this.settle(now);
    return undefined;
  }

  /** What the owner of a connection does in every turn: octets to the application, octets from it, segments out. */
  settle(now: number): void {
    const { connection } = this;
    if (connection.state === "CLOSED" || !this.#established) return;
    if (connection.pending > 0) {
      connection.listPending(this.#gather);
      const taken = this.listening ? this.#gather.octets : 0;
      if (taken > 0) this.#hear(taken);
      connection.onTaken(now, taken, this.#gather);
    }
    this.#gather.clear();
    if (connection.endOfText) this.#heardEnd = true;
    this.#speak(now);
    connection.output(now);
  }

  #hear(taken: number): void {
    for (let i = 0; i < this.#gather.count; i++) {
      const start = this.#gather.starts[i]!;
      this.heard.push(this.#memory.octets.slice(start, start + this.#gather.lengths[i]!));
    }
    this.heardOctets += taken;
  }

  #speak(now: number): void {
    const { connection } = this;
    const room = new Gather(4);
    while (this.#said < this.#toSay.length && connection.sendRoom > 0) {
      room.clear();
      connection.listSendRoom(room, this.#toSay.length - this.#said);
      const before = this.#said;
      for (let i = 0; i < room.count; i++) {
        const piece = this.#toSay.subarray(this.#said, this.#said + room.lengths[i]!);
        this.#memory.octets.set(piece, room.starts[i]);
        this.#said += piece.length;
      }
      connection.onFilled(this.#said - before);
      connection.output(now);
    }
    if (this.#closing && this.hasSaidAll) {
      this.#closing = false;
      connection.close();
    }
  }

  onDeadline(now: number): void {
    this.connection.onDeadline(now);
    this.settle(now);
  }

  /** all that was heard, in one piece */
  get heardText(): Uint8Array {
    const all = new Uint8Array(this.heardOctets);
    let at = 0;
    for (const piece of this.heard) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }

  // TcpUser

  onEstablished(): void {
    this.#established = true;
  }

  onPayload(start: number, length: number): boolean {
    return this.#gather.room > 4 && this.#gather.add(start, length);
  }

  onAbort(reason: "reset" | "timeout"): void {
    this.ended = reason;
  }

  onClosed(): void {
    this.ended = "closed";
  }
}
