/**
 * What one guest can send in masses, in virtual time: tables stay within their bounds, and another guest's new connection
 * works while the flood goes on and after it.
 */
import { beforeEach, describe, expect, test } from "bun:test";
import {
  arp,
  echo,
  ethernet,
  hex,
  ipv4,
  pattern,
  tcp,
  text,
  udp,
} from "../support/injected-frames.ts";
import {
  ALL,
  DNS,
  GATEWAY,
  GATEWAY_MAC,
  InjectedNetwork,
  type InjectedGuest,
} from "../support/injected-network.ts";

const MALLORY_MAC = "52:54:00:00:00:0b";
const MALLORY = "10.0.0.11";
const HONEST = "10.0.0.12";
const DEAD = "198.51.100.1";

let net: InjectedNetwork;
let mallory: InjectedGuest;
let honest: InjectedGuest;
let nextPort = 2000;

beforeEach(() => {
  net = new InjectedNetwork();
  mallory = net.guest();
  honest = net.guest();
});

/** how many are sent in one turn, as a port receives them */
const TURN = 64;
function flood(count: number, frame: (n: number) => Uint8Array): void {
  for (let n = 0; n < count; n += TURN) {
    net.inject(
      mallory.port,
      ...Array.from({ length: Math.min(TURN, count - n) }, (_, i) => frame(n + i)),
    );
    mallory.port.take();
    honest.port.take();
  }
}
const toGateway = (packet: Parameters<typeof ipv4>[0]) =>
  ethernet(GATEWAY_MAC, MALLORY_MAC, "0800", ipv4(packet));

/** the honest guest opens a connection, says something, and gets an answer; and asks something by UDP, ping and DNS */
function expectService(): void {
  const port = nextPort++;
  const head = `203.0.113.9:80 > ${HONEST}:${port} tcp`;
  const send = (flags: string, seq: number, ack: number, word = "") =>
    honest.sendPacket(
      tcp(`${HONEST}:${port}`, "203.0.113.9:80", { flags, seq, ack, payload: text(word) }),
    );
  const before = net.streams.sockets.length;
  expect(send("S", 500, 0)).toEqual([]);
  expect(net.streams.sockets).toHaveLength(before + 1);
  const server = net.streams.last;
  server.owner!.onHostConnected(net.now);
  net.settle();
  expect(honest.port.lines()).toEqual([`${head} S. seq 1000 ack 501 win 32768`]);
  send("P.", 501, 1001, "ask");
  expect(server.heardText).toBe("ask");
  server.toSay = text("answer");
  server.owner!.onHostReadable(net.now);
  net.settle();
  expect(honest.port.lines().some((line) => line.endsWith('"answer"'))).toBe(true);
  send("R", 504, 0);
  expect(server.state).toBe("reset");
  honest.sendPacket(udp(`${HONEST}:${port}`, "203.0.113.9:53", text("datagram")));
  expect(net.datagrams.last.sentTexts).toEqual(["datagram"]);
  const queries = net.queries.length;
  honest.sendPacket(udp(`${HONEST}:${port}`, `${DNS}:53`, text("query")));
  expect(net.queries).toHaveLength(queries + 1);
  expect(honest.sendPacket(echo(HONEST, GATEWAY, "00070001", text("x")))).toEqual([
    `${GATEWAY} > ${HONEST} icmp 0/0 00070001 "x"`,
  ]);
}

interface Flood {
  name: string;
  count: number;
  frame: (n: number) => Uint8Array;
  /** what must not grow beyond a bound */
  bounded: () => [size: number, bound: number];
  counter: string;
}

const floods: Flood[] = [
  {
    name: "20,000 SYNs to a machine that does not answer",
    count: 20_000,
    frame: (n) =>
      toGateway(tcp(`${MALLORY}:${1024 + (n % 60_000)}`, `${DEAD}:80`, { flags: "S", seq: n })),
    bounded: () => [net.network.tcp.size, 12_288],
    counter: "tcp-flow-table-full",
  },
  {
    name: "6,000 UDP conversations",
    count: 6000,
    frame: (n) => toGateway(udp(`${MALLORY}:${1024 + n}`, `${DEAD}:9`, text("x"))),
    bounded: () => [net.network.datagrams.size, 3072],
    counter: "udp-table-full",
  },
  {
    name: "6,000 pings with identifiers of their own",
    count: 6000,
    frame: (n) =>
      toGateway(echo(MALLORY, DEAD, `${n.toString(16).padStart(4, "0")}0001`, text("x"))),
    bounded: () => [net.network.datagrams.size, 3072],
    counter: "udp-table-full",
  },
  {
    name: "10,000 first fragments",
    count: 10_000,
    frame: (n) =>
      toGateway({
        src: MALLORY,
        dst: DEAD,
        protocol: 17,
        payload: pattern(64),
        more: true,
        identification: n,
      }),
    bounded: () => [net.datagrams.openSockets.length, 0],
    counter: "fragment-no-place",
  },
  {
    name: "2,000 hardware addresses",
    count: 2000,
    frame: (n) => {
      const mac = `06:00:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`;
      return ethernet(
        ALL,
        mac,
        "0806",
        arp({ operation: 1, sha: mac, spa: "0.0.0.0", tpa: GATEWAY }),
      );
    },
    bounded: () => [[...net.network.link.addresses()].length, 65],
    counter: "switch-table-full",
  },
  {
    name: "all addresses of the subnet",
    count: 240,
    frame: (n) =>
      ethernet(
        ALL,
        MALLORY_MAC,
        "0806",
        arp({ operation: 1, sha: MALLORY_MAC, spa: `10.0.0.${13 + n}`, tpa: GATEWAY }),
      ),
    bounded: () => [net.count("guard-too-many-addresses"), 240 - 63],
    counter: "guard-too-many-addresses",
  },
  {
    name: "3,000 packets in others' names",
    count: 3000,
    frame: (n) => toGateway(udp(`${HONEST}:${1024 + n}`, `${DEAD}:9`, text("x"))),
    bounded: () => [net.offences.length, 1],
    counter: "guard-foreign-address",
  },
  {
    name: "5,000 segments of no connection",
    count: 5000,
    frame: (n) =>
      toGateway(tcp(`${MALLORY}:${1024 + n}`, `${DEAD}:80`, { flags: ".", seq: n, ack: n })),
    bounded: () => [net.network.tcp.size, 0],
    counter: "tcp-no-flow",
  },
];

describe.each(floods)("$name", ({ count, frame, bounded, counter }) => {
  test("leave bounds kept and another guest served, during and after", () => {
    flood(count / 2, frame);
    expectService();
    flood(count / 2, (n) => frame(count / 2 + n));
    const [size, bound] = bounded();
    // besides what the honest guest has: two conversations at most
    expect(size).toBeLessThanOrEqual(bound + 2);
    expect(net.count(counter)).toBeGreaterThan(0);
    expectService();
    net.pass(300_000);
    expectService();
  });
});

test("5,000 connections that a server accepts take rings from no other guest", () => {
  flood(5000, (n) =>
    toGateway(tcp(`${MALLORY}:${1024 + n}`, `${DEAD}:80`, { flags: "S", seq: n })),
  );
  const flooding = net.streams.sockets.slice();
  for (const { owner, state } of flooding) if (state === "open") owner!.onHostConnected(net.now);
  net.settle();
  mallory.port.take();
  expect(net.count("tcp-no-ring")).toBe(5000 - 3072);
  expectService();
});

test("a flood that connects from outside to a forwarded port leaves guests theirs", () => {
  for (let n = 0; n < 5000; n++)
    net.network.tcp.connectToGuest(net.now, net.streams.accept(), 0x0a00000b, 22);
  net.settle();
  mallory.port.take();
  expect(net.network.tcp.size).toBeLessThanOrEqual(3072);
  expectService();
});

test("few descriptors are shared as many are: half for TCP, an eighth each for UDP and ping", () => {
  net = new InjectedNetwork({}, 256 + 1024);
  mallory = net.guest();
  honest = net.guest();
  flood(1000, (n) =>
    toGateway(tcp(`${MALLORY}:${1024 + n}`, `${DEAD}:80`, { flags: "S", seq: n })),
  );
  flood(1000, (n) => toGateway(udp(`${MALLORY}:${1024 + n}`, `${DEAD}:9`, text("x"))));
  expect(net.network.tcp.size).toBe(384);
  expect(net.network.datagrams.size).toBe(96);
  expectService();
});

test("a DHCP client that asks 1,000 times has one lease and leaves others theirs", () => {
  const discover = (mac: string, xid: number) =>
    ethernet(
      ALL,
      mac,
      "0800",
      ipv4(
        udp(
          "0.0.0.0:68",
          "255.255.255.255:67",
          hex`
      01 01 06 00 ${xid.toString(16).padStart(8, "0")} 0000 0000 ${"00".repeat(16)}
      ${mac.replaceAll(":", "")} ${"00".repeat(10 + 192)} 63825363 350101 ff`,
        ),
      ),
    );
  flood(1000, (n) => discover(MALLORY_MAC, n));
  const [answer] = honest.send(discover(honest.mac, 7));
  expect(answer).toStartWith("10.0.0.1:67 > ");
  expectService();
});
