import { beforeEach, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  arp,
  echo,
  ethernet,
  hex,
  ipv4,
  join,
  patch,
  pattern,
  tcp,
  text,
  udp,
  type Packet,
} from "../support/injected-frames.ts";
import {
  ALL,
  GATEWAY,
  GATEWAY_MAC,
  InjectedNetwork,
  type InjectedGuest,
} from "../support/injected-network.ts";

const MAC = "52:54:00:00:00:0b";
const GUEST = "10.0.0.11";
const FROM = `${GUEST}:4000`;
const SERVER = "8.8.8.8:80";
const nothing = new Uint8Array();

let net: InjectedNetwork;
let guest: InjectedGuest;

beforeEach(() => {
  net = new InjectedNetwork();
  guest = net.guest();
});

const frame = (payload: Uint8Array, type = "0800") => ethernet(GATEWAY_MAC, MAC, type, payload);
const packet = (fields: Packet) => frame(ipv4(fields));
/** a right IPv4 header in front of any octets */
const carrying = (protocol: 1 | 6 | 17, payload: Uint8Array, dst = "8.8.8.8") =>
  packet({ src: GUEST, dst, protocol, payload });

const anArp = arp({ operation: 1, sha: MAC, spa: GUEST, tpa: GATEWAY });
const aPacket = ipv4(udp(FROM, SERVER, text("x")));
const aDatagram = udp(FROM, SERVER, text("abc")).payload;
const aSegment = tcp(FROM, SERVER, { flags: "S" }).payload;
const anEcho = echo(GUEST, GATEWAY, "00070001", text("abc")).payload;
const syn = (options: string) => packet(tcp(FROM, SERVER, { flags: "S", options }));

/** RFC 2131: fixed part and magic of a message from this guest, then options */
const dhcp = (options: string) => hex`
  01 01 06 00 00000001 0000 0000
  00000000 00000000 00000000 00000000
  52540000000b ${"00".repeat(10 + 192)} 63825363 ${options}`;
const toDhcp = (message: Uint8Array) =>
  ethernet(ALL, MAC, "0800", ipv4(udp("0.0.0.0:68", "255.255.255.255:67", message)));
const discover = dhcp("350101ff");

const rows: [reason: string, name: string, frame: Uint8Array][] = [
  ["switch-runt", "nothing at all", nothing],
  ["switch-runt", "one octet", hex`ff`],
  ["switch-runt", "a header short of an octet", frame(nothing).slice(0, 13)],
  ["switch-group-source", "a frame from all", ethernet(GATEWAY_MAC, ALL, "0800", aPacket)],
  [
    "switch-group-source",
    "a frame from a group",
    ethernet(ALL, "03:00:00:00:00:01", "0806", anArp),
  ],
  ["switch-gateway-source", "a frame from the gateway", ethernet(ALL, GATEWAY_MAC, "0806", anArp)],
  ["ethertype", "a type of its own", frame(pattern(46), "88b5")],
  ["ethertype", "a length in the place of a type", frame(pattern(46), "002e")],
  ["ethertype", "type 0", frame(nothing, "0000")],
  ["ethertype", "IPv4 in a VLAN", frame(hex`0001 0800 ${aPacket}`, "8100")],
  ["arp-truncated", "an empty ARP packet", frame(nothing, "0806")],
  ["arp-truncated", "an ARP packet short of an octet", frame(anArp.slice(0, 27), "0806")],
  ["arp-form", "ARP for IEEE 802", frame(patch(anArp, 1, 6), "0806")],
  ["arp-form", "ARP for IPv6", frame(patch(anArp, 2, 0x86, 0xdd), "0806")],
  ["arp-form", "ARP with hardware addresses of 8 octets", frame(patch(anArp, 4, 8), "0806")],
  ["arp-form", "ARP with protocol addresses of 16 octets", frame(patch(anArp, 5, 16), "0806")],
  ["ipv4-truncated", "an empty packet", frame(nothing)],
  ["ipv4-truncated", "a packet short of an octet of its header", frame(aPacket.slice(0, 19))],
  ["ipv4-version", "version 0", frame(patch(aPacket, 0, 0x05))],
  ["ipv4-version", "version 6", frame(patch(aPacket, 0, 0x65))],
  ["ipv4-header-length", "a header of no words", frame(patch(aPacket, 0, 0x40))],
  ["ipv4-header-length", "a header of four words", frame(patch(aPacket, 0, 0x44))],
  ["ipv4-header-length", "a header longer than the frame", frame(patch(aPacket, 0, 0x4f))],
  ["ipv4-total-length", "a total length of 0", frame(patch(aPacket, 2, 0, 0))],
  ["ipv4-total-length", "a total length below the header's", frame(patch(aPacket, 2, 0, 19))],
  ["ipv4-total-length", "a total length above the frame's", frame(patch(aPacket, 2, 0, 30))],
  ["ipv4-total-length", "the largest total length", frame(patch(aPacket, 2, 0xff, 0xff))],
  ["ipv4-checksum", "a wrong header checksum", frame(patch(aPacket, 10, 0, 0))],
  ["ipv4-checksum", "a changed address", frame(patch(aPacket, 19, 9))],
  ["martian-source", "a source elsewhere", packet(udp("192.0.2.1:1", SERVER, text("x")))],
  ["martian-source", "a source of all", packet(udp("255.255.255.255:1", SERVER, text("x")))],
  [
    "guard-gateway-address",
    "the gateway as source",
    packet(udp(`${GATEWAY}:1`, SERVER, text("x"))),
  ],
  ["martian-destination", "a loopback address", packet(udp(FROM, "127.0.0.1:1", text("x")))],
  ["martian-destination", "address 0", packet(udp(FROM, "0.0.0.0:1", text("x")))],
  ["martian-destination", "an address of class E", packet(udp(FROM, "250.1.2.3:1", text("x")))],
  ["misdirected", "an address of the subnet", packet(udp(FROM, "10.0.0.77:1", text("x")))],
  [
    "fragment-length",
    "an empty fragment",
    packet({ src: GUEST, dst: "8.8.8.8", protocol: 17, payload: nothing, more: true }),
  ],
  [
    "fragment-length",
    "a fragment of seven octets",
    packet({ src: GUEST, dst: "8.8.8.8", protocol: 17, payload: pattern(7), more: true }),
  ],
  [
    "fragment-too-long",
    "a fragment beyond the end (ping of death)",
    packet({ src: GUEST, dst: GATEWAY, protocol: 1, payload: pattern(1480), offset: 65_528 }),
  ],
  ["icmp-truncated", "an empty ICMP message", carrying(1, nothing)],
  ["icmp-truncated", "an ICMP message short of an octet", carrying(1, anEcho.slice(0, 7), GATEWAY)],
  ["icmp-checksum", "a changed ICMP message", carrying(1, patch(anEcho, 9, 0), GATEWAY)],
  ["icmp-checksum", "a changed ICMP message outwards", carrying(1, patch(anEcho, 9, 0))],
  ["udp-truncated", "an empty UDP datagram", carrying(17, nothing)],
  ["udp-truncated", "a UDP header short of an octet", carrying(17, aDatagram.slice(0, 7))],
  ["udp-length", "a UDP length of 0", carrying(17, patch(aDatagram, 4, 0, 0))],
  ["udp-length", "a UDP length below the header's", carrying(17, patch(aDatagram, 4, 0, 7))],
  ["udp-length", "a UDP length above the packet's", carrying(17, patch(aDatagram, 4, 0, 12))],
  ["udp-checksum", "a changed UDP datagram", carrying(17, patch(aDatagram, 8, 0))],
  ["udp-checksum", "a UDP datagram from another address", carrying(17, aDatagram, "8.8.4.4")],
  ["tcp-truncated", "an empty TCP segment", carrying(6, nothing)],
  ["tcp-truncated", "a TCP header short of an octet", carrying(6, aSegment.slice(0, 19))],
  ["tcp-header-length", "a TCP header of no words", carrying(6, patch(aSegment, 12, 0x00))],
  ["tcp-header-length", "a TCP header of four words", carrying(6, patch(aSegment, 12, 0x40))],
  ["tcp-header-length", "a TCP header beyond the end", carrying(6, patch(aSegment, 12, 0xf0))],
  ["tcp-checksum", "a changed TCP segment", carrying(6, patch(aSegment, 7, 1))],
  ["tcp-option", "an option of no octets", syn("08000000")],
  ["tcp-option", "an option of one octet", syn("02010000")],
  ["tcp-option", "an option beyond the header", syn("02050000")],
  ["tcp-option", "an option of the largest length", syn("fdff0000")],
  ["tcp-option", "an option without a length", syn("01010102")],
  ["dhcp-truncated", "an empty DHCP message", toDhcp(nothing)],
  ["dhcp-truncated", "a DHCP message without its magic", toDhcp(discover.slice(0, 239))],
  ["dhcp-not-a-request", "a DHCP reply", toDhcp(patch(discover, 0, 2))],
  ["dhcp-hardware", "a DHCP message of another hardware", toDhcp(patch(discover, 1, 6))],
  ["dhcp-hardware", "a DHCP message with a long address", toDhcp(patch(discover, 2, 16))],
  ["dhcp-magic", "a BOOTP message", toDhcp(patch(discover, 236, 0))],
  ["dhcp-option", "a DHCP option beyond the end", toDhcp(dhcp("3501013204"))],
  ["dhcp-option", "a DHCP option without a length", toDhcp(dhcp("35010132"))],
  ["dhcp-no-type", "a DHCP message without a type", toDhcp(dhcp("ff"))],
  ["dhcp-no-type", "a DHCP type of two octets", toDhcp(dhcp("35020101ff"))],
  [
    "dhcp-wrong-hardware-address",
    "a DHCP message for another",
    toDhcp(patch(discover, 28, 0x52, 0x54, 0, 0, 0, 0x0c)),
  ],
];

/** the network goes on */
const PING = frame(ipv4(echo(GUEST, GATEWAY, "00070001", text("still here"))));
const PONG = '10.0.0.1 > 10.0.0.11 icmp 0/0 00070001 "still here"';

test.each(rows)("onFrame() counts %s and says nothing to %s", (reason, _name, octets) => {
  expect(guest.send(octets)).toEqual([]);
  expect(net.network.counters.values).toEqual({ [reason]: 1 });
  expect([net.datagrams.sockets, net.streams.sockets, net.queries]).toEqual([[], [], []]);
  expect(guest.send(PING)).toEqual([PONG]);
});

describe("what no row names", () => {
  const valid: Uint8Array[] = [
    frame(anArp, "0806"),
    frame(aPacket),
    packet(echo(GUEST, GATEWAY, "00070001", text("abc"))),
    packet(tcp(FROM, SERVER, { flags: "S", options: "020405b4" })),
    packet({ src: GUEST, dst: "8.8.8.8", protocol: 17, payload: pattern(64), more: true }),
    toDhcp(discover),
    packet(udp(FROM, "10.0.0.2:53", hex`1234 0100 0001 0000 0000 0000 00 0001 0001`)),
  ];
  const changes = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 });
  const anyOf = fc.constantFrom(...valid);
  /** a ping that comes from this guest again, whatever was said in its name */
  const stillHere = () => {
    guest.sendArp({});
    return guest.send(PING);
  };

  test("a frame with octets changed, cut off or added is carried or dropped, and no harm is done", () => {
    fc.assert(
      fc.property(
        anyOf,
        changes,
        fc.nat(400),
        fc.uint8Array({ maxLength: 8 }),
        (octets, at, cut, tail) => {
          let changed = octets;
          for (const [place, value] of at)
            if (place < changed.length) changed = patch(changed, place, value);
          guest.send(join(changed.slice(0, cut), tail));
          expect(stillHere()).toEqual([PONG]);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("a payload with any octets behind a right header is carried or dropped, and no harm is done", () => {
    const protocol = fc.constantFrom(1, 6, 17, 132);
    const dst = fc.constantFrom("8.8.8.8", GATEWAY, "10.0.0.2", "255.255.255.255");
    const place = fc.record({ offset: fc.nat(8191), more: fc.boolean(), ttl: fc.nat(255) });
    fc.assert(
      fc.property(
        protocol,
        dst,
        place,
        fc.uint8Array({ maxLength: 80 }),
        (of, to, where, payload) => {
          const { offset, more, ttl } = where;
          const fields = { src: GUEST, dst: to, protocol: of as Packet["protocol"], payload };
          guest.sendPacket({ ...fields, offset: offset * 8, more, ttl });
          expect(stillHere()).toEqual([PONG]);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("a segment with any numbers, flags and options leaves a connection whole or closed", () => {
    const near = fc.integer({ min: -70_000, max: 70_000 });
    const segments = fc.array(
      fc.record({
        flags: fc.subarray(["F", "S", "R", "P", "."]),
        seq: near,
        ack: near,
        window: fc.nat(65_535),
        options: fc.array(fc.nat(255), { minLength: 0, maxLength: 10 }),
        payload: fc.uint8Array({ maxLength: 60 }),
      }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(segments, fc.integer({ min: 1024, max: 65_535 }), (list, port) => {
        const from = `${GUEST}:${port}`;
        guest.sendPacket(tcp(from, SERVER, { flags: "S", seq: 100_000 }));
        const before = net.streams.last;
        before.owner!.onHostConnected(net.now);
        net.settle();
        guest.sendPacket(tcp(from, SERVER, { flags: ".", seq: 100_001, ack: 1001 }));
        for (const { flags, seq, ack, window, options, payload } of list) {
          const words = new Uint8Array(Math.ceil(options.length / 4) * 4);
          words.set(options);
          guest.sendPacket(
            tcp(from, SERVER, {
              ...{ flags: flags.join(""), window, options: words.toHex(), payload },
              seq: 100_001 + seq,
              ack: (1001 + ack + 2 ** 32) % 2 ** 32,
            }),
          );
          net.pass(1000);
        }
        // whatever happened, both sides are rid of it in the end
        guest.sendPacket(tcp(from, SERVER, { flags: "R", seq: 100_001 }));
        net.network.tcp.closeAll();
        expect(net.streams.sockets.filter(({ state }) => state === "open")).toEqual([]);
        guest.port.take();
        expect(stillHere()).toEqual([PONG]);
      }),
      { numRuns: 300 },
    );
  });
});
