/**
 * A whole network in virtual time: one guest sends whatever it likes, mangled frames of every protocol, alone and in bursts, as
 * time passes; another has a connection with a server meanwhile, whose octets must all arrive, in order, and nothing else.
 */
import {
  echo,
  ethernet,
  hex,
  ipv4,
  join,
  pattern,
  tcp,
  text,
  udp,
  arp,
  type Packet,
} from "../support/injected-frames.ts";
import {
  ALL,
  GATEWAY_MAC,
  InjectedNetwork,
  type InjectedGuest,
} from "../support/injected-network.ts";
import type { InjectedStream } from "../support/injected-hosts.ts";
import type { Dice, Target } from "./dice.ts";

const PREFIX = "10.0.0.";
const HONEST = "10.0.0.12";
const SERVER = "203.0.113.9:80";
/** octets that the honest guest says in one piece */
const WORD = 100;
/** frames after which everything is made anew: what the host's side in memory keeps of closed sockets grows */
const LIFE = 20_000;

export class NetworkTarget implements Target {
  readonly name = "a whole network with traffic beside";
  readonly unit = "frames";
  readonly batch = 64;
  #net!: InjectedNetwork;
  #mallory!: InjectedGuest;
  #honest!: InjectedGuest;
  #server!: InjectedStream;
  #valid!: Uint8Array[];
  #said = 0;
  #heard = 0;
  #seq = 0;
  #ack = 0;
  #frames = Infinity;
  #connections = 0;

  round(dice: Dice): void {
    if (this.#frames >= LIFE) this.#begin();
    const frames = Array.from({ length: this.batch }, () => makeFrame(dice, this.#valid, PREFIX));
    this.#frames += frames.length;
    this.#net.inject(this.#mallory.port, ...frames);
    this.#answerSomething(dice);
    this.#mallory.port.take();
    this.#talk();
    if (dice.chance(0.1)) this.#net.pass(dice.pick([1, 100, 1000, 60_000]));
    this.#net.finish();
    this.#mallory.port.take();
  }

  #begin(): void {
    this.#net = new InjectedNetwork();
    this.#mallory = this.#net.guest();
    this.#honest = this.#net.guest();
    this.#valid = validFrames(PREFIX);
    this.#frames = 0;
    this.#connect();
  }

  #send(flags: string, payload: Uint8Array = new Uint8Array()): Uint8Array[] {
    const from = `${HONEST}:${10_000 + (this.#connections % 50_000)}`;
    const segment = { flags, seq: this.#seq, ack: this.#ack, payload };
    this.#net.inject(
      this.#honest.port,
      ethernet(GATEWAY_MAC, this.#honest.mac, "0800", ipv4(tcp(from, SERVER, segment))),
    );
    return this.#honest.port.take();
  }

  #connect(): void {
    this.#connections++;
    this.#said = 0;
    this.#heard = 0;
    this.#seq = 500;
    this.#ack = 0;
    this.#send("S");
    this.#server = this.#net.streams.last;
    if (this.#server.target !== SERVER || this.#server.owner === undefined)
      throw new Error("the honest guest's SYN led nowhere");
    this.#server.owner.onHostConnected(this.#net.now);
    this.#net.settle();
    this.#seq++;
    this.#ack = 1001;
    this.#send(".");
  }

  /** The honest guest says something and hears something. */
  #talk(): void {
    const word = pattern(WORD).map((octet) => (octet + this.#said) & 255);
    this.#said++;
    this.#send("P.", word);
    this.#seq += WORD;
    const heard = this.#server.heard.slice(-WORD);
    if (this.#server.heard.length !== this.#said * WORD || Buffer.compare(heard, word) !== 0)
      throw new Error(`word ${this.#said} of the honest guest did not reach the server whole`);
    this.#server.toSay = word;
    this.#server.owner!.onHostReadable(this.#net.now);
    this.#net.settle();
    const got = join(
      ...this.#honest.port
        .take()
        .filter((frame) => frame[12] === 8 && frame[13] === 0 && frame[23] === 6)
        .map((frame) => frame.slice(54)),
    );
    if (Buffer.compare(got, word) !== 0)
      throw new Error(
        `word ${this.#heard} of the server did not reach the honest guest whole: ${got.length} octets`,
      );
    this.#heard++;
    this.#ack += WORD;
    this.#send(".");
    // the same connection is not kept for ever: opening one must work, too
    if (this.#said === 50) {
      this.#send("R");
      this.#connect();
    }
  }

  /** The host's side of what the other guest has opened does what hosts do. */
  #answerSomething(dice: Dice): void {
    const { streams, datagrams, now } = this.#net;
    for (let n = 0; n < 4; n++) {
      const socket = streams.sockets[dice.below(streams.sockets.length)];
      if (
        socket === undefined ||
        socket === this.#server ||
        socket.state !== "open" ||
        socket.owner === undefined
      )
        continue;
      switch (dice.below(5)) {
        case 0:
          if (!this.#connected.has(socket)) {
            this.#connected.add(socket);
            socket.owner.onHostConnected(now);
          }
          break;
        case 1:
          if (!this.#connected.has(socket))
            socket.owner.onHostConnectFailed(now, dice.pick(["refused", "unreachable", "timeout"]));
          break;
        case 2:
          socket.toSay = dice.octets(dice.below(3000));
          if (this.#connected.has(socket)) socket.owner.onHostReadable(now);
          break;
        case 3:
          socket.after = dice.pick(["end", "reset", "again"] as const);
          if (this.#connected.has(socket)) socket.owner.onHostReadable(now);
          break;
        default:
          socket.room = dice.pick([0, 1, 1000, Infinity]);
          if (this.#connected.has(socket)) socket.owner.onHostWritable(now);
      }
      this.#net.settle();
    }
    const datagram = datagrams.sockets[dice.below(datagrams.sockets.length)];
    if (datagram?.open) {
      datagram.arrivals.push({ octets: dice.octets(dice.below(2000)) });
      datagram.owner.onHostReadable(now);
    }
  }
  readonly #connected = new WeakSet<InjectedStream>();

  /** Some frames as this guest sends them, on a network with another prefix, such as "192.168.104.". */
  static frames(dice: Dice, count: number, prefix: string): Uint8Array[] {
    const valid = validFrames(prefix);
    return Array.from({ length: count }, () => makeFrame(dice, valid, prefix));
  }
}

function makeFrame(dice: Dice, valid: readonly Uint8Array[], prefix: string): Uint8Array {
  const kind = dice.below(10);
  if (kind === 0) return dice.octets(dice.below(120));
  if (kind < 5) return dice.mangle(dice.pick(valid), valid);
  // right checksums get deeper
  const from = `${prefix}11:${1000 + dice.below(20)}`;
  const to = `${dice.pick(["8.8.8.8", `${prefix}1`, `${prefix}2`, "203.0.113.9", "169.254.169.254"])}:${dice.pick([53, 67, 80, 9])}`;
  const near = (of: number) =>
    (of + dice.pick([0, 1, -1, 2, 1000, -1000, 65_535, 2 ** 31]) + 2 ** 32) % 2 ** 32;
  const packet = dice.pick<() => Packet>([
    () =>
      tcp(from, to, {
        flags: dice.pick(["S", "S", ".", "P.", "F.", "R", "R.", "SF", "S.", "", "FSRP."]),
        seq: near(100),
        ack: near(1001),
        window: dice.pick([0, 1, 1000, 65_535]),
        options: dice.chance(0.5) ? dice.octets(4 * dice.below(10)).toHex() : "",
        payload: dice.octets(dice.below(100)),
      }),
    () => udp(from, to, dice.octets(dice.below(100))),
    () =>
      echo(`${prefix}11`, to.split(":")[0]!, dice.octets(4).toHex(), dice.octets(dice.below(60))),
    () => ({
      ...udp(from, to, dice.octets(64)),
      identification: dice.below(8),
      offset: 8 * dice.below(16),
      more: dice.chance(0.6),
    }),
    () => udp(`${prefix}11:68`, "255.255.255.255:67", dice.mangle(DISCOVER, [DISCOVER])),
    () => udp("0.0.0.0:68", "255.255.255.255:67", dice.mangle(DISCOVER, [DISCOVER])),
  ])();
  return ethernet(dice.chance(0.2) ? ALL : GATEWAY_MAC, "52:54:00:00:00:0b", "0800", ipv4(packet));
}

const DISCOVER = hex`
  01 01 06 00 00000001 0000 0000 00000000 00000000 00000000 00000000
  52540000000b ${"00".repeat(10 + 192)} 63825363 350101 3204 0a000063 3d03010203 ff`;

function validFrames(prefix: string): Uint8Array[] {
  const self = `${prefix}11`;
  const gateway = `${prefix}2`;
  const mac = "52:54:00:00:00:0b";
  const inFrame = (packet: Packet) => ethernet(GATEWAY_MAC, mac, "0800", ipv4(packet));
  return [
    ethernet(ALL, mac, "0806", arp({ operation: 1, sha: mac, spa: self, tpa: gateway })),
    ethernet(
      ALL,
      mac,
      "8100",
      hex`0000 0806 ${arp({ operation: 2, sha: mac, spa: self, tpa: gateway })}`,
    ),
    inFrame(udp(`${self}:4000`, "8.8.8.8:53", text("x"))),
    inFrame(tcp(`${self}:4000`, "8.8.8.8:80", { flags: "S", options: "020405b401030307" })),
    inFrame(echo(self, gateway, "00070001", text("abc"))),
    inFrame({ src: self, dst: "8.8.8.8", protocol: 17, payload: pattern(64), more: true }),
    ethernet(ALL, mac, "0800", ipv4(udp("0.0.0.0:68", "255.255.255.255:67", DISCOVER))),
    ethernet(
      "33:33:00:00:00:01",
      mac,
      "86dd",
      hex`60000000 0010 3a ff ${"fe80".padEnd(32, "0")} ${"ff02".padEnd(32, "0")} 8700000000000000 0000000000000000`,
    ),
  ];
}
