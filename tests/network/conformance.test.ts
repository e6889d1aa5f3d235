/** What RFCs say of a host and a router, at the frames of a whole network; states of TCP are in tests/scenarios. */
import { beforeEach, describe, expect, test } from "bun:test";
import {
  patch,
  pattern,
  tcp,
  text,
  udp,
  type Packet,
  type Segment,
} from "../support/injected-frames.ts";
import { InjectedNetwork, type InjectedGuest } from "../support/injected-network.ts";

const GUEST = "10.0.0.11";
const FROM = `${GUEST}:4000`;
const UDP_SERVER = "8.8.8.8:53";
const SERVER = "8.8.8.8:80";

let net: InjectedNetwork;
let guest: InjectedGuest;

beforeEach(() => {
  net = new InjectedNetwork();
  guest = net.guest();
});

describe("UDP", () => {
  test("RFC 768, RFC 1122 4.1.3.4: a checksum of zero is none, and the datagram is taken", () => {
    const packet = udp(FROM, UDP_SERVER, text("unchecked"));
    guest.sendPacket({ ...packet, payload: patch(packet.payload, 6, 0, 0) });
    expect(net.datagrams.last.sentTexts).toEqual(["unchecked"]);
  });

  test("RFC 768: a datagram without octets is one, there and back", () => {
    guest.sendPacket(udp(FROM, UDP_SERVER, text("")));
    expect(net.datagrams.last.sentTexts).toEqual([""]);
    net.datagrams.last.arrivals.push({ octets: new Uint8Array() });
    net.datagrams.last.owner.onHostReadable(net.now);
    expect(guest.port.lines()).toEqual([`${UDP_SERVER} > ${FROM} udp`]);
  });

  test("RFC 768: a computed checksum of zero is sent as all ones", () => {
    guest.sendPacket(udp(FROM, UDP_SERVER, text("ask")));
    const sumOf = (word: string) => {
      net.datagrams.last.arrivals.push({ octets: Uint8Array.fromHex(word) });
      net.datagrams.last.owner.onHostReadable(net.now);
      return guest.port.take()[0]!.slice(40, 42).toHex();
    };
    // octets that are the complement of all others' sum make the checksum zero
    const others = sumOf("0000");
    expect(others).not.toBe("ffff");
    expect(sumOf(others)).toBe("ffff");
  });
});

describe("fragments", () => {
  const datagram = udp(FROM, UDP_SERVER, pattern(32));
  const piece = (
    offset: number,
    length: number,
    more: boolean,
    change?: (octets: Uint8Array) => Uint8Array,
  ): Packet => {
    const payload = datagram.payload.slice(offset, offset + length);
    return { ...datagram, payload: change?.(payload) ?? payload, offset, more };
  };

  test.each<[string, Packet[], Record<string, number>]>([
    [
      "teardrop: the second ends inside of the first",
      [piece(0, 32, true), piece(8, 8, false)],
      { "fragment-overlap": 1 },
    ],
    [
      "RFC 1858 4: an overlap that would write over the header",
      [piece(0, 16, true), piece(0, 16, true, (octets) => octets.fill(0)), piece(16, 24, false)],
      { "fragment-overlap": 1 },
    ],
    [
      "RFC 5722 4: an overlap of a single octet's place",
      [piece(0, 16, true), piece(8, 32, false)],
      { "fragment-overlap": 1 },
    ],
    ["RFC 791 3.2: one that is missing", [piece(0, 16, true), piece(24, 16, false)], {}],
    [
      "two ends that do not agree",
      [piece(24, 16, false), piece(16, 16, false)],
      { "fragment-overlap": 1 },
    ],
  ])("%s: nothing is taken", (_name, pieces, counts) => {
    for (const packet of pieces) expect(guest.sendPacket(packet)).toEqual([]);
    expect(net.datagrams.sockets).toEqual([]);
    expect(net.network.counters.values).toEqual(counts);
  });

  test("RFC 791 3.2: in any order they are the datagram", () => {
    for (const packet of [piece(16, 16, true), piece(32, 8, false), piece(0, 16, true)])
      guest.sendPacket(packet);
    expect(net.datagrams.last.sent.map(({ octets }) => octets.toHex())).toEqual([
      pattern(32).toHex(),
    ]);
  });

  test("RFC 791 3.2: pieces of a time long ago are given up", () => {
    guest.sendPacket(piece(0, 16, true));
    net.pass(30_000);
    guest.sendPacket(piece(16, 24, false));
    expect(net.datagrams.sockets).toEqual([]);
    expect(net.count("fragment-timeout")).toBe(1);
  });
});

describe("IPv4 options", () => {
  test.each([
    ["no operation", "01010100"],
    ["record route (RFC 791 3.1)", "07070400000000 00".replace(" ", "")],
    ["router alert (RFC 2113)", "94040000"],
    ["one whose length is 0", "44000000"],
  ])("%s: the payload behind is taken", (_name, options) => {
    guest.sendPacket({ ...udp(FROM, UDP_SERVER, text("behind")), options });
    expect(net.datagrams.last.sentTexts).toEqual(["behind"]);
  });
});

describe("TCP", () => {
  const send = (segment: Segment) => guest.sendPacket(tcp(FROM, SERVER, segment));
  const open = (iss: number) => {
    send({ flags: "S", seq: iss });
    net.streams.last.owner!.onHostConnected(net.now);
    net.settle();
    guest.port.take();
    send({ flags: ".", seq: (iss + 1) % 2 ** 32, ack: 1001 });
    return net.streams.last;
  };

  test.each([0xffff_fff0, 0xffff_ffff, 0x7fff_fff0])(
    "RFC 9293 3.4: sequence numbers go on over the wrap, from %d",
    (iss) => {
      const server = open(iss);
      const said = pattern(4000);
      for (let at = 0; at < said.length; at += 1000)
        send({
          flags: "P.",
          seq: (iss + 1 + at) % 2 ** 32,
          ack: 1001,
          payload: said.slice(at, at + 1000),
        });
      expect(server.heard.toHex()).toBe(said.toHex());
    },
  );

  test("RFC 9293 3.10.7.4, RFC 1122 4.2.2.13: a newer SYN opens a connection anew out of TIME-WAIT, an older one does not", () => {
    const server = open(500);
    server.after = "end";
    server.owner!.onHostReadable(net.now);
    net.settle();
    guest.port.take();
    // the guest's own end: we closed first, and wait
    send({ flags: "F.", seq: 501, ack: 1002 });
    expect(server.state).toBe("closed");
    expect(net.network.tcp.size).toBe(1);
    send({ flags: "S", seq: 400 });
    expect(net.streams.sockets).toHaveLength(1);
    send({ flags: "S", seq: 100_000 });
    expect(net.streams.sockets).toHaveLength(2);
    net.streams.last.owner!.onHostConnected(net.now);
    net.settle();
    expect(guest.port.lines().at(-1)).toContain("ack 100001");
  });

  test("RFC 9293 3.10.7.1: a segment of no connection is reset, a reset is not", () => {
    expect(send({ flags: ".", seq: 7, ack: 9 })).toEqual([
      `${SERVER} > ${FROM} tcp R seq 9 ack 0 win 0`,
    ]);
    expect(send({ flags: "F", seq: 7 })).toEqual([`${SERVER} > ${FROM} tcp R. seq 0 ack 8 win 0`]);
    expect(send({ flags: "R", seq: 7 })).toEqual([]);
    expect(send({ flags: "R.", seq: 7, ack: 9 })).toEqual([]);
  });
});
