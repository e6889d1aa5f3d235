import { beforeEach, describe, expect, test } from "bun:test";
import { parseIpv4 } from "../../lib/addr/ipv4.ts";
import { PROTOCOL_UDP } from "../../lib/wire/ipv4.ts";
import {
  arp,
  echo,
  ethernet,
  hex,
  icmp,
  ipv4,
  join,
  patch,
  pattern,
  payloadOf,
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

/** 10.0.0.11, 52:54:00:00:00:0b */
const GUEST = "10.0.0.11";
const OUTSIDE = "8.8.8.8";

let net: InjectedNetwork;
let guest: InjectedGuest;

beforeEach(() => {
  net = new InjectedNetwork();
  guest = net.guest();
});

/** counts of what has happened, apart from what the set-up caused */
const counts = () => net.network.counters.values;

describe("ARP", () => {
  test("onFrame() answers a request octet by octet as RFC 826 has it", () => {
    net.inject(
      guest.port,
      ethernet(
        ALL,
        guest.mac,
        "0806",
        arp({ operation: 1, sha: guest.mac, spa: GUEST, tpa: GATEWAY }),
      ),
    );
    expect(guest.port.take().map((frame) => frame.toHex())).toEqual([
      hex`
        52540000000b 5a94efe40cdd 0806  # to the guest, from the gateway
        0001 0800 06 04 0002            # Ethernet, IPv4, reply
        5a94efe40cdd 0a000001           # the gateway
        52540000000b 0a00000b           # the guest`.toHex(),
    ]);
  });

  test.each([
    ["the gateway", {}, ["arp reply 10.0.0.1 is 5a:94:ef:e4:0c:dd"]],
    ["the DNS address", { tpa: "10.0.0.2" }, ["arp reply 10.0.0.2 is 5a:94:ef:e4:0c:dd"]],
    // RFC 5227: a host that wants the gateway's address must learn that it is taken
    ["the gateway, as a probe", { spa: "0.0.0.0" }, ["arp reply 10.0.0.1 is 5a:94:ef:e4:0c:dd"]],
    ["itself", { tpa: GUEST }, []],
    ["another guest", { tpa: "10.0.0.12" }, []],
    ["an address outside", { tpa: OUTSIDE }, []],
  ])("onFrame() answers a request for %s", (_name, fields, out) => {
    expect(guest.sendArp(fields)).toEqual(out);
  });

  test("onFrame() does not answer a reply", () => {
    expect(guest.sendArp({ operation: 2 })).toEqual([]);
  });

  test.each([
    ["a request", { operation: 1 }],
    ["a reply", { operation: 2 }],
    ["an announcement", { operation: 1, tpa: "10.0.0.12" }],
  ] as const)("onFrame() learns who the sender is from %s", (_name, fields) => {
    const other = net.guest(false);
    other.sendArp(fields);
    expect(net.network.gateway.portOf(parseIpv4("10.0.0.12")!)).toBe(other.port);
  });

  test.each([
    ["the gateway's address", GATEWAY],
    ["the DNS address", "10.0.0.2"],
    ["the network's address", "10.0.0.0"],
    ["the broadcast address", "10.0.0.255"],
    ["an address outside", OUTSIDE],
  ])("onFrame() does not learn %s from a guest that claims it", (_name, spa) => {
    guest.sendArp({ spa });
    expect(net.network.gateway.portOf(parseIpv4(spa)!)).toBeUndefined();
  });

  test("onFrame() follows an address that another guest takes over when its own says nothing", () => {
    const other = net.guest();
    for (let n = 0; n < 4; n++) {
      other.sendArp({ spa: GUEST });
      net.pass(500);
    }
    expect(net.network.gateway.portOf(parseIpv4(GUEST)!)).toBe(other.port);
  });
});

describe("a neighbour that is not known", () => {
  const send = (address: string) => {
    const { gateway } = net.network;
    const at = gateway.open(8);
    gateway.sendDatagram(net.now, gateway.plan.address, parseIpv4(address)!, 253, at, 8, 64);
    return guest.port.lines();
  };
  const ASKED = ["arp request 10.0.0.50 from 10.0.0.1 5a:94:ef:e4:0c:dd"];

  test("sendDatagram() drops, counts and asks all guests", () => {
    expect(send("10.0.0.50")).toEqual(ASKED);
    expect(counts()).toEqual({ "no-neighbor": 1 });
  });

  test("sendDatagram() asks again only after half a second", () => {
    expect(send("10.0.0.50")).toEqual(ASKED);
    net.now += 499;
    expect(send("10.0.0.50")).toEqual([]);
    net.now += 1;
    expect(send("10.0.0.50")).toEqual(ASKED);
  });

  test("sendDatagram() asks for each address by itself", () => {
    send("10.0.0.50");
    expect(send("10.0.0.51")).toEqual(["arp request 10.0.0.51 from 10.0.0.1 5a:94:ef:e4:0c:dd"]);
  });

  test.each([OUTSIDE, GATEWAY, "0.0.0.0"])("sendDatagram() does not ask for %s", (address) => {
    expect(send(address)).toEqual([]);
    expect(counts()).toEqual({ "no-neighbor": 1 });
  });

  test("onFrame() learns it from the packets it sends", () => {
    const other = net.guest(false);
    other.sendPacket(echo(other.ip, GATEWAY, "00010001", text("")));
    expect(net.network.gateway.portOf(parseIpv4(other.ip)!)).toBe(other.port);
  });
});

describe("echo", () => {
  test.each([
    [GATEWAY, text("abc"), ['10.0.0.1 > 10.0.0.11 icmp 0/0 00070001 "abc"']],
    ["10.0.0.2", text("abc"), ['10.0.0.2 > 10.0.0.11 icmp 0/0 00070001 "abc"']],
    [GATEWAY, text(""), ["10.0.0.1 > 10.0.0.11 icmp 0/0 00070001"]],
    [GATEWAY, pattern(1472), ["10.0.0.1 > 10.0.0.11 icmp 0/0 00070001 1472 octets"]],
    // RFC 1122 3.2.2.6 lets a broadcast go unanswered
    ["10.0.0.255", text("abc"), []],
    ["255.255.255.255", text("abc"), []],
  ])("onFrame() answers an echo request to %s", (dst, body, out) => {
    expect(guest.sendPacket(echo(GUEST, dst, "00070001", body))).toEqual(out);
  });

  test("onFrame() gives back the octets of the request", () => {
    const request = echo(GUEST, GATEWAY, "00070001", pattern(1000));
    net.inject(guest.port, ethernet(GATEWAY_MAC, guest.mac, "0800", ipv4(request)));
    expect(payloadOf(guest.port.take()[0]!).slice(8).toHex()).toBe(pattern(1000).toHex());
  });

  test("onFrame() answers with a TTL of its own", () => {
    net.inject(
      guest.port,
      ethernet(
        GATEWAY_MAC,
        guest.mac,
        "0800",
        ipv4({ ...echo(GUEST, GATEWAY, "00070001", text("")), ttl: 1 }),
      ),
    );
    expect(guest.port.take()[0]![22]).toBe(64);
  });

  test.each([0, 3, 4, 5, 11, 12, 13, 17, 255])("onFrame() is silent on ICMP type %i", (type) => {
    expect(guest.sendPacket(icmp(GUEST, GATEWAY, type, 0, "00000000", pattern(28)))).toEqual([]);
  });

  test("onFrame() reads no further than the packet when the frame is padded", () => {
    const packet = ipv4(echo(GUEST, GATEWAY, "00070001", text("a")));
    const frame = ethernet(GATEWAY_MAC, guest.mac, "0800", hex`${packet} ffffffff`);
    expect(guest.send(frame)).toEqual(['10.0.0.1 > 10.0.0.11 icmp 0/0 00070001 "a"']);
  });
});

const toClosedPort = udp(`${GUEST}:4000`, "10.0.0.2:9", text("x"));
const sctp: Packet = { src: GUEST, dst: OUTSIDE, protocol: 132, payload: text("01234567") };

describe("errors", () => {
  test.each([
    [
      "port unreachable about UDP to a port of the gateway that is closed",
      toClosedPort,
      "10.0.0.2 > 10.0.0.11 icmp 3/3 00000000 about 10.0.0.11:4000 > 10.0.0.2:9",
    ],
    [
      "protocol unreachable about what is none of TCP, UDP and ICMP",
      sctp,
      // the ports are the first four octets of the payload
      "10.0.0.1 > 10.0.0.11 icmp 3/2 00000000 about 10.0.0.11:12337 > 8.8.8.8:12851",
    ],
    [
      "time exceeded about UDP",
      { ...udp(`${GUEST}:4000`, `${OUTSIDE}:53`, text("x")), ttl: 1 },
      "10.0.0.1 > 10.0.0.11 icmp 11/0 00000000 about 10.0.0.11:4000 > 8.8.8.8:53",
    ],
    [
      "time exceeded about TCP with no hop left at all",
      { ...tcp(`${GUEST}:4000`, `${OUTSIDE}:80`, { flags: "S" }), ttl: 0 },
      "10.0.0.1 > 10.0.0.11 icmp 11/0 00000000 about 10.0.0.11:4000 > 8.8.8.8:80",
    ],
    [
      "time exceeded about an echo request",
      { ...echo(GUEST, OUTSIDE, "00070001", text("x")), ttl: 1 },
      "10.0.0.1 > 10.0.0.11 icmp 11/0 00000000 about 10.0.0.11 > 8.8.8.8 icmp 8 00070001",
    ],
  ])("onFrame() makes %s", (_name, packet, out) => {
    expect(guest.sendPacket(packet)).toEqual([out]);
    expect(net.datagrams.sockets).toEqual([]);
    expect(net.streams.sockets).toEqual([]);
  });

  test("an error quotes the packet as it was, up to 576 octets in all", () => {
    const packet = { ...udp(`${GUEST}:4000`, "10.0.0.2:9", pattern(1400)), options: "01010101" };
    net.inject(guest.port, ethernet(GATEWAY_MAC, guest.mac, "0800", ipv4(packet)));
    const [frame] = guest.port.take();
    // RFC 1812 4.3.2.3
    expect(frame!.length).toBe(14 + 576);
    expect(payloadOf(frame!).slice(8)).toEqual(ipv4(packet).slice(0, 548));
  });

  const errorAboutUdp = ipv4(udp(`${OUTSIDE}:53`, `${GUEST}:4000`, text("x")));

  // RFC 1122 3.2.2
  test.each<[string, Packet, string?]>([
    ["an error", { ...icmp(GUEST, OUTSIDE, 3, 3, "00000000", errorAboutUdp), ttl: 1 }],
    ["another error", { ...icmp(GUEST, OUTSIDE, 11, 0, "00000000", errorAboutUdp), ttl: 1 }],
    ["an echo reply", { ...icmp(GUEST, OUTSIDE, 0, 0, "00070001", text("x")), ttl: 1 }],
    ["a broadcast", udp(`${GUEST}:4000`, "255.255.255.255:9", text("x")), ALL],
    ["a broadcast to the subnet", udp(`${GUEST}:4000`, "10.0.0.255:9", text("x")), ALL],
    ["a broadcast of a strange protocol", { ...sctp, dst: "10.0.0.255" }, ALL],
    ["a multicast", udp(`${GUEST}:4000`, "224.0.0.251:5353", text("x")), "01:00:5e:00:00:fb"],
    ["a strange protocol to a multicast", { ...sctp, dst: "224.0.0.5" }, "01:00:5e:00:00:05"],
    ["a frame to all with an address of one", toClosedPort, ALL],
    ["a frame to a group with an address of one", toClosedPort, "01:00:5e:00:00:02"],
    ["a later fragment", { ...sctp, offset: 8, more: true, ttl: 1 }],
    ["a later fragment that is the last", { ...sctp, offset: 8, ttl: 1 }],
    ["a first fragment that waits for others", { ...sctp, more: true, ttl: 1 }],
    ["a sender that has no address", { ...udp("0.0.0.0:68", "10.0.0.2:9", text("x")) }],
  ])("onFrame() makes no error about %s", (_name, packet, to = GATEWAY_MAC) => {
    expect(guest.sendPacket(packet, to)).toEqual([]);
  });

  test("an error about a datagram in fragments comes when it is whole", () => {
    const long = udp(`${GUEST}:4000`, "10.0.0.2:9", pattern(40));
    expect(guest.sendPacket({ ...long, payload: long.payload.slice(0, 24), more: true })).toEqual(
      [],
    );
    expect(guest.sendPacket({ ...long, payload: long.payload.slice(24), offset: 24 })).toEqual([
      "10.0.0.2 > 10.0.0.11 icmp 3/3 00000000 about 10.0.0.11:4000 > 10.0.0.2:9",
    ]);
  });

  test("no more than 1000 errors are made in a second", () => {
    const errors = () => {
      let made = 0;
      for (let n = 0; n < 1100; n++) made += guest.sendPacket(toClosedPort).length;
      return made;
    };
    expect(errors()).toBe(1000);
    net.now += 1000;
    expect(errors()).toBe(1000);
  });
});

describe("addresses that cannot be", () => {
  test.each([
    ["martian-source", "outside the subnet", { src: "192.0.2.1" }],
    ["guard-gateway-address", "of the gateway", { src: GATEWAY }],
    ["guard-gateway-address", "of DNS", { src: "10.0.0.2" }],
    ["guard-gateway-address", "of the network", { src: "10.0.0.0" }],
    ["guard-gateway-address", "of all in the subnet", { src: "10.0.0.255" }],
    ["martian-source", "of a group", { src: "224.0.0.1" }],
    ["martian-source", "of loopback", { src: "127.0.0.1" }],
    ["martian-destination", "of loopback", { dst: "127.0.0.1" }],
    ["martian-destination", "of loopback, elsewhere in it", { dst: "127.8.9.1" }],
    ["martian-destination", "of network 0", { dst: "0.0.0.1" }],
    ["martian-destination", "of class E", { dst: "240.0.0.1" }],
    ["martian-destination", "of a group", { dst: "224.0.0.251" }],
    ["martian-destination", "outside from a guest that has none", { src: "0.0.0.0" }],
    ["misdirected", "of another guest", { dst: "10.0.0.12" }],
    ["misdirected", "of the network itself", { dst: "10.0.0.0" }],
  ])("onFrame() counts %s for one %s", (reason, _name, fields) => {
    expect(
      guest.sendPacket({ ...udp(`${GUEST}:1`, `${OUTSIDE}:1`, text("x")), ...fields }),
    ).toEqual([]);
    expect(counts()).toEqual({ [reason]: 1 });
    expect(net.datagrams.sockets).toEqual([]);
  });

  // RFC 1812 5.3.4: what came as a link-layer broadcast is not forwarded
  test.each([ALL, "01:00:5e:00:00:02"])("onFrame() forwards no packet in a frame to %s", (to) => {
    expect(guest.sendPacket(udp(`${GUEST}:1`, `${OUTSIDE}:1`, text("x")), to)).toEqual([]);
    expect(counts()).toEqual({ misdirected: 1 });
    expect(net.datagrams.sockets).toEqual([]);
  });
});

describe("checksums", () => {
  const packets: [string, Packet, number][] = [
    ["ipv4-checksum", udp(`${GUEST}:1`, `${OUTSIDE}:1`, text("x")), 14 + 8],
    ["udp-checksum", udp(`${GUEST}:1`, `${OUTSIDE}:1`, text("x")), 14 + 20 + 8],
    ["tcp-checksum", tcp(`${GUEST}:1`, `${OUTSIDE}:1`, { flags: "S" }), 14 + 20 + 7],
    ["icmp-checksum", echo(GUEST, GATEWAY, "00070001", text("x")), 14 + 20 + 8],
  ];
  test.each(packets)("onFrame() drops and counts %s", (reason, packet, at) => {
    const frame = ethernet(GATEWAY_MAC, guest.mac, "0800", ipv4(packet));
    expect(guest.send(patch(frame, at, frame[at]! ^ 0x10))).toEqual([]);
    expect(counts()).toEqual({ [reason]: 1 });
    expect([net.datagrams.sockets, net.streams.sockets]).toEqual([[], []]);
  });
});

describe("sendDatagram()", () => {
  /** the frames of a datagram of so many octets */
  const send = (mtu: number, length: number) => {
    net = new InjectedNetwork({ mtu });
    guest = net.guest();
    const { gateway } = net.network;
    const at = gateway.open(length);
    net.octets.set(pattern(length), at);
    gateway.sendDatagram(
      net.now,
      parseIpv4(OUTSIDE)!,
      parseIpv4(GUEST)!,
      PROTOCOL_UDP,
      at,
      length,
      33,
    );
  };

  test.each([
    [1500, 1481, ["0+1480 more", "1480+1"]],
    [1500, 2960, ["0+1480 more", "1480+1480"]],
    // (1006 - 20) is no multiple of 8
    [1006, 2000, ["0+984 more", "984+984 more", "1968+32"]],
    [576, 557, ["0+552 more", "552+5"]],
  ])("cuts for an MTU of %i what has %i octets", (mtu, length, fragments) => {
    send(mtu, length);
    const out = guest.port.lines();
    expect(out).toEqual(fragments.map((fragment) => `8.8.8.8 > 10.0.0.11 fragment ${fragment}`));
  });

  test.each([
    [1500, 1480],
    [65520, 65500],
  ])("sends in one piece for an MTU of %i what has %i octets", (mtu, length) => {
    send(mtu, length);
    const frames = guest.port.take();
    expect(frames.map(payloadOf)).toEqual([pattern(length)]);
    expect(frames[0]!.length).toBe(14 + mtu);
  });

  test("gives all fragments one identification and the octets they are about", () => {
    send(1500, 65515);
    const frames = guest.port.take();
    expect(frames.length).toBe(45);
    expect(new Set(frames.map((frame) => frame.slice(18, 20).toHex())).size).toBe(1);
    expect(join(...frames.map(payloadOf)).toHex()).toBe(pattern(65515).toHex());
    expect(new Set(frames.map((frame) => frame[22]))).toEqual(new Set([33]));
  });

  test("gives fragments a DF that is clear when a packet before them had it set", () => {
    send(1500, 1481);
    expect(guest.port.take().map((frame) => frame.slice(20, 22).toHex())).toEqual(["2000", "00b9"]);
  });

  test("gives the next datagram another identification", () => {
    const { gateway } = net.network;
    for (let n = 0; n < 2; n++)
      gateway.sendDatagram(
        net.now,
        gateway.plan.address,
        parseIpv4(GUEST)!,
        253,
        gateway.open(8),
        8,
        64,
      );
    const [first, second] = guest.port.take().map((frame) => frame.slice(18, 20).toHex());
    expect(first).not.toBe(second);
  });
});

test("sendDatagramTo() sends a header of its own, whatever was sent before", () => {
  const { gateway } = net.network;
  const to = parseIpv4(GUEST)!;
  gateway.sendPacket(net.now, gateway.plan.address, to, 253, gateway.open(8), 8, 0, 0, 0, 0);
  gateway.sendDatagram(net.now, gateway.plan.address, to, 253, gateway.open(8), 8, 33);
  gateway.sendDatagramTo(0x5254000000_0b, gateway.plan.address, to, 253, gateway.open(8), 8);
  const [, , frame] = guest.port.take();
  // flags, fragment offset, TTL, protocol
  expect(frame!.slice(20, 24).toHex()).toBe("000040fd");
});

test("sendPacket() forbids fragmentation, sendDatagram() does not", () => {
  const { gateway } = net.network;
  const to = parseIpv4(GUEST)!;
  gateway.sendPacket(net.now, gateway.plan.address, to, 253, gateway.open(8), 8, 0, 0, 0, 0);
  gateway.sendDatagram(net.now, gateway.plan.address, to, 253, gateway.open(8), 8, 64);
  const flags = guest.port.take().map((frame) => frame.slice(20, 22).toHex());
  // RFC 791: bit 14 is "don't fragment"
  expect(flags).toEqual(["4000", "0000"]);
});

test.each([
  ["255.255.255.255", ALL],
  ["10.0.0.255", ALL],
  [GUEST, "52:54:00:00:00:0b"],
])("sendDatagram() sends what is for %s to %s", (dst, mac) => {
  const { gateway } = net.network;
  gateway.sendDatagram(net.now, gateway.plan.address, parseIpv4(dst)!, 253, gateway.open(8), 8, 64);
  expect(guest.port.take().map((frame) => frame.slice(0, 6).toHex())).toEqual([
    mac.replaceAll(":", ""),
  ]);
});

test.each([
  ["IPv6", "86dd", hex`60000000 0000 3b ff ${"00".repeat(32)}`],
  ["a VLAN tag", "8100", pattern(40)],
  ["a length", "0026", pattern(40)],
])("onFrame() drops and counts a frame of %s", (_name, type, payload) => {
  expect(guest.send(ethernet(GATEWAY_MAC, guest.mac, type, payload))).toEqual([]);
  expect(counts()).toEqual({ ethertype: 1 });
});
