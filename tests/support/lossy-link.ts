/** Two TCP endpoints and a link between them that loses, delays, reorders and repeats; everything follows from a seed. */
import { TcpEndpoint } from "./tcp-endpoint.ts";

export interface LinkOptions {
  seed: number;
  /** of a segment, 0 to 1 */
  loss?: number;
  duplicate?: number;
  /** one way, milliseconds */
  delayMs?: number;
  /** further delay of single segments, up to this: they come out of order */
  jitterMs?: number;
  mss?: number;
  /** both ends' cards take segments of any size */
  takesLarge?: boolean;
  /** octets a millisecond; what does not fit into `queueOctets` is lost */
  rate?: number;
  queueOctets?: number;
}

/** xorshift32: small, and the same everywhere */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

interface Arrival {
  at: number;
  order: number;
  to: TcpEndpoint;
  segment: Uint8Array;
}

const CLIENT = 0xc0a86801;
const SERVER = 0xcb007109;

export class LossyLink {
  now = 0;
  segments = 0;
  readonly client: TcpEndpoint;
  readonly server: TcpEndpoint;
  readonly #random: () => number;
  readonly #options: Required<Omit<LinkOptions, "mss" | "takesLarge">>;
  readonly #inFlight: Arrival[] = [];
  readonly #freeAt = new Map<TcpEndpoint, number>();

  constructor({ mss = 1460, takesLarge = false, ...options }: LinkOptions) {
    this.#options = {
      loss: 0,
      duplicate: 0,
      delayMs: 1,
      jitterMs: 0,
      rate: Infinity,
      queueOctets: Infinity,
      ...options,
    };
    this.#random = seededRandom(options.seed);
    const common = { mss, takesLarge, random: this.#random };
    this.client = new TcpEndpoint({
      ...common,
      ...{ address: CLIENT, port: 40_000, peer: SERVER, peerPort: 80 },
      transmit: (segment) => this.#carry(this.server, segment),
    });
    this.server = new TcpEndpoint({
      ...common,
      ...{ address: SERVER, port: 80, peer: CLIENT, peerPort: 40_000 },
      transmit: (segment) => this.#carry(this.client, segment),
    });
  }

  #chance(): number {
    return this.#random() / 2 ** 32;
  }

  #carry(to: TcpEndpoint, segment: Uint8Array): void {
    this.segments++;
    const { loss, duplicate, delayMs, jitterMs, rate, queueOctets } = this.#options;
    if (this.#chance() < loss) return;
    const starts = Math.max(this.now, this.#freeAt.get(to) ?? 0);
    if ((starts - this.now) * rate > queueOctets) return;
    const sent = rate === Infinity ? starts : starts + segment.length / rate;
    this.#freeAt.set(to, sent);
    const copies = this.#chance() < duplicate ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const at = sent + delayMs + this.#chance() * jitterMs;
      this.#inFlight.push({ at, order: this.segments, to, segment });
    }
  }

  open(): void {
    this.client.connection.connect(this.now);
  }

  /** Jumps to what happens next; false when nothing ever will. */
  step(): boolean {
    this.#inFlight.sort((a, b) => a.at - b.at || a.order - b.order);
    const arrival = this.#inFlight[0];
    const timer = Math.min(
      this.client.connection.nextDeadline(),
      this.server.connection.nextDeadline(),
    );
    const next = Math.min(arrival?.at ?? Infinity, timer);
    if (next === Infinity) return false;
    this.now = Math.max(this.now, next);
    if (arrival !== undefined && arrival.at <= timer) {
      this.#inFlight.shift();
      const drop = arrival.to.receive(this.now, arrival.segment);
      if (drop !== undefined) throw new Error(`a segment was not one: ${drop}`);
      return true;
    }
    for (const end of [this.client, this.server])
      if (end.connection.nextDeadline() <= this.now) end.onDeadline(this.now);
    return true;
  }

  /** Steps until `done`; throws when nothing more happens or virtual time has run to `limitMs`. */
  run(done: () => boolean, limitMs: number): void {
    while (!done()) {
      if (!this.step()) throw new Error("nothing more happens");
      if (this.now > limitMs) throw new Error(`not done after ${limitMs} ms`);
    }
  }
}
