/**
 * Frames that follow each other may go to TCP at once. What comes of it is held against the long way, by switch and gateway,
 * which all frames go while somebody observes them.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  arp,
  ethernet,
  ipv4,
  join,
  patch,
  pattern,
  tcp,
  word32,
} from "../support/injected-frames.ts";
import { ALL, GATEWAY_MAC, InjectedNetwork } from "../support/injected-network.ts";

const SERVER = "8.8.8.8:80";
const stamp = (value: number, echo: number) => `0101080a${word32(value)}${word32(echo)}`;

/** What a frame of the stream says otherwise than plain data that goes on where the last frame ended. */
interface Odd {
  flags?: string;
  /** octets left out before it; negative: said before */
  skip?: number;
  ack?: number;
  window?: number;
  tsVal?: number;
  options?: string;
  length?: number;
  ttl?: number;
  identification?: number;
  ipOptions?: string;
  more?: boolean;
  /** octet of the frame, to be turned over */
  flip?: number;
  padding?: number;
  /** of whom the frame is */
  who?: "other connection" | "other guest" | "ARP";
}

const odd: fc.Arbitrary<Odd> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ length: fc.integer({ min: 1, max: 500 }) }) },
  fc.constantFrom<Odd>(
    { length: 0 },
    { flags: "P." },
    { flags: "F." },
    { flags: "R" },
    { flags: "." },
    { flags: "S" },
    { skip: 100 },
    { skip: -50 },
    { skip: -1000 },
    { skip: 40_000 },
    { ack: 1002 },
    { ack: 900 },
    { window: 100 },
    { tsVal: 5 },
    { tsVal: 20 },
    { options: "" },
    { options: "01010101" },
    { options: `0101050a${word32(900)}${word32(950)}` },
    { ttl: 1 },
    { identification: 77 },
    { ipOptions: "01010101" },
    { more: true },
    { padding: 6 },
    { who: "other connection" },
    { who: "other guest" },
    { who: "ARP" },
  ),
  fc.record({ flip: fc.integer({ min: 0, max: 80 }) }),
);

class Stream {
  readonly net = new InjectedNetwork();
  readonly guest = this.net.guest();
  readonly other = this.net.guest();
  /** frames that the switch has seen */
  switched = 0;
  #port = 4000;
  #seq = 501;

  constructor() {
    const { link } = this.net.network;
    const onFrame = link.onFrame.bind(link);
    link.onFrame = (...frame) => {
      this.switched++;
      onFrame(...frame);
    };
  }

  /** Opens the connection that all is about, and another one. */
  open(): void {
    this.#port += 2;
    this.#seq = 501;
    for (const port of [this.#port, this.#port + 1]) {
      const from = `${this.guest.ip}:${port}`;
      const options = stamp(10, 0);
      this.guest.sendPacket(tcp(from, SERVER, { flags: "S", seq: 500, options }));
      this.net.streams.last.owner!.onHostConnected(this.net.now);
      this.net.settle();
      this.guest.sendPacket(tcp(from, SERVER, { flags: ".", seq: 501, ack: 1001, options }));
    }
    this.guest.port.take();
    this.switched = 0;
  }

  frame(what: Odd): Uint8Array {
    const { flags = ".", length = 100, ack = 1001, window = 5000, tsVal = 10, who } = what;
    const { guest } = this;
    if (who === "ARP")
      return ethernet(
        ALL,
        guest.mac,
        "0806",
        arp({ operation: 1, sha: guest.mac, spa: guest.ip, tpa: "10.0.0.1" }),
      );
    const seq = who === undefined ? (this.#seq + (what.skip ?? 0)) >>> 0 : 501;
    const from = `${guest.ip}:${this.#port + (who === "other connection" ? 1 : 0)}`;
    const payload = pattern(length);
    const { options = stamp(tsVal, 0) } = what;
    const packet = tcp(from, SERVER, { flags, seq, ack, window, options, payload });
    const { ttl, identification, ipOptions, more } = what;
    const frame = ethernet(
      GATEWAY_MAC,
      guest.mac,
      "0800",
      ipv4({
        ...packet,
        ...(ttl === undefined ? {} : { ttl }),
        ...(identification === undefined ? {} : { identification }),
        ...(ipOptions === undefined ? {} : { options: ipOptions }),
        ...(more === undefined ? {} : { more }),
      }),
    );
    if (who === undefined && what.flip === undefined) this.#seq = seq + length;
    const whole = join(frame, new Uint8Array(what.padding ?? 0));
    return what.flip === undefined ? whole : patch(whole, what.flip, whole[what.flip]! ^ 0xff);
  }

  /** Frames that come in one turn, as the two ports get them. */
  turn(frames: Odd[]): void {
    this.net.inject(
      frames.some(({ who }) => who === "other guest") ? this.other.port : this.guest.port,
      ...frames.map((frame) => this.frame(frame)),
    );
    this.net.finish();
  }

  /** all that can be seen from outside */
  outcome(): unknown {
    const { streams, network, offences } = this.net;
    return {
      sockets: streams.sockets
        .slice(-2)
        .map(({ heard, heardEnd, state }) => [heard.toHex(), heardEnd, state]),
      frames: [this.guest, this.other].map(({ port }) => port.take().map((frame) => frame.toHex())),
      counts: network.counters.values,
      offences,
    };
  }
}

// what has gone wrong once stays wrong, so a failure cannot be made smaller
test("a train of frames has the same outcome as its frames by the long way", () => {
  const turns = fc.array(fc.array(odd, { minLength: 1, maxLength: 12 }), {
    minLength: 1,
    maxLength: 4,
  });
  const short = new Stream();
  const long = new Stream();
  long.net.network.link.observer = () => {};
  fc.assert(
    fc.property(turns, (list) => {
      short.open();
      long.open();
      for (const frames of list) {
        short.turn(frames);
        long.turn(frames);
        expect(short.outcome()).toEqual(long.outcome());
      }
    }),
    { numRuns: 100, endOnFailure: true },
  );
});

test("data that follows data of its connection does not go by the switch", () => {
  const stream = new Stream();
  stream.open();
  stream.turn([{}, {}, { flags: "P." }, { length: 7 }]);
  expect(stream.switched).toBe(1);
  // what the receive buffer holds is other data in the next turn
  stream.turn([{}, { length: 0 }, { who: "ARP" }, {}, {}]);
  expect(stream.switched).toBe(1 + 3);
  expect(stream.net.streams.sockets[0]!.heard).toHaveLength(307 + 300);
});

test("all frames go by the switch while somebody observes them", () => {
  const stream = new Stream();
  stream.open();
  let seen = 0;
  stream.net.network.link.observer = () => void seen++;
  stream.turn([{}, {}, {}]);
  expect(stream.switched).toBe(3);
  // the acknowledgement is one, too
  expect(seen).toBe(4);
});
