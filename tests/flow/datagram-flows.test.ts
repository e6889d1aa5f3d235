import { beforeEach, describe, expect, test } from "bun:test";
import { parseIpv4 } from "../../lib/addr/ipv4.ts";
import { UdpForward } from "../../lib/flow/datagram-flows.ts";
import type { HostFailure } from "../../lib/flow/host-sockets.ts";
import {
  describe as describeFrame,
  echo,
  ethernet,
  hex,
  icmp,
  ipv4,
  join,
  pattern,
  payloadOf,
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

const GUEST = "10.0.0.11";
const SERVER = "8.8.8.8:53";
/** a router on the way */
const ROUTER = parseIpv4("192.0.2.1")!;
const UDP_IDLE_MS = 90_000;
const ECHO_IDLE_MS = 10_000;
/** three quarters of 4096: what one guest may have while it is alone */
const SHARE = 3072;

let net: InjectedNetwork;
let guest: InjectedGuest;

beforeEach(() => {
  net = new InjectedNetwork();
  guest = net.guest();
});

const send = (to = SERVER, payload = text("ask"), port = 4000) =>
  guest.sendPacket(udp(`${GUEST}:${port}`, to, payload));
const ping = (to = "8.8.8.8", rest = "00070001") =>
  guest.sendPacket(echo(GUEST, to, rest, text("x")));
/** octets that come to the socket used last; what the guest gets of them */
function receive(...octets: Uint8Array[]): string[] {
  const socket = net.datagrams.last;
  socket.arrivals.push(...octets.map((each) => ({ octets: each })));
  socket.owner.onHostReadable(net.now);
  return guest.port.lines();
}
/** names of the host's sockets that are open */
const open = () => net.datagrams.openSockets.map(({ name }) => name);

describe("a guest's UDP", () => {
  test.each([
    // RFC 791: each router takes one off the time to live
    [SERVER, "udp 8.8.8.8:53", 63],
    // the gateway's address is an alias of the host itself, which is no hop away
    [`${GATEWAY}:7`, "udp 127.0.0.1:7", 64],
  ])("to %s leaves from a socket connected to %s", (to, name, ttl) => {
    expect(send(to)).toEqual([]);
    expect(open()).toEqual([name]);
    expect(net.datagrams.last.sent).toEqual([{ octets: text("ask"), ttl }]);
    expect(receive(text("answer"))).toEqual([`${to} > 10.0.0.11:4000 udp "answer"`]);
  });

  test.each([
    ["nothing", text("")],
    ["one octet", text("x")],
    ["as much as fits one packet", pattern(1472)],
  ])("carries %s in both directions", (_name, payload) => {
    send(SERVER, payload);
    expect(net.datagrams.last.sent.map(({ octets }) => octets.toHex())).toEqual([payload.toHex()]);
    net.datagrams.last.arrivals.push({ octets: payload });
    net.datagrams.last.owner.onHostReadable(net.now);
    const [frame] = guest.port.take();
    expect(payloadOf(frame!).slice(8).toHex()).toBe(payload.toHex());
  });

  test("uses one socket for one conversation and another for each other", () => {
    send();
    send();
    expect(net.datagrams.last.sentTexts).toEqual(["ask", "ask"]);
    send("8.8.8.8:54");
    send("8.8.4.4:53");
    send(SERVER, text("ask"), 4001);
    expect(open()).toEqual([
      "udp 8.8.8.8:53",
      "udp 8.8.8.8:54",
      "udp 8.8.4.4:53",
      "udp 8.8.8.8:53",
    ]);
    expect(net.network.datagrams.size).toBe(4);
  });

  test("to cloud metadata is prohibited (169.254.0.0/16)", () => {
    expect(send("169.254.169.254:80")).toEqual([
      "10.0.0.1 > 10.0.0.11 icmp 3/13 00000000 about 10.0.0.11:4000 > 169.254.169.254:80",
    ]);
    expect(open()).toEqual([]);
    expect(net.count("link-local-refused")).toBe(1);
  });

  /** what the guest gets once its port takes frames again */
  function drain(): string[] {
    guest.port.busy = false;
    net.network.datagrams.onPortsDrained();
    net.finish();
    return guest.port.lines();
  }

  test("waits in the host's socket while the guest takes nothing, and comes in order then", () => {
    send();
    for (const [one, two] of [
      ["a", "b"],
      ["c", "d"],
    ] as const) {
      guest.port.busy = true;
      expect(receive(text(one))).toEqual([]);
      expect(receive(text(two))).toEqual([]);
      expect(net.datagrams.last.arrivals).toHaveLength(2);
      expect(net.network.hasUnfinished).toBe(false);
      expect(drain()).toEqual([
        `8.8.8.8:53 > 10.0.0.11:4000 udp "${one}"`,
        `8.8.8.8:53 > 10.0.0.11:4000 udp "${two}"`,
      ]);
    }
  });

  test("of many conversations 64 wait, and what is for the others is received as before", () => {
    for (let port = 0; port < 65; port++) send(SERVER, text("ask"), 4000 + port);
    guest.port.busy = true;
    for (const socket of net.datagrams.sockets) {
      socket.arrivals.push({ octets: text("answer") });
      socket.owner.onHostReadable(net.now);
    }
    const waiting = net.datagrams.sockets.filter(({ arrivals }) => arrivals.length > 0);
    expect(waiting).toHaveLength(64);
    expect(drain()).toHaveLength(65);
  });

  test("a conversation that ends while its guest takes nothing is over", () => {
    send();
    guest.port.busy = true;
    receive(text("late"));
    net.pass(UDP_IDLE_MS + 2000);
    expect(open()).toEqual([]);
    expect(drain()).toEqual([]);
  });

  const REFUSED = "8.8.8.8 > 10.0.0.11 icmp 3/3 00000000 about 10.0.0.11:4000 > 8.8.8.8:53";
  const UNREACHABLE = "10.0.0.1 > 10.0.0.11 icmp 3/1 00000000 about 10.0.0.11:4000 > 8.8.8.8:53";
  const failures: [HostFailure, string[]][] = [
    ["refused", [REFUSED]],
    ["unreachable", [UNREACHABLE]],
    ["no-descriptors", []],
    ["failed", []],
  ];

  test.each(failures)("is answered and forgotten when connecting fails: %s", (failure, out) => {
    net.datagrams.failure = failure;
    expect(send()).toEqual(out);
    expect(net.network.datagrams.size).toBe(0);
    expect(net.count("udp-send-failed")).toBe(1);
    net.datagrams.failure = undefined;
    send();
    expect(net.datagrams.last.sentTexts).toEqual(["ask"]);
  });

  test.each<[string, HostFailure[], string[], string[], number]>([
    ["for want of room", ["again"], ["ask"], [], 1],
    ["for want of a way", ["unreachable"], ["ask"], [UNREACHABLE], 1],
    // the error is about an earlier datagram: this one is sent
    ["because of an earlier one", ["refused"], ["ask", "two"], [], 0],
    ["because of an earlier one, and again", ["refused", "refused"], ["ask"], [REFUSED], 1],
  ])("is counted when sending fails %s", (_name, failures_, sent, out, count) => {
    send();
    net.datagrams.last.sendFailures.push(...failures_);
    expect(send(SERVER, text("two"))).toEqual(out);
    expect(net.datagrams.last.sentTexts).toEqual(sent);
    expect(net.count("udp-send-failed")).toBe(count);
    expect(open()).toEqual(["udp 8.8.8.8:53"]);
  });

  test("takes 64 datagrams of a socket in one turn and the rest in the next", () => {
    send();
    const many = Array.from({ length: 65 }, (_, n) => text(`answer ${n}`));
    expect(receive(...many)).toHaveLength(64);
    expect(net.network.hasUnfinished).toBe(true);
    net.finish();
    expect(guest.port.lines()).toEqual(['8.8.8.8:53 > 10.0.0.11:4000 udp "answer 64"']);
  });

  test("crosses a large datagram whole, in fragments on the link", () => {
    const payload = pattern(65507);
    const packet = udp(`${GUEST}:4000`, SERVER, payload);
    for (let offset = 0; offset < packet.payload.length; offset += 1480) {
      const piece = packet.payload.slice(offset, offset + 1480);
      guest.sendPacket({ ...packet, payload: piece, offset, more: offset + 1480 < 65515 });
    }
    expect(net.datagrams.last.sent.map(({ octets }) => octets.toHex())).toEqual([payload.toHex()]);
    net.datagrams.last.arrivals.push({ octets: payload });
    net.datagrams.last.owner.onHostReadable(net.now);
    const frames = guest.port.take();
    expect(frames.every((frame) => frame.length <= 1514)).toBe(true);
    expect(
      join(...frames.map(payloadOf))
        .slice(8)
        .toHex(),
    ).toBe(payload.toHex());
  });
});

describe("datagrams of one turn", () => {
  const OTHER = "8.8.4.4:53";
  interface Sent {
    to?: string;
    length?: number;
    ttl?: number;
    mac?: string;
    packet?: Packet;
  }
  /** in one turn; each payload begins with its number */
  function burst(...each: Sent[]): string[] {
    const frames = each.map(
      ({ to = SERVER, length = 100, ttl = 64, mac = GATEWAY_MAC, packet }, n) => {
        const payload = pattern(length);
        if (length > 0) payload[0] = n;
        const whole = packet ?? { ...udp(`${GUEST}:4000`, to, payload), ttl };
        return ethernet(mac, guest.mac, "0800", ipv4(whole));
      },
    );
    net.inject(guest.port, ...frames);
    return guest.port.lines();
  }
  /** the number and the length of each that a socket has sent */
  const sent = (socket = net.datagrams.last) =>
    socket.sent.map(({ octets }) => `${octets[0] ?? "-"}:${octets.length}`);
  const alike = (n: number, one: Sent = {}) => Array.from({ length: n }, () => one);

  test.each<[string, Sent[], number[]]>([
    ["one alone", alike(1), []],
    ["of one length", alike(5), [5]],
    ["the last of which is shorter", [...alike(3), { length: 7 }], [4]],
    ["with a shorter one between", [...alike(2), { length: 7 }, ...alike(2)], [3, 2]],
    ["with a longer one between", [...alike(2), { length: 101 }, ...alike(3)], [2, 2, 2]],
    ["with an empty one between", [...alike(2), { length: 0 }, ...alike(2)], [2, 2]],
    ["some of which have another time to live", [...alike(2), ...alike(3, { ttl: 9 })], [2, 3]],
    ["more than a train has", alike(130), [64, 64, 2]],
    // RFC 768: 46 times 1400 octets are 64,400, and one more would be more than a packet has
    ["more octets than a packet has", alike(60, { length: 1400 }), [46, 14]],
  ])("%s leave in trains, whole and in order", (_name, each, trains) => {
    expect(burst(...each)).toEqual([]);
    expect(sent()).toEqual(
      each.map(({ length = 100 }, n) => `${length === 0 ? "-" : n}:${length}`),
    );
    expect(net.datagrams.last.sent.map(({ ttl }) => ttl)).toEqual(
      each.map(({ ttl = 64 }) => ttl - 1),
    );
    expect(net.datagrams.trains).toEqual(trains);
  });

  test("to two servers by turns leave one by one", () => {
    burst({}, { to: OTHER }, {}, { to: OTHER }, { to: OTHER });
    const [one, other] = net.datagrams.sockets;
    expect(sent(one)).toEqual(["0:100", "2:100"]);
    expect(sent(other)).toEqual(["1:100", "3:100", "4:100"]);
    expect(net.datagrams.trains).toEqual([2]);
  });

  test("leave one by one where the host takes no trains", () => {
    net.datagrams.takesTrains = false;
    burst(...alike(3));
    expect(sent()).toEqual(["0:100", "1:100", "2:100"]);
    expect(net.datagrams.trains).toEqual([]);
  });

  test("one that the host does not take is told of with what it was, and the others leave", () => {
    send();
    net.datagrams.last.sent.length = 0;
    net.datagrams.last.sendFailures.push("unreachable");
    const [line, ...more] = burst({ length: 50 }, { length: 50 }, { length: 40 });
    expect([line, more]).toEqual([
      "10.0.0.1 > 10.0.0.11 icmp 3/1 00000000 about 10.0.0.11:4000 > 8.8.8.8:53",
      [],
    ]);
    expect(sent()).toEqual(["1:50", "2:40"]);
    expect(net.count("udp-send-failed")).toBe(1);
  });

  test("one that came in a frame to all is told of by nothing (RFC 1122 3.2.2), the next one is", () => {
    const to = `${GATEWAY}:7`;
    burst({ to });
    net.datagrams.last.sendFailures.push("unreachable", "unreachable");
    const lines = burst({ to, mac: ALL }, { to });
    expect(lines).toEqual([
      "10.0.0.1 > 10.0.0.11 icmp 3/1 00000000 about 10.0.0.11:4000 > 10.0.0.1:7",
    ]);
    expect(net.count("udp-send-failed")).toBe(2);
  });

  test("that came in fragments leave at once: the next one takes their place", () => {
    const whole = [1, 2].map((n) => {
      const packet = udp(`${GUEST}:4000`, SERVER, pattern(200).fill(n));
      return [0, 104].map((offset) => ({
        ...packet,
        identification: n,
        payload: packet.payload.slice(offset, offset === 0 ? 104 : undefined),
        offset,
        more: offset === 0,
      }));
    });
    burst(...whole.flat().map((packet) => ({ packet })));
    expect(net.datagrams.last.sent.map(({ octets }) => octets)).toEqual([
      pattern(200).fill(1),
      pattern(200).fill(2),
    ]);
  });
});

describe("an ICMP error of the host's network", () => {
  const quoted = hex`08 00 0000 9999 0005`;
  const fail = (type: number, code: number, info: number, offender: number) => {
    const socket = net.datagrams.last;
    socket.arrivals.push({ error: { type, code, info, offender }, quoted });
    socket.owner.onHostReadable(net.now);
    return guest.port.lines();
  };
  const ABOUT = "about 10.0.0.11:4000 > 8.8.8.8:53";

  test.each([
    ["port unreachable", 3, 3, 0, 0, `8.8.8.8 > 10.0.0.11 icmp 3/3 00000000 ${ABOUT}`],
    ["time exceeded", 11, 0, 0, ROUTER, `192.0.2.1 > 10.0.0.11 icmp 11/0 00000000 ${ABOUT}`],
    // RFC 1191: the next hop's MTU in the low half of the second word
    [
      "fragmentation needed",
      3,
      4,
      1400,
      ROUTER,
      `192.0.2.1 > 10.0.0.11 icmp 3/4 00000578 ${ABOUT}`,
    ],
  ])("comes back to the guest: %s", (_name, type, code, info, offender, line) => {
    send();
    expect(fail(type, code, info, offender)).toEqual([line]);
    expect(open()).toEqual(["udp 8.8.8.8:53"]);
  });

  test("quotes the length of the guest's datagram", () => {
    send(SERVER, pattern(100));
    net.datagrams.last.arrivals.push({ error: { type: 3, code: 3 }, quoted });
    net.datagrams.last.owner.onHostReadable(net.now);
    const quote = payloadOf(guest.port.take()[0]!).slice(8);
    // RFC 792: IP header and eight octets; 20 + 8 + 100 is 0x80, 8 + 100 is 0x6c
    expect(quote.length).toBe(28);
    expect(quote.slice(2, 4).toHex()).toBe("0080");
    expect(quote.slice(20).toHex()).toBe("0fa00035006c0000");
  });

  test("names the alias the guest talked to, not the host behind it", () => {
    send(`${GATEWAY}:7`);
    expect(fail(3, 3, 0, parseIpv4("127.0.0.1")!)).toEqual([
      "10.0.0.1 > 10.0.0.11 icmp 3/3 00000000 about 10.0.0.11:4000 > 10.0.0.1:7",
    ]);
  });

  test("about an echo request names the guest's identifier and the request it is about", () => {
    ping("8.8.8.8", "00070005");
    ping("8.8.8.8", "00070006");
    expect(fail(11, 0, 0, ROUTER)).toEqual([
      "192.0.2.1 > 10.0.0.11 icmp 11/0 00000000 about 10.0.0.11 > 8.8.8.8 icmp 8 00070005",
    ]);
  });
});

describe("a guest's echo", () => {
  test("leaves from a socket of its own and comes back with the guest's identifier", () => {
    expect(ping()).toEqual([]);
    expect(open()).toEqual(["echo 8.8.8.8"]);
    expect(
      net.datagrams.last.sent.map(({ octets, ttl }) => [octets.slice(4).toHex(), ttl]),
    ).toEqual([["0007000178", 63]]);
    // the kernel sends and receives with an identifier of its own choice
    const reply = icmp("8.8.8.8", GUEST, 0, 0, "99990001", text("x")).payload;
    net.datagrams.last.arrivals.push({ octets: reply, ttl: 57 });
    net.datagrams.last.owner.onHostReadable(net.now);
    const [frame] = guest.port.take();
    expect(frame![22]).toBe(57);
    expect(describeFrame(frame!)).toBe('8.8.8.8 > 10.0.0.11 icmp 0/0 00070001 "x"');
  });

  test("uses one socket for one identifier and destination", () => {
    ping("8.8.8.8", "00070001");
    ping("8.8.8.8", "00070002");
    ping("8.8.8.8", "00080001");
    ping("8.8.4.4", "00070001");
    expect(open()).toEqual(["echo 8.8.8.8", "echo 8.8.8.8", "echo 8.8.4.4"]);
  });

  test.each([
    ["another message", icmp("8.8.8.8", GUEST, 13, 0, "99990001", text("x")).payload],
    ["too few octets", hex`00 00 0000 0007`],
  ])("gets no reply from %s", (_name, octets) => {
    ping();
    expect(receive(octets)).toEqual([]);
  });

  test("is counted, and the owner told once, where the host allows no ping", () => {
    net.datagrams.failure = "failed";
    expect([...ping(), ...ping()]).toEqual([]);
    expect(net.count("echo-not-permitted")).toBe(2);
    expect(net.echoRefusals).toBe(1);
    expect(net.network.datagrams.size).toBe(0);
  });

  test("is told that there is no way", () => {
    net.datagrams.failure = "unreachable";
    expect(ping()).toEqual([
      "10.0.0.1 > 10.0.0.11 icmp 3/1 00000000 about 10.0.0.11 > 8.8.8.8 icmp 8 00070001",
    ]);
  });

  test("to cloud metadata goes nowhere (169.254.0.0/16)", () => {
    expect(ping("169.254.169.254")).toEqual([]);
    expect(open()).toEqual([]);
    expect(net.count("link-local-refused")).toBe(1);
  });
});

describe("a conversation that is idle", () => {
  test.each([
    ["UDP", send, UDP_IDLE_MS],
    ["echo", ping, ECHO_IDLE_MS],
  ] as const)("is closed after its time: %s", (_name, start, idle) => {
    start();
    net.pass(idle);
    expect(open()).toHaveLength(1);
    // looked for once a second
    net.pass(1001);
    expect(open()).toEqual([]);
    expect(net.network.datagrams.size).toBe(0);
    expect(net.network.nextDeadline()).toBe(Infinity);
  });

  test.each([
    ["the guest", () => void send()],
    ["the host", () => void receive(text("news"))],
  ])("stays open from when %s spoke last", (_name, speak) => {
    send();
    net.pass(UDP_IDLE_MS - 1000);
    speak();
    net.pass(UDP_IDLE_MS);
    expect(open()).toHaveLength(1);
    net.pass(2000);
    expect(open()).toEqual([]);
  });

  test("begins anew when the guest speaks again", () => {
    send();
    net.pass(UDP_IDLE_MS + 2000);
    send();
    expect(net.datagrams.sockets).toHaveLength(2);
    expect(receive(text("answer"))).toEqual(['8.8.8.8:53 > 10.0.0.11:4000 udp "answer"']);
  });
});

test("a guest's longest idle conversation makes room when it has its share", () => {
  for (let n = 0; n < SHARE; n++) {
    net.now++;
    send(SERVER, text("ask"), 10_000 + n);
  }
  expect(net.datagrams.openSockets).toHaveLength(SHARE);
  net.now++;
  send(SERVER, text("again"), 10_000);
  expect(net.count("udp-table-full")).toBe(0);
  send(SERVER, text("one more"), 9999);
  expect(net.count("udp-table-full")).toBe(1);
  expect(net.network.datagrams.size).toBe(SHARE);
  expect(net.datagrams.sockets.findIndex((socket) => !socket.open)).toBe(1);
  // UDP that is full leaves echo its own
  ping();
  expect(net.count("udp-table-full")).toBe(1);
});

test("a guest's conversations that were all used within a second make no room", () => {
  for (let n = 0; n < SHARE; n++) send(SERVER, text("ask"), 10_000 + n);
  net.now += 999;
  expect(send(SERVER, text("one more"), 9999)).toEqual([]);
  expect(net.datagrams.openSockets).toHaveLength(SHARE);
  expect(net.datagrams.sockets).toHaveLength(SHARE);
  net.now++;
  send(SERVER, text("one more"), 9999);
  expect(net.datagrams.last.sentTexts).toEqual(["one more"]);
  expect(net.count("udp-table-full")).toBe(2);
});

test("closeAll() closes every socket", () => {
  send();
  ping();
  net.network.datagrams.closeAll();
  expect(open()).toEqual([]);
  expect(net.network.datagrams.size).toBe(0);
});

describe("a UDP forward", () => {
  const [ONE, TWO] = [text("client 1"), text("client 2")];
  let forward: UdpForward;

  beforeEach(() => {
    let next = 0;
    net.random = () => next++;
    forward = net.network.datagrams.openForward("127.0.0.1", 5300, parseIpv4(GUEST)!, 53);
  });

  const arrive = (peer: Uint8Array, octets = text("ask")) => {
    net.datagrams.sockets[0]!.arrivals.push({ octets, peer });
    forward.onHostReadable(net.now);
    return guest.port.lines();
  };
  const answer = (port: number, what: string) =>
    guest.sendPacket(udp(`${GUEST}:53`, `${GATEWAY}:${port}`, text(what)));

  test("leads each client to the guest through a port of the gateway and back", () => {
    expect(open()).toEqual(["bound 127.0.0.1:5300"]);
    expect(forward.port).toBe(5300);
    expect(arrive(ONE)).toEqual(['10.0.0.1:49152 > 10.0.0.11:53 udp "ask"']);
    expect(arrive(TWO)).toEqual(['10.0.0.1:49153 > 10.0.0.11:53 udp "ask"']);
    expect(arrive(ONE)).toEqual(['10.0.0.1:49152 > 10.0.0.11:53 udp "ask"']);
    answer(49153, "for two");
    answer(49152, "for one");
    expect(net.datagrams.sockets[0]!.sent).toEqual([
      { octets: text("for two"), peer: TWO },
      { octets: text("for one"), peer: ONE },
    ]);
  });

  test("tries another port when one is taken", () => {
    arrive(ONE);
    net.random = () => numbers.shift()!;
    const numbers = [0, 0, 77];
    expect(arrive(TWO)).toEqual(['10.0.0.1:49229 > 10.0.0.11:53 udp "ask"']);
  });

  test("crosses a datagram larger than the link's packets", () => {
    expect(arrive(ONE, pattern(3000))).toEqual([
      "10.0.0.1 > 10.0.0.11 fragment 0+1480 more",
      "10.0.0.1 > 10.0.0.11 fragment 1480+1480 more",
      "10.0.0.1 > 10.0.0.11 fragment 2960+48",
    ]);
  });

  test("forgets a client that is idle and stays open", () => {
    arrive(ONE);
    net.pass(UDP_IDLE_MS + 2000);
    expect(open()).toEqual(["bound 127.0.0.1:5300"]);
    expect(forward.clients.size).toBe(0);
    expect(arrive(ONE)).toEqual(['10.0.0.1:49153 > 10.0.0.11:53 udp "ask"']);
  });

  test("takes 64 datagrams in one turn and the rest in the next", () => {
    const many = Array.from({ length: 65 }, () => ({ octets: text("ask"), peer: ONE }));
    net.datagrams.sockets[0]!.arrivals.push(...many);
    forward.onHostReadable(net.now);
    expect(guest.port.take()).toHaveLength(64);
    net.finish();
    expect(guest.port.take()).toHaveLength(1);
  });

  test("waits while its guest takes nothing, and no longer than the guest's port is there", () => {
    guest.port.busy = true;
    expect(arrive(ONE)).toEqual([]);
    expect(arrive(TWO)).toEqual([]);
    expect(net.datagrams.sockets[0]!.arrivals).toHaveLength(2);
    net.network.detach(guest.port);
    net.finish();
    expect(net.datagrams.sockets[0]!.arrivals).toHaveLength(0);
    net.network.link.attach(guest.port);
    guest.port.busy = false;
    guest.sendArp({});
    expect(arrive(ONE)).toEqual(['10.0.0.1:49152 > 10.0.0.11:53 udp "ask"']);
  });

  test("goes on when its socket tells of an error", () => {
    net.datagrams.sockets[0]!.arrivals.push({ error: { type: 3, code: 3 }, quoted: text("") });
    expect(arrive(ONE)).toEqual(['10.0.0.1:49152 > 10.0.0.11:53 udp "ask"']);
  });

  test("closeForward() closes it with its conversations", () => {
    arrive(ONE);
    net.network.datagrams.closeForward(forward);
    expect(open()).toEqual([]);
    expect(net.network.datagrams.size).toBe(0);
  });

  test("openForward() says why it cannot be", () => {
    net.datagrams.failure = "failed";
    const forwardTo = () =>
      net.network.datagrams.openForward("127.0.0.1", 5300, parseIpv4(GUEST)!, 53);
    expect(forwardTo).toThrow("failed");
    expect(net.network.datagrams.size).toBe(0);
  });
});
