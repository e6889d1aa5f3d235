import { beforeEach, describe, expect, test } from "bun:test";
import { parseIpv4 } from "../../lib/addr/ipv4.ts";
import {
  echo,
  ethernet,
  hex,
  ipv4,
  join,
  pattern,
  payloadOf,
  tcp,
  text,
  udp,
  word16,
  type Packet,
} from "../support/injected-frames.ts";
import {
  ALL,
  DNS,
  GATEWAY,
  GATEWAY_MAC,
  InjectedNetwork,
  type InjectedGuest,
} from "../support/injected-network.ts";

const GUEST = "10.0.0.11";

let net: InjectedNetwork;
let guest: InjectedGuest;
let other: InjectedGuest;

beforeEach(() => {
  net = new InjectedNetwork();
  guest = net.guest();
  other = net.guest();
});

interface Row {
  name: string;
  /** what the first guest sends; what it gets */
  in: (guest: InjectedGuest) => string[];
  out: string[];
  /** what the second guest gets */
  toOther?: string[];
  /** what the host's sockets are asked for */
  host?: string[];
  counts?: Record<string, number>;
}

const rows: Row[] = [
  {
    name: "a request for the gateway's hardware address is seen by all and answered to one",
    in: (from) => from.sendArp({}),
    out: ["arp reply 10.0.0.1 is 5a:94:ef:e4:0c:dd"],
    toOther: ["arp request 10.0.0.1 from 10.0.0.11 52:54:00:00:00:0b"],
  },
  {
    name: "a request for another guest's address is the other guest's to answer",
    in: (from) => from.sendArp({ tpa: "10.0.0.12" }),
    out: [],
    toOther: ["arp request 10.0.0.12 from 10.0.0.11 52:54:00:00:00:0b"],
  },
  {
    name: "a ping to the gateway",
    in: (from) => from.sendPacket(echo(GUEST, GATEWAY, "00070001", text("abc"))),
    out: ['10.0.0.1 > 10.0.0.11 icmp 0/0 00070001 "abc"'],
  },
  {
    name: "a ping to another guest, which the gateway never sees",
    in: (from) =>
      from.sendPacket(echo(GUEST, "10.0.0.12", "00070001", text("abc")), "52:54:00:00:00:0c"),
    out: [],
    toOther: ['10.0.0.11 > 10.0.0.12 icmp 8/0 00070001 "abc"'],
  },
  {
    name: "a packet to another guest by way of the gateway",
    in: (from) => from.sendPacket(echo(GUEST, "10.0.0.12", "00070001", text("abc"))),
    out: [],
    counts: { misdirected: 1 },
  },
  {
    name: "a ping beyond the gateway",
    in: (from) => from.sendPacket(echo(GUEST, "8.8.8.8", "00070001", text("abc"))),
    out: [],
    host: ["echo 8.8.8.8"],
  },
  {
    name: "a datagram beyond the gateway",
    in: (from) => from.sendPacket(udp(`${GUEST}:4000`, "8.8.8.8:53", text("abc"))),
    out: [],
    host: ["udp 8.8.8.8:53"],
  },
  {
    name: "a datagram to a closed port",
    in: (from) => from.sendPacket(udp(`${GUEST}:4000`, `${DNS}:54`, text("abc"))),
    out: ["10.0.0.2 > 10.0.0.11 icmp 3/3 00000000 about 10.0.0.11:4000 > 10.0.0.2:54"],
    counts: { "udp-forbidden": 1 },
  },
  {
    name: "a datagram to all, which stays on the link",
    in: (from) => from.sendPacket(udp(`${GUEST}:4000`, "10.0.0.255:4000", text("abc")), ALL),
    out: [],
    toOther: ['10.0.0.11:4000 > 10.0.0.255:4000 udp "abc"'],
    counts: { "udp-forbidden": 1 },
  },
  {
    name: "mDNS, which stays on the link",
    in: (from) =>
      from.sendPacket(udp(`${GUEST}:5353`, "224.0.0.251:5353", text("abc")), "01:00:5e:00:00:fb"),
    out: [],
    toOther: ['10.0.0.11:5353 > 224.0.0.251:5353 udp "abc"'],
    counts: { "martian-destination": 1 },
  },
  {
    name: "IPv6 between guests, which is none of the gateway's business",
    in: (from) =>
      from.send(
        ethernet(
          "33:33:00:00:00:01",
          from.mac,
          "86dd",
          hex`60000000 0000 3b ff ${"fe80".padEnd(64, "0")}`,
        ),
      ),
    out: [],
    toOther: ["type 86dd"],
    counts: { ethertype: 1 },
  },
  {
    name: "a connection beyond the gateway",
    in: (from) => from.sendPacket(tcp(`${GUEST}:4000`, "8.8.8.8:80", { flags: "S" })),
    out: [],
    host: ["8.8.8.8:80"],
  },
  {
    name: "a connection to the DNS address",
    in: (from) => from.sendPacket(tcp(`${GUEST}:4000`, `${DNS}:53`, { flags: "S" })),
    out: [],
    host: ["dns.sock"],
  },
];

test.each(rows.map((row) => [row.name, row] as const))("%s", (_name, row) => {
  expect(row.in(guest)).toEqual(row.out);
  expect(other.port.lines()).toEqual(row.toOther ?? []);
  const asked = [
    ...net.datagrams.sockets.map(({ name }) => name),
    ...net.streams.sockets.map(({ target }) => target),
  ];
  expect(asked).toEqual(row.host ?? []);
  expect(net.network.counters.values).toEqual(row.counts ?? {});
});

describe("DHCP", () => {
  /** RFC 2131: a client's message with its type and further options */
  const message = (type: string, options: string) => hex`
    01 01 06 00 cafe0001 0000 0000        # BOOTREQUEST, Ethernet, xid
    00000000 00000000 00000000 00000000   # no address known
    525400000063 ${"00".repeat(10)}       # chaddr
    ${"00".repeat(192)}                   # sname, file
    63825363 35 01 ${type} ${options} ff`;
  const from = "52:54:00:00:00:63";
  const broadcast = (octets: Uint8Array) => {
    const packet = ipv4(udp("0.0.0.0:68", "255.255.255.255:67", octets));
    net.inject(guest.port, ethernet(ALL, from, "0800", packet));
    return guest.port.take();
  };

  test("gives a guest an address, with which it then reaches the gateway", () => {
    const [offer, ...more] = broadcast(message("01", ""));
    expect(more).toEqual([]);
    // to the client's hardware address and the address it is about to have (RFC 2131 4.1)
    expect(offer!.slice(0, 14).toHex()).toBe("5254000000635a94efe40cdd0800");
    expect(offer!.slice(26, 38).toHex()).toBe(hex`0a000001 0a00000b 0043 0044`.toHex());
    const offered = payloadOf(offer!).slice(8);
    expect(offered.slice(0, 8).toHex()).toBe("02010600cafe0001");
    expect(offered.slice(16, 20).join(".")).toBe("10.0.0.11");
    expect(offered.slice(236, 243).toHex()).toBe("63825363350102");
    const [ack] = broadcast(message("03", "32040a00000b 36040a000001"));
    const bound = payloadOf(ack!).slice(8);
    expect(bound.slice(16, 20).join(".")).toBe("10.0.0.11");
    expect(bound.slice(236, 243).toHex()).toBe("63825363350105");
    const ping = ipv4(echo("10.0.0.11", GATEWAY, "00070001", text("x")));
    net.inject(guest.port, ethernet(GATEWAY_MAC, from, "0800", ping));
    expect(guest.port.lines()).toEqual(['10.0.0.1 > 10.0.0.11 icmp 0/0 00070001 "x"']);
  });

  test("refuses an address of the gateway to all", () => {
    const [nak] = broadcast(message("03", "32040a000001"));
    expect(nak!.slice(0, 6).toHex()).toBe("ffffffffffff");
    expect(nak!.slice(30, 34).join(".")).toBe("255.255.255.255");
    expect(payloadOf(nak!).slice(8).slice(236, 243).toHex()).toBe("63825363350106");
  });

  test("is the gateway's alone: the host is never asked", () => {
    broadcast(message("01", ""));
    expect(net.datagrams.sockets).toEqual([]);
  });
});

describe("DNS", () => {
  const query = hex`1234 0100 0001 0000 0000 0000 01 61 00 0001 0001`;
  const answer = (octets: Uint8Array) => {
    const [asked] = net.queries;
    const from = parseIpv4(DNS)!;
    net.network.sendService(net.now, from, 53, asked!.from, asked!.port, octets);
  };

  test("a query is handed to the resolver and the answer to the guest", () => {
    expect(guest.sendPacket(udp(`${GUEST}:4000`, `${DNS}:53`, query))).toEqual([]);
    expect(net.queries).toEqual([{ message: query, from: parseIpv4(GUEST)!, port: 4000 }]);
    answer(text("the answer"));
    expect(guest.port.lines()).toEqual(['10.0.0.2:53 > 10.0.0.11:4000 udp "the answer"']);
    expect(other.port.lines()).toEqual([]);
  });

  test("an answer larger than a packet comes in fragments", () => {
    guest.sendPacket(udp(`${GUEST}:4000`, `${DNS}:53`, query));
    answer(pattern(4096));
    expect(guest.port.lines()).toEqual([
      "10.0.0.2 > 10.0.0.11 fragment 0+1480 more",
      "10.0.0.2 > 10.0.0.11 fragment 1480+1480 more",
      "10.0.0.2 > 10.0.0.11 fragment 2960+1144",
    ]);
  });
});

test("a connection is opened, used and closed", () => {
  const send = (flags: string, seq: number, ack: number, said = "") =>
    guest.sendPacket(tcp(`${GUEST}:4000`, "8.8.8.8:80", { flags, seq, ack, payload: text(said) }));
  expect(send("S", 500, 0)).toEqual([]);
  const server = net.streams.last;
  server.owner!.onHostConnected(net.now);
  net.settle();
  const head = "8.8.8.8:80 > 10.0.0.11:4000 tcp";
  expect(guest.port.lines()).toEqual([`${head} S. seq 1000 ack 501 win 32768`]);
  server.toSay = text("hello");
  server.after = "end";
  server.owner!.onHostReadable(net.now);
  expect(send("P.", 501, 1001, "ask")).toEqual([`${head} FP. seq 1001 ack 504 win 32765 "hello"`]);
  expect(server).toMatchObject({ heardText: "ask", heardEnd: false });
  expect(send("F.", 504, 1007)).toEqual([`${head} . seq 1007 ack 505 win 32764`]);
  expect(server).toMatchObject({ heardEnd: true, state: "closed" });
  net.pass(2000);
  expect(net.network.tcp.size).toBe(0);
  expect(net.network.nextDeadline()).toBe(Infinity);
});

describe("two guests", () => {
  test("talk to each other once they know their addresses", () => {
    guest.sendArp({ tpa: other.ip });
    other.port.take();
    other.sendArp({ operation: 2, tha: guest.mac, tpa: guest.ip }, guest.mac);
    expect(guest.port.lines()).toEqual(["arp reply 10.0.0.12 is 52:54:00:00:00:0c"]);
    const packet = tcp(`${GUEST}:4000`, "10.0.0.12:22", { flags: "S", seq: 7 });
    guest.sendPacket(packet, other.mac);
    expect(other.port.lines()).toEqual([
      "10.0.0.11:4000 > 10.0.0.12:22 tcp S seq 7 ack 0 win 65535",
    ]);
    expect(net.streams.sockets).toEqual([]);
  });

  test("have a conversation of their own each with one server", () => {
    for (const each of [guest, other])
      each.sendPacket(udp(`${each.ip}:4000`, "8.8.8.8:53", text("ask")));
    const [first, second] = net.datagrams.sockets;
    second!.arrivals.push({ octets: text("for the second") });
    second!.owner.onHostReadable(net.now);
    expect(guest.port.lines()).toEqual([]);
    expect(other.port.lines()).toEqual(['8.8.8.8:53 > 10.0.0.12:4000 udp "for the second"']);
    expect(first!.sentTexts).toEqual(["ask"]);
  });

  test("one that does not read loses its own frames and none of the other's", () => {
    guest.port.room = 0;
    const ping = (from: InjectedGuest) =>
      from.sendPacket(echo(from.ip, GATEWAY, "00070001", text("x")));
    expect(ping(guest)).toEqual([]);
    expect(ping(other)).toEqual(['10.0.0.1 > 10.0.0.12 icmp 0/0 00070001 "x"']);
    expect([guest.port.dropped, other.port.dropped]).toEqual([1, 0]);
  });
});

describe("fragments at an MTU of 1500", () => {
  const sendInPieces = (packet: Packet) => {
    const { payload } = packet;
    const out: string[] = [];
    for (let offset = 0; offset < payload.length; offset += 1480) {
      const piece = payload.slice(offset, offset + 1480);
      out.push(
        ...guest.sendPacket({
          ...packet,
          payload: piece,
          offset,
          more: offset + 1480 < payload.length,
        }),
      );
    }
    return out;
  };

  test("a large ping comes back as it went", () => {
    expect(sendInPieces(echo(GUEST, GATEWAY, "00070001", pattern(4000)))).toEqual([
      "10.0.0.1 > 10.0.0.11 fragment 0+1480 more",
      "10.0.0.1 > 10.0.0.11 fragment 1480+1480 more",
      "10.0.0.1 > 10.0.0.11 fragment 2960+1048",
    ]);
  });

  test("a large datagram reaches the host whole", () => {
    sendInPieces(udp(`${GUEST}:4000`, "8.8.8.8:53", pattern(9000)));
    expect(net.datagrams.last.sent.map(({ octets }) => octets.toHex())).toEqual([
      pattern(9000).toHex(),
    ]);
  });

  test("a TCP segment in fragments is a segment", () => {
    sendInPieces(tcp(`${GUEST}:4000`, "8.8.8.8:80", { flags: "S", payload: pattern(2000) }));
    expect(net.streams.sockets.map(({ target }) => target)).toEqual(["8.8.8.8:80"]);
  });
});

describe("an MTU of 65520", () => {
  beforeEach(() => {
    net = new InjectedNetwork({ mtu: 65_520 });
    guest = net.guest();
    other = net.guest();
  });

  test("carries a frame of that size from guest to guest", () => {
    const packet = { src: GUEST, dst: other.ip, protocol: 17, payload: pattern(65_500) } as const;
    const frame = ethernet(other.mac, guest.mac, "0800", ipv4(packet));
    expect(frame.length).toBe(65_534);
    guest.send(frame);
    expect(other.port.take().map((each) => each.toHex())).toEqual([frame.toHex()]);
  });

  test("carries no larger frame to another guest, whose QEMU would end its connection over it", () => {
    const send = (length: number) =>
      guest.send(ethernet(other.mac, guest.mac, "88b5", pattern(length - 14)));
    send(65_558);
    expect(net.count("switch-giant")).toBe(1);
    expect(other.port.take()).toEqual([]);
    send(65_557);
    expect(other.port.take().map(({ length }) => length)).toEqual([65_557]);
  });

  test("carries a datagram of that size in one frame there and back", () => {
    const payload = pattern(65_492);
    guest.sendPacket(udp(`${GUEST}:4000`, "8.8.8.8:53", payload));
    const { last } = net.datagrams;
    expect(last.sent.map(({ octets }) => octets.toHex())).toEqual([payload.toHex()]);
    last.arrivals.push({ octets: payload });
    last.owner.onHostReadable(net.now);
    const frames = guest.port.take();
    expect(frames.map(({ length }) => length)).toEqual([65_534]);
    expect(payloadOf(frames[0]!).slice(8).toHex()).toBe(payload.toHex());
  });

  test("answers a ping of that size", () => {
    const lines = guest.sendPacket(echo(GUEST, GATEWAY, "00070001", pattern(65_492)));
    expect(lines).toEqual(["10.0.0.1 > 10.0.0.11 icmp 0/0 00070001 65492 octets"]);
  });

  test("lets TCP use segments of that size in both directions", () => {
    // MSS 65480 (ffc8), window scale 7
    const options = "0204ffc801030307";
    guest.sendPacket(tcp(`${GUEST}:4000`, "8.8.8.8:80", { flags: "S", seq: 500, options }));
    const server = net.streams.last;
    server.owner!.onHostConnected(net.now);
    net.settle();
    const [answer] = guest.port.take();
    expect(payloadOf(answer!).slice(20, 24).toHex()).toBe(`0204${word16(65_480)}`);
    const send = (seq: number, ack: number, payload = text("")) =>
      guest.sendPacket(
        tcp(`${GUEST}:4000`, "8.8.8.8:80", { flags: ".", seq, ack, window: 1000, payload }),
      );
    send(501, 1001);
    // what fits the first window, a ring of 32 KiB
    send(501, 1001, pattern(32_768));
    expect(server.heard.toHex()).toBe(pattern(32_768).toHex());
    server.toSay = pattern(30_000);
    server.owner!.onHostReadable(net.now);
    net.settle();
    const got = guest.port.take().map((frame) => payloadOf(frame).slice(20));
    expect(got.map(({ length }) => length)).toEqual([30_000]);
    expect(join(...got).toHex()).toBe(pattern(30_000).toHex());
  });
});
