import { beforeEach, describe, expect, test } from "bun:test";
import { parseIpv4 } from "../../lib/addr/ipv4.ts";
import type { HostFailure } from "../../lib/flow/host-sockets.ts";
import {
  ethernet,
  ipv4,
  join,
  patch,
  pattern,
  payloadOf,
  tcp,
  text,
  udp,
  type Segment,
} from "../support/injected-frames.ts";
import { GATEWAY_MAC, InjectedNetwork, type InjectedGuest } from "../support/injected-network.ts";

/**
 * The guest's numbers start at 500, the network's at 1000; without options in the guest's SYN a segment carries 536
 * octets (RFC 9293 3.7.1) and windows are not scaled. A new connection has rings of 32768 octets.
 */
const GUEST = "10.0.0.11:4000";
const SERVER = "8.8.8.8:80";
const TO_GUEST = `${SERVER} > ${GUEST} tcp`;
const RING = 32_768;
const MSS = 536;
/** Ethernet, IPv4, TCP without options */
const HEADERS = 54;
/** three quarters of 16384: what one guest may have while it is alone */
const SHARE = 12_288;

let net: InjectedNetwork;
let guest: InjectedGuest;

beforeEach(() => {
  net = new InjectedNetwork();
  guest = net.guest();
});

const send = (segment: Segment, to = SERVER, from = GUEST) =>
  guest.sendPacket(tcp(from, to, segment));
const syn = (to = SERVER, from = GUEST) => send({ flags: "S", seq: 500 }, to, from);
const host = () => net.streams.last;
/** lets the host's side act; what the guest gets of it */
function act(what: () => void): string[] {
  what();
  net.settle();
  return guest.port.lines();
}
const hostConnected = () => act(() => host().owner!.onHostConnected(net.now));
const say = (octets: Uint8Array) =>
  act(() => {
    host().toSay = join(host().toSay, octets);
    host().owner!.onHostReadable(net.now);
  });
const finish = (after: "end" | HostFailure) =>
  act(() => {
    host().after = after;
    host().owner!.onHostReadable(net.now);
  });

/** a connection of the guest that is established: 501 and 1001 come next */
function open(window = 65_535): void {
  syn();
  hostConnected();
  expect(send({ flags: ".", seq: 501, ack: 1001, window })).toEqual([]);
}

test("a connection within the host is answered in the turn of its SYN", () => {
  net.streams.connectsAtOnce = true;
  expect(syn()).toEqual([`${TO_GUEST} S. seq 1000 ack 501 win 32768`]);
  expect(send({ flags: ".", seq: 501, ack: 1001, window: 65_535 })).toEqual([]);
  expect(say(text("hello"))).toEqual([`${TO_GUEST} P. seq 1001 ack 501 win 32768 "hello"`]);
});

describe("a guest whose card is gone", () => {
  test.each([
    ["established", () => open()],
    ["not yet answered", () => void syn()],
  ])("takes its connections along, %s ones too, without a word", (_state, begin) => {
    begin();
    const sent = host();
    net.network.detach(guest.port);
    net.settle();
    expect(sent.state).toBe("reset");
    expect(net.network.tcp.size).toBe(0);
    expect(guest.port.lines()).toEqual([]);
  });

  test("leaves those of other guests, and may come back with the same address", () => {
    const other = net.guest();
    open();
    const kept = host();
    net.network.detach(other.port);
    net.settle();
    expect(kept.state).toBe("open");
    net.network.detach(guest.port);
    net.network.link.attach(guest.port);
    open();
    expect(host()).not.toBe(kept);
    expect(host().state).toBe("open");
  });
});

test("a host that says no more for now is read once, one that ends until its end", () => {
  open();
  const { reads } = net.streams;
  host().toSay = pattern(100);
  act(() => host().owner!.onHostReadable(net.now, true));
  expect(net.streams.reads - reads).toBe(1);
  host().toSay = pattern(100);
  host().after = "end";
  expect(act(() => host().owner!.onHostReadable(net.now, false)).join("\n")).toContain("F");
  expect(net.streams.reads - reads).toBe(3);
});

describe("opening by the guest", () => {
  test("the host's connection comes first and the answer after it", () => {
    expect(syn()).toEqual([]);
    expect(host().target).toBe("8.8.8.8:80");
    expect(hostConnected()).toEqual([`${TO_GUEST} S. seq 1000 ack 501 win 32768`]);
  });

  test("a SYN that is sent again meanwhile makes no second connection", () => {
    syn();
    expect(syn()).toEqual([]);
    expect(net.streams.sockets).toHaveLength(1);
    expect(hostConnected()).toHaveLength(1);
  });

  test.each([
    ["the host's loopback for its alias", "10.0.0.1:80", "127.0.0.1:80"],
    ["the resolver's socket for DNS", "10.0.0.2:53", "dns.sock"],
    ["the address itself for any other", "192.0.2.7:443", "192.0.2.7:443"],
  ])("leads to %s", (_name, to, target) => {
    syn(to);
    expect(host().target).toBe(target);
  });

  test.each([
    ["another port of the DNS address", "10.0.0.2:80"],
    ["cloud metadata", "169.254.169.254:80"],
  ])("is refused to %s", (_name, to) => {
    expect(syn(to)).toEqual([`${to} > ${GUEST} tcp R. seq 0 ack 501 win 0`]);
    expect(net.streams.sockets).toEqual([]);
  });

  const RESET = `${TO_GUEST} R. seq 0 ack 501 win 0`;
  const failures: [HostFailure, string[]][] = [
    ["refused", [RESET]],
    ["timeout", [RESET]],
    ["no-descriptors", [RESET]],
    [
      "unreachable",
      ["10.0.0.1 > 10.0.0.11 icmp 3/1 00000000 about 10.0.0.11:4000 > 8.8.8.8:80", RESET],
    ],
  ];

  test.each(failures)(
    "is answered when the host's connection fails at once: %s",
    (failure, out) => {
      net.streams.failure = failure;
      expect(syn()).toEqual(out);
      expect(net.network.tcp.size).toBe(0);
    },
  );

  test.each(failures)("is answered when the host's connection fails later: %s", (failure, out) => {
    syn();
    expect(act(() => host().owner!.onHostConnectFailed(net.now, failure))).toEqual(out);
    expect(host().state).toBe("closed");
    expect(net.network.tcp.size).toBe(0);
  });

  test("ends the host's attempt when the guest gives up", () => {
    syn();
    expect(send({ flags: "R", seq: 501 })).toEqual([]);
    expect(host().state).toBe("reset");
    expect(net.network.tcp.size).toBe(0);
  });

  test("is given up when the guest never completes it", () => {
    syn();
    hostConnected();
    net.pass(120_000);
    // RFC 6298: after 1, 2, 4, 8 and 16 seconds
    expect(guest.port.lines()).toEqual(
      Array.from({ length: 5 }, () => `${TO_GUEST} S. seq 1000 ack 501 win 32768`),
    );
    expect(host().state).toBe("reset");
    expect(net.network.tcp.size).toBe(0);
  });
});

// RFC 9293 3.10.7.1
test.each<[string, Segment, string[]]>([
  ["with an acknowledgement", { flags: ".", seq: 7, ack: 9 }, ["R seq 9 ack 0 win 0"]],
  ["with SYN and ACK", { flags: "S.", seq: 7, ack: 9 }, ["R seq 9 ack 0 win 0"]],
  ["with text only", { flags: "", seq: 7, payload: text("abc") }, ["R. seq 0 ack 10 win 0"]],
  ["with FIN only", { flags: "F", seq: 7 }, ["R. seq 0 ack 8 win 0"]],
  ["with FIN at the end of the numbers", { flags: "F", seq: 0xffffffff }, ["R. seq 0 ack 0 win 0"]],
  ["with RST", { flags: "R", seq: 7 }, []],
  ["with RST and ACK", { flags: "R.", seq: 7, ack: 9 }, []],
])("onDatagram() resets a segment of no connection %s", (_name, segment, out) => {
  expect(send(segment)).toEqual(out.map((line) => `${TO_GUEST} ${line}`));
  expect(net.count("tcp-no-flow")).toBe(out.length);
  expect(net.network.tcp.size).toBe(0);
});

describe("octets", () => {
  beforeEach(() => open());

  test("of the guest reach the host and are acknowledged", () => {
    expect(send({ flags: "P.", seq: 501, ack: 1001, payload: text("hello") })).toEqual([
      `${TO_GUEST} . seq 1001 ack 506 win 32763`,
    ]);
    expect(host().heardText).toBe("hello");
  });

  test("of the host reach the guest", () => {
    expect(say(text("world"))).toEqual([`${TO_GUEST} P. seq 1001 ack 501 win 32768 "world"`]);
  });

  test("that the host said before the guest was ready are not lost", () => {
    syn(SERVER, "10.0.0.11:4001");
    host().toSay = text("welcome");
    act(() => {
      host().owner!.onHostConnected(net.now);
      host().owner!.onHostReadable(net.now);
    });
    const ack: Segment = { flags: ".", seq: 501, ack: 1001 };
    expect(send(ack, SERVER, "10.0.0.11:4001")).toEqual([
      `${SERVER} > 10.0.0.11:4001 tcp P. seq 1001 ack 501 win 32768 "welcome"`,
    ]);
  });

  test("of many small segments in one turn keep their order", () => {
    const frames = Array.from(pattern(600), (octet, n) =>
      ethernet(
        GATEWAY_MAC,
        guest.mac,
        "0800",
        ipv4(
          tcp(GUEST, SERVER, {
            flags: ".",
            seq: 501 + n,
            ack: 1001,
            payload: Uint8Array.of(octet),
          }),
        ),
      ),
    );
    net.inject(guest.port, ...frames);
    expect(host().heard.toHex()).toBe(pattern(600).toHex());
    // more than a segment was taken, so the window's edge moves (RFC 9293 3.8.6.2.2)
    expect(guest.port.lines()).toEqual([`${TO_GUEST} . seq 1001 ack 1101 win 32768`]);
  });

  test("without a checksum are taken from a guest whose card leaves it to us, and from no other", () => {
    const segments = Array.from({ length: 4 }, (_, n) => {
      const part = { flags: ".", seq: 501 + n * 100, ack: 1001, payload: pattern(100) } as const;
      const frame = ethernet(GATEWAY_MAC, guest.mac, "0800", ipv4(tcp(GUEST, SERVER, part)));
      return patch(frame, 50, 0xab, 0xcd);
    });
    guest.port.lacksChecksum = true;
    net.inject(guest.port, ...segments.slice(0, 3));
    expect(host().heard.toHex()).toBe(pattern(100).toHex().repeat(3));
    guest.port.lacksChecksum = false;
    net.inject(guest.port, segments[3]!);
    expect(host().heard.length).toBe(300);
    expect(net.count("tcp-checksum")).toBe(1);
  });

  test("go in large segments without a checksum to a guest whose card makes them, and with one while somebody looks at the frames", () => {
    const from = "10.0.0.11:4001";
    const toGuest = `${SERVER} > ${from} tcp`;
    send({ flags: "S", seq: 500, options: "020405b4" }, SERVER, from);
    hostConnected();
    send({ flags: ".", seq: 501, ack: 1001, window: 65_535 }, SERVER, from);
    guest.port.takesLarge = true;
    expect(say(pattern(4000))).toEqual([
      `bad checksum ${toGuest} P. seq 1001 ack 501 win 32768 4000 octets`,
    ]);
    net.network.link.observer = () => {};
    expect(say(pattern(4000))).toEqual([`${toGuest} P. seq 5001 ack 501 win 32768 4000 octets`]);
  });

  test("of more connections in one turn than there are lists for them all arrive, each at its host", () => {
    const froms = Array.from({ length: 100 }, (_, n) => `10.0.0.11:${5000 + n}`);
    for (const from of froms) {
      syn(SERVER, from);
      hostConnected();
      send({ flags: ".", seq: 501, ack: 1001 }, SERVER, from);
    }
    for (const seq of [501, 505]) {
      const frames = froms.map((from) => {
        const segment: Segment = { flags: "P.", seq, ack: 1001, payload: text(from.slice(-4)) };
        return ethernet(GATEWAY_MAC, guest.mac, "0800", ipv4(tcp(from, SERVER, segment)));
      });
      net.inject(guest.port, ...frames);
      net.finish();
    }
    const heard = net.streams.sockets.slice(1).map(({ heardText }) => heardText);
    expect(heard).toEqual(froms.map((from) => from.slice(-4).repeat(2)));
  });
});

describe("closing", () => {
  beforeEach(() => open());

  test("by the guest ends one direction; the host may go on", () => {
    expect(send({ flags: "F.", seq: 501, ack: 1001 })).toEqual([
      `${TO_GUEST} . seq 1001 ack 502 win 32767`,
    ]);
    expect(host()).toMatchObject({ heardEnd: true, state: "open" });
    expect(say(text("late"))).toEqual([`${TO_GUEST} P. seq 1001 ack 502 win 32767 "late"`]);
    expect(send({ flags: ".", seq: 502, ack: 1005 })).toEqual([]);
    expect(finish("end")).toEqual([`${TO_GUEST} F. seq 1005 ack 502 win 32767`]);
    expect(send({ flags: ".", seq: 502, ack: 1006 })).toEqual([]);
    expect(host().state).toBe("closed");
    expect(net.network.tcp.size).toBe(0);
  });

  test("by the host ends one direction; the guest may go on", () => {
    expect(finish("end")).toEqual([`${TO_GUEST} F. seq 1001 ack 501 win 32768`]);
    expect(send({ flags: ".", seq: 501, ack: 1002 })).toEqual([]);
    expect(send({ flags: "P.", seq: 501, ack: 1002, payload: text("late") })).toEqual([
      `${TO_GUEST} . seq 1002 ack 505 win 32764`,
    ]);
    expect(host()).toMatchObject({ heardText: "late", heardEnd: false, state: "open" });
    expect(send({ flags: "F.", seq: 505, ack: 1002 })).toEqual([
      `${TO_GUEST} . seq 1002 ack 506 win 32763`,
    ]);
    expect(host()).toMatchObject({ state: "closed" });
    // TIME-WAIT answers a FIN that is sent again, and ends
    expect(net.network.tcp.size).toBe(1);
    expect(send({ flags: "F.", seq: 505, ack: 1002 })).toHaveLength(1);
    net.pass(2000);
    expect(net.network.tcp.size).toBe(0);
  });

  test("by both at once ends both", () => {
    expect(finish("end")).toEqual([`${TO_GUEST} F. seq 1001 ack 501 win 32768`]);
    expect(send({ flags: "F.", seq: 501, ack: 1001 })).toEqual([
      `${TO_GUEST} . seq 1002 ack 502 win 32767`,
    ]);
    expect(send({ flags: ".", seq: 502, ack: 1002 })).toEqual([]);
    expect(host().state).toBe("closed");
    net.pass(2000);
    expect(net.network.tcp.size).toBe(0);
  });

  test("tells the host of the guest's end behind its last octets", () => {
    send({ flags: "FP.", seq: 501, ack: 1001, payload: text("bye") });
    expect(host()).toMatchObject({ heardText: "bye", heardEnd: true });
  });

  test("does not tell the host of the guest's end before it took all octets", () => {
    host().room = 1;
    send({ flags: "FP.", seq: 501, ack: 1001, payload: text("bye") });
    expect(host()).toMatchObject({ heardText: "b", heardEnd: false });
    host().room = Infinity;
    act(() => host().owner!.onHostWritable(net.now));
    expect(host()).toMatchObject({ heardText: "bye", heardEnd: true });
  });

  test("sends the host's last octets and its end in one segment", () => {
    host().after = "end";
    expect(say(text("bye"))).toEqual([`${TO_GUEST} FP. seq 1001 ack 501 win 32768 "bye"`]);
  });

  test("by a reset of the guest resets the host's connection", () => {
    expect(send({ flags: "R", seq: 501 })).toEqual([]);
    expect(host().state).toBe("reset");
    expect(net.network.tcp.size).toBe(0);
  });

  test("not by a reset that is only near (RFC 5961 3.2)", () => {
    expect(send({ flags: "R", seq: 502 })).toEqual([`${TO_GUEST} . seq 1001 ack 501 win 32768`]);
    expect(host().state).toBe("open");
  });

  test.each([
    ["reading", () => finish("reset")],
    [
      "writing",
      () => {
        host().writeFailure = "reset";
        return send({ flags: "P.", seq: 501, ack: 1001, payload: text("x") });
      },
    ],
  ] as const)("by a failure of the host when %s resets the guest's connection", (_name, fail) => {
    const [line, ...more] = fail();
    expect(line).toMatch(/^8\.8\.8\.8:80 > 10\.0\.0\.11:4000 tcp R\. seq 1001 ack 50[12] win 0$/);
    expect(more).toEqual([]);
    expect(host().state).toBe("closed");
    expect(net.network.tcp.size).toBe(0);
  });

  // ENOBUFS: no event of the socket will tell that there is room again
  test("not by a host that is short of memory: its octets are written later, and acknowledged once", () => {
    host().writeFailure = "again";
    send({ flags: "P.", seq: 501, ack: 1001, payload: text("one") });
    send({ flags: "P.", seq: 504, ack: 1001, payload: text("two") });
    expect([host().state, host().heardText]).toEqual(["open", ""]);
    host().writeFailure = undefined;
    net.pass(10);
    expect([host().state, host().heardText]).toEqual(["open", "onetwo"]);
    send({ flags: "P.", seq: 507, ack: 1001, payload: text("!") });
    expect(host().heardText).toBe("onetwo!");
  });

  test("leaves the ports to a new connection at once when its numbers are higher", () => {
    finish("end");
    send({ flags: "F.", seq: 501, ack: 1002 });
    expect(net.network.tcp.size).toBe(1);
    send({ flags: "S", seq: 503 });
    expect(net.streams.sockets).toHaveLength(2);
    expect(hostConnected()).toEqual([`${TO_GUEST} S. seq 1000 ack 504 win 32768`]);
  });

  test("of the whole network resets every connection", () => {
    expect(act(() => net.network.tcp.closeAll())).toEqual([
      `${TO_GUEST} R. seq 1001 ack 501 win 0`,
    ]);
    expect(host().state).toBe("closed");
    expect(net.network.tcp.size).toBe(0);
  });
});

describe("back-pressure", () => {
  test("a host that takes a part gets the rest when it can", () => {
    open();
    host().room = 3;
    expect(send({ flags: "P.", seq: 501, ack: 1001, payload: text("hello") })).toEqual([
      `${TO_GUEST} . seq 1001 ack 506 win 32763`,
    ]);
    expect(host().heardText).toBe("hel");
    host().room = Infinity;
    act(() => host().owner!.onHostWritable(net.now));
    expect(host().heardText).toBe("hello");
  });

  test("a host that takes nothing closes the guest's window, and opens it", () => {
    open();
    host().room = 0;
    const octets = pattern(RING);
    let last: string[] = [];
    for (let at = 0; at < RING; at += MSS) {
      const payload = octets.slice(at, at + MSS);
      last = send({ flags: ".", seq: 501 + at, ack: 1001, payload });
    }
    const full = `${TO_GUEST} . seq 1001 ack ${501 + RING} win 0`;
    expect(last).toEqual([full]);
    expect(host().heard.length).toBe(0);
    // an octet that was not allowed is refused, and asks for the window
    const probe: Segment = { flags: ".", seq: 501 + RING, ack: 1001, payload: text("x") };
    expect(send(probe)).toEqual([full]);
    host().room = Infinity;
    expect(act(() => host().owner!.onHostWritable(net.now))).toEqual([
      `${TO_GUEST} . seq 1001 ack ${501 + RING} win ${RING}`,
    ]);
    expect(host().heard.toHex()).toBe(octets.toHex());
  });

  test("a guest whose window is closed gets nothing before it opens", () => {
    open(0);
    expect(say(text("world"))).toEqual([]);
    expect(send({ flags: ".", seq: 501, ack: 1001, window: 3 })).toEqual([
      `${TO_GUEST} . seq 1001 ack 501 win 32768 "wor"`,
    ]);
    expect(send({ flags: ".", seq: 501, ack: 1004, window: 100 })).toEqual([
      `${TO_GUEST} P. seq 1004 ack 501 win 32768 "ld"`,
    ]);
  });

  test("a guest that does not acknowledge leaves the host its octets", () => {
    open();
    const lines = say(pattern(100_000));
    // RFC 6928: ten segments at first
    expect(lines).toHaveLength(10);
    expect(host().toSay.length).toBe(100_000 - RING);
  });

  test("a busy port gets no octets, and all of them in order when it has drained", () => {
    open();
    guest.port.busy = true;
    expect(say(text("wor"))).toEqual([]);
    const { reads } = net.streams;
    expect(say(text("ld"))).toEqual([]);
    expect(net.streams.reads).toBe(reads);
    guest.port.busy = false;
    expect(act(() => net.network.tcp.onPortsDrained())).toEqual([
      `${TO_GUEST} P. seq 1001 ack 501 win 32768 "wor"`,
      `${TO_GUEST} P. seq 1004 ack 501 win 32768 "ld"`,
    ]);
  });

  test("a port that is busy again and again gets everything", () => {
    open();
    for (const [n, word] of ["one", "two", "six"].entries()) {
      guest.port.busy = true;
      expect(say(text(word))).toEqual([]);
      guest.port.busy = false;
      const numbers = `seq ${1001 + 3 * n} ack 501 win 32768`;
      expect(act(() => net.network.tcp.onPortsDrained())).toEqual([
        `${TO_GUEST} P. ${numbers} "${word}"`,
      ]);
    }
  });

  test("many frames for a port that keeps some are those that go to another one by one", () => {
    const framesOf = (keepsFrames: boolean, options: string) => {
      net = new InjectedNetwork();
      guest = net.guest();
      guest.port.keepsFrames = keepsFrames;
      send({ flags: "S", seq: 500, options });
      hostConnected();
      send({ flags: ".", seq: 501, ack: 1001, window: 65_535 });
      const frames: string[] = [];
      let ack = 1001;
      // the ring's end comes within frames, at even and odd places of them
      for (let octets = 1; octets < 30_000; octets += 1776) {
        host().toSay = pattern(octets);
        host().owner!.onHostReadable(net.now);
        net.settle();
        for (const end = ack + octets; ack < end;) {
          const came = guest.port.take();
          for (const frame of came) {
            ack += frame.length - HEADERS;
            frames.push(frame.toHex());
          }
          const packet = tcp(GUEST, SERVER, { flags: ".", seq: 501, ack, window: 65_535 });
          net.inject(guest.port, ethernet(GATEWAY_MAC, guest.mac, "0800", ipv4(packet)));
        }
      }
      return frames;
    };
    for (const options of ["", "020405b4", "020405b401010402"]) {
      const oneByOne = framesOf(false, options);
      expect(oneByOne.length).toBeGreaterThan(90);
      expect(framesOf(true, options)).toEqual(oneByOne);
    }
  });

  test("who has waited for a port goes before who has something new for it", () => {
    open();
    const waiting = host();
    const other = "10.0.0.11:4001";
    syn(SERVER, other);
    hostConnected();
    send({ flags: ".", seq: 501, ack: 1001, window: 65_535 }, SERVER, other);
    guest.port.busy = true;
    act(() => {
      waiting.toSay = text("old");
      waiting.owner!.onHostReadable(net.now);
    });
    guest.port.busy = false;
    host().toSay = text("new");
    const sent = act(() => {
      host().owner!.onHostReadable(net.now);
      net.network.tcp.onPortsDrained();
    });
    expect(sent.map((line) => /"(\w+)"/.exec(line)![1])).toEqual(["old", "new"]);
  });

  test("a busy port still gets acknowledgements", () => {
    open();
    guest.port.busy = true;
    expect(send({ flags: "P.", seq: 501, ack: 1001, payload: text("hello") })).toHaveLength(1);
  });

  test("no more than 400 segments are under way, however large the guest's window", () => {
    send({ flags: "S", seq: 500, options: "01030307" });
    hostConnected();
    send({ flags: ".", seq: 501, ack: 1001 });
    let underWay = say(pattern(4_000_000)).length;
    let most = 0;
    for (let round = 0, next = 1001; round < 300; round++) {
      next += 8 * MSS;
      underWay += send({ flags: ".", seq: 501, ack: next }).length - 8;
      most = Math.max(most, underWay);
    }
    expect(most).toBe(400);
  });

  test("no more than 8 are, while the guest asks for something in between", () => {
    send({ flags: "S", seq: 500, options: "01030307" });
    hostConnected();
    send({ flags: ".", seq: 501, ack: 1001 });
    net.now += 100;
    let underWay = say(pattern(2_000_000)).length;
    let next = 1001;
    let window = 0;
    for (let rounds = 0; rounds < 20; rounds++) {
      guest.sendPacket(udp("10.0.0.11:5000", "8.8.8.8:9", text("?")));
      next += underWay * MSS;
      const sent = send({ flags: ".", seq: 501, ack: next });
      underWay = sent.length;
      window = Number(/win (\d+)/.exec(sent[0]!)![1]);
    }
    expect(underWay).toBe(8);
    // scaled by 7; the 32,768 octets that were announced at first stay announced
    expect(window << 7).toBe(RING);
    net.now += 50;
    for (let rounds = 0; rounds < 12; rounds++) {
      next += underWay * MSS;
      underWay = send({ flags: ".", seq: 501, ack: next }).length;
    }
    expect(underWay).toBeGreaterThan(60);
  });

  test.each([
    ["on a socket, a whole ring", false, 1024 * 1024],
    ["that shares its memory, a part of 2 MiB", true, 256 * 1024],
  ])("each of 8 streams at MTU 9000, of a guest %s", (_what, takesLarge, octets) => {
    net = new InjectedNetwork({ mtu: 9000 });
    guest = net.guest();
    guest.port.takesLarge = takesLarge;
    const ports = Array.from({ length: 8 }, (_, i) => `10.0.0.11:${4000 + i}`);
    for (const from of ports) {
      send({ flags: "S", seq: 500, options: "0204230001030307" }, SERVER, from);
      hostConnected();
      send({ flags: ".", seq: 501, ack: 1001 }, SERVER, from);
    }
    const payload = pattern(8960);
    let widest = 0;
    for (let round = 0, seq = 501; round < 60; round++, seq += 8960) {
      net.now++;
      for (const from of ports) {
        const sent = send({ flags: ".", seq, ack: 1001, payload }, SERVER, from);
        for (const line of sent) widest = Math.max(widest, Number(/win (\d+)/.exec(line)![1]) << 7);
      }
    }
    // scaled by 7, so that up to 127 octets are not told
    expect(octets - widest).toBeWithin(0, 128);
  });

  test("a host with much to say is read 512 KiB a turn, and on in the next turns", () => {
    // window scale 7: a window of 65535 * 128
    send({ flags: "S", seq: 500, options: "01030307" });
    hostConnected();
    send({ flags: ".", seq: 501, ack: 1001 });
    host().toSay = pattern(2_000_000);
    host().owner!.onHostReadable(net.now);
    net.settle();
    let next = 1001;
    const read = () => 2_000_000 - host().toSay.length;
    let before = read();
    for (let turns = 0; turns < 500 && !net.network.hasUnfinished; turns++) {
      for (const frame of guest.port.take()) next += payloadOf(frame).length - 20;
      before = read();
      net.inject(
        guest.port,
        ethernet(
          GATEWAY_MAC,
          guest.mac,
          "0800",
          ipv4(tcp(GUEST, SERVER, { flags: ".", seq: 501, ack: next })),
        ),
      );
    }
    expect(read() - before).toBe(512 * 1024);
    const afterOne = read();
    net.finish();
    expect(net.network.hasUnfinished).toBe(false);
    expect(read()).toBeGreaterThan(afterOne);
  });

  test("a whole stream crosses a slow guest unharmed", () => {
    open();
    const octets = pattern(200_000);
    host().after = "end";
    host().toSay = octets;
    host().owner!.onHostReadable(net.now);
    net.settle();
    const got: Uint8Array[] = [];
    let next = 1001;
    for (let turns = 0; turns < 1000 && next < 1001 + octets.length; turns++) {
      for (const frame of guest.port.take()) {
        const octetsOfIt = payloadOf(frame).slice(20);
        got.push(octetsOfIt);
        next += octetsOfIt.length;
      }
      net.inject(
        guest.port,
        ethernet(
          GATEWAY_MAC,
          guest.mac,
          "0800",
          ipv4(tcp(GUEST, SERVER, { flags: ".", seq: 501, ack: next, window: 5000 })),
        ),
      );
    }
    expect(join(...got).toHex()).toBe(octets.toHex());
  });
});

describe("bounds", () => {
  test("a SYN beyond a guest's share of 16384 connections is silent and counted", () => {
    for (let n = 0; n <= SHARE; n++) expect(syn(SERVER, `10.0.0.11:${1000 + n}`)).toEqual([]);
    expect(net.streams.sockets).toHaveLength(SHARE);
    expect(net.network.tcp.size).toBe(SHARE);
    expect(net.count("tcp-flow-table-full")).toBe(1);
  });

  test("a connection for which there are no rings is refused and counted", () => {
    // 8192 small rings, two a connection, of which a guest may have three quarters
    for (let n = 0; n < 3072; n++) {
      syn(SERVER, `10.0.0.11:${10_000 + n}`);
      expect(hostConnected()).toHaveLength(1);
    }
    syn();
    expect(hostConnected()).toEqual([`${TO_GUEST} R. seq 0 ack 501 win 0`]);
    expect(host().state).toBe("reset");
    expect(net.network.tcp.size).toBe(3072);
    expect(net.count("tcp-no-ring")).toBe(1);
  });
});

describe("opening to the guest", () => {
  /** the port is the first of RFC 6335's dynamic ones plus the low 14 bits of 1000 */
  const TO_SSH = "10.0.0.1:50152 > 10.0.0.11:22 tcp";
  let outcomes: string[];

  beforeEach(() => {
    outcomes = [];
  });

  /** connects an accepted connection, or probes; what the guest gets */
  const connect = (handle = net.streams.accept(), address = "10.0.0.11") =>
    act(() =>
      net.network.tcp.connectToGuest(net.now, handle, parseIpv4(address)!, 22, (outcome) =>
        outcomes.push(outcome),
      ),
    );
  const reply = (segment: Segment) => send(segment, "10.0.0.1:50152", "10.0.0.11:22");

  test("leads an accepted connection there and back", () => {
    expect(connect()).toEqual([`${TO_SSH} S seq 1000 ack 0 win 32768`]);
    host().toSay = text("hello");
    expect(outcomes).toEqual([]);
    expect(reply({ flags: "S.", seq: 500, ack: 1001 })).toEqual([
      `${TO_SSH} P. seq 1001 ack 501 win 32768 "hello"`,
    ]);
    expect(outcomes).toEqual(["connected"]);
    reply({ flags: "P.", seq: 501, ack: 1006, payload: text("world") });
    expect(host().heardText).toBe("world");
  });

  test("ends with a reset of the accepted connection when the guest refuses", () => {
    connect();
    expect(reply({ flags: "R.", ack: 1001 })).toEqual([]);
    expect(host().state).toBe("reset");
    expect(outcomes).toEqual(["refused"]);
    expect(net.network.tcp.size).toBe(0);
  });

  test("does not end by a refusal of something else", () => {
    connect();
    expect(reply({ flags: "R.", ack: 1000 })).toEqual([]);
    expect(host().state).toBe("open");
  });

  test("ends after six attempts when the guest is silent", () => {
    connect();
    net.pass(120_000);
    expect(guest.port.lines()).toEqual(
      Array.from({ length: 5 }, () => `${TO_SSH} S seq 1000 ack 0 win 32768`),
    );
    expect(host().state).toBe("reset");
    expect(outcomes).toEqual(["timeout"]);
    expect(net.network.tcp.size).toBe(0);
  });

  test("waits for the guest's address and goes on when it is known", () => {
    const late = net.guest(false);
    expect(connect(net.streams.accept(), late.ip)).toEqual([
      "arp request 10.0.0.12 from 10.0.0.1 5a:94:ef:e4:0c:dd",
    ]);
    late.port.take();
    expect(late.sendArp({ operation: 2, tpa: "10.0.0.1" }, GATEWAY_MAC)).toEqual([
      "10.0.0.1:50152 > 10.0.0.12:22 tcp S seq 1000 ack 0 win 32768",
    ]);
  });

  test("only to see whether it can be is reset at once", () => {
    connect(-1);
    expect(reply({ flags: "S.", seq: 500, ack: 1001 })).toEqual([
      `${TO_SSH} R. seq 1001 ack 501 win 0`,
    ]);
    expect(outcomes).toEqual(["connected"]);
    expect(net.network.tcp.size).toBe(0);
  });

  test("takes another port when one is in use", () => {
    connect();
    const numbers = [1000, 1001];
    net.random = () => numbers.shift() ?? 1000;
    expect(connect()).toEqual(["10.0.0.1:50153 > 10.0.0.11:22 tcp S seq 1000 ack 0 win 32768"]);
  });

  test("fails when no free port is found", () => {
    connect();
    expect(connect()).toEqual([]);
    expect(host().state).toBe("reset");
    expect(outcomes).toEqual(["timeout"]);
  });
});
