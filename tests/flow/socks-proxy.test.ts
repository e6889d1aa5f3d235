/** The SOCKS proxy on a whole network without a host: what clients say and hear, where they are led, what is bounded. */
import { beforeEach, describe, expect, test } from "bun:test";
import { parseIpv4 } from "../../lib/addr/ipv4.ts";
import { join, pattern, tcp, text, type Segment } from "../support/injected-frames.ts";
import { InjectedNetwork, type InjectedGuest } from "../support/injected-network.ts";
import type { InjectedStream } from "../support/injected-hosts.ts";

const HELLO = "050100";
const to = (address: string, port: number) => `05010001${hex32(address)}${hex16(port)}`;
const toName = (name: string, port: number) =>
  `05010003${name.length.toString(16).padStart(2, "0")}${text(name).toHex()}${hex16(port)}`;
const hex32 = (address: string) => parseIpv4(address)!.toString(16).padStart(8, "0");
const hex16 = (port: number) => port.toString(16).padStart(4, "0");
const reply = (code: number) => `050${code}0001000000000000`;
const OK = `0500${reply(0)}`;
const refused = (code: number) => `0500${reply(code)}`;

let net: InjectedNetwork;
let guest: InjectedGuest;
beforeEach(() => {
  net = new InjectedNetwork();
  guest = net.guest();
});

/** a client that has connected */
function accept(): InjectedStream {
  const handle = net.streams.accept();
  const client = net.streams.sockets[handle]!;
  net.network.socks.onAccept(net.now, handle);
  return client;
}
function turn(what: () => void): string[] {
  what();
  net.settle();
  net.finish();
  return guest.port.lines();
}
const say = (stream: InjectedStream, octets: Uint8Array | string) =>
  turn(() => {
    stream.toSay = join(
      stream.toSay,
      typeof octets === "string" ? Uint8Array.fromHex(octets) : octets,
    );
    stream.owner?.onHostReadable(net.now);
  });
const end = (stream: InjectedStream, after: "end" | "reset") =>
  turn(() => {
    stream.after = after;
    stream.owner?.onHostReadable(net.now);
  });
const heard = (stream: InjectedStream) => stream.heard.toHex();

/** the port is the first of RFC 6335's dynamic ones plus the low 14 bits of 1000 */
const HERE = "10.0.0.1:50152";
const WEB = "10.0.0.11:80";
const TO_WEB = `${HERE} > ${WEB} tcp`;
const fromGuest = (segment: Segment) => guest.sendPacket(tcp(WEB, HERE, segment));

describe("a client that goes to a guest", () => {
  test("hears of success when the guest has answered, and before the guest's first octets", () => {
    const client = accept();
    say(client, HELLO);
    expect(heard(client)).toBe("0500");
    expect(say(client, to("10.0.0.11", 80))).toEqual([`${TO_WEB} S seq 1000 ack 0 win 32768`]);
    expect(heard(client)).toBe("0500");
    fromGuest({ flags: "S.", seq: 500, ack: 1001 });
    expect(heard(client)).toBe(OK);
    fromGuest({ flags: "P.", seq: 501, ack: 1001, payload: text("banner") });
    expect(heard(client)).toBe(OK + text("banner").toHex());
    expect(say(client, text("GET"))).toEqual([`${TO_WEB} P. seq 1001 ack 507 win 32762 "GET"`]);
    expect(net.network.socks.size).toBe(0);
  });

  test("loses nothing that it has said too early", () => {
    const client = accept();
    say(client, join(Uint8Array.fromHex(HELLO + to("10.0.0.11", 80)), text("early")));
    expect(fromGuest({ flags: "S.", seq: 500, ack: 1001 })).toEqual([
      `${TO_WEB} P. seq 1001 ack 501 win 32768 "early"`,
    ]);
  });

  test("may come octet by octet", () => {
    const client = accept();
    for (const octet of Uint8Array.fromHex(HELLO + toName("10.0.0.11", 80)))
      say(client, new Uint8Array([octet]));
    fromGuest({ flags: "S.", seq: 500, ack: 1001 });
    expect(heard(client)).toBe(OK);
  });

  test("is told when the guest refuses, and when it is silent", () => {
    const client = accept();
    say(client, HELLO + to("10.0.0.11", 80));
    fromGuest({ flags: "R.", ack: 1001 });
    expect([heard(client), client.state]).toEqual([refused(5), "closed"]);
    const second = accept();
    say(second, HELLO + to("10.0.0.99", 80));
    net.pass(130_000);
    expect([heard(second), second.state]).toEqual([refused(4), "closed"]);
    expect(net.network.socks.size).toBe(0);
  });

  test("half-close and reset reach it", () => {
    const client = accept();
    say(client, HELLO + to("10.0.0.11", 80));
    fromGuest({ flags: "S.", seq: 500, ack: 1001 });
    expect(end(client, "end")).toEqual([`${TO_WEB} F. seq 1001 ack 501 win 32768`]);
    fromGuest({ flags: ".", seq: 501, ack: 1002, payload: text("late") });
    expect(heard(client)).toBe(OK + text("late").toHex());
    fromGuest({ flags: "R", seq: 505 });
    expect(client.state).toBe("reset");
  });
});

describe("a client that goes to a name", () => {
  test("is led to the address that the main thread finds", () => {
    const client = accept();
    say(client, HELLO + toName("lima-beta.internal", 80));
    expect(net.names).toEqual([{ query: 0, name: "lima-beta.internal" }]);
    const segments = turn(() => net.network.socks.onName(net.now, 0, parseIpv4("10.0.0.11")));
    expect(segments).toEqual([`${TO_WEB} S seq 1000 ack 0 win 32768`]);
  });
  test("is told when there is none; a late answer does nothing", () => {
    const client = accept();
    say(client, HELLO + toName("nobody.test", 80));
    turn(() => net.network.socks.onName(net.now, 0, undefined));
    expect([heard(client), client.state]).toEqual([refused(4), "closed"]);
    turn(() => net.network.socks.onName(net.now, 0, parseIpv4("10.0.0.11")));
    expect(net.streams.sockets).toHaveLength(1);
  });
});

describe("a client that goes elsewhere", () => {
  /** client and the socket dialled for it, joined */
  function relay(): { client: InjectedStream; far: InjectedStream } {
    const client = accept();
    say(client, HELLO + to("8.8.8.8", 80));
    const far = net.streams.last;
    expect(heard(client)).toBe("0500");
    turn(() => far.owner!.onHostConnected(net.now));
    expect(heard(client)).toBe(OK);
    client.heard = new Uint8Array();
    return { client, far };
  }

  test.each([
    ["8.8.8.8", 80, "8.8.8.8:80"],
    // as from the guest: the gateway is the host
    ["10.0.0.1", 80, "127.0.0.1:80"],
    ["10.0.0.2", 53, "dns.sock"],
  ])("%s port %i is dialled as %s", (address, port, target) => {
    say(accept(), HELLO + to(address, port));
    expect(net.streams.last.target).toBe(target);
  });

  test.each([
    "127.0.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "10.0.0.0",
    "10.0.0.255",
    "10.0.0.2",
  ])("%s port 80 is nowhere a guest could go", (address) => {
    const client = accept();
    say(client, HELLO + to(address, 80));
    expect([heard(client), client.state]).toEqual([refused(2), "closed"]);
    expect(net.count("socks-forbidden")).toBe(1);
    expect(net.streams.sockets).toHaveLength(1);
  });

  test("octets, end of stream and more octets go both ways", () => {
    const { client, far } = relay();
    say(client, text("ping"));
    expect(far.heardText).toBe("ping");
    end(client, "end");
    expect([far.heardEnd, far.state, client.state]).toEqual([true, "open", "open"]);
    say(far, text("pong"));
    expect(client.heardText).toBe("pong");
    end(far, "end");
    expect([client.state, far.state]).toEqual(["closed", "closed"]);
    expect(net.network.socks.size).toBe(0);
  });

  test("a reset of one end is one of the other", () => {
    for (const which of ["client", "far"] as const) {
      const ends = relay();
      end(ends[which], "reset");
      expect([ends.client.state, ends.far.state]).toEqual(["reset", "reset"]);
    }
    expect(net.network.socks.size).toBe(0);
  });

  test("an end that takes nothing stops the other, which is not read ahead of it beyond a block", () => {
    const { client, far } = relay();
    far.room = 10;
    const sent = pattern(200_000);
    say(client, sent);
    expect(far.heard.length).toBe(10);
    expect(client.toSay.length).toBe(200_000 - 32_768);
    far.room = Infinity;
    turn(() => far.owner!.onHostWritable(net.now));
    expect(far.heard.toHex()).toBe(sent.toHex());
  });

  test("one that moves much gives the others their turn, and goes on by itself", () => {
    const { client, far } = relay();
    client.toSay = pattern(1_000_000);
    client.owner!.onHostReadable(net.now);
    expect(far.heard.length).toBeLessThan(400_000);
    expect(net.network.hasUnfinished).toBe(true);
    net.finish();
    expect(far.heard.length).toBe(1_000_000);
  });

  test.each([
    ["refused", 5],
    ["unreachable", 4],
    ["timeout", 4],
    ["failed", 1],
    ["no-descriptors", 1],
  ] as const)("a connection that is %s is told, at once or later", (why, code) => {
    const client = accept();
    say(client, HELLO + to("8.8.8.8", 80));
    turn(() => net.streams.last.owner!.onHostConnectFailed(net.now, why));
    expect([heard(client), client.state]).toEqual([refused(code), "closed"]);
    expect(net.streams.last.state).toBe("closed");
    net.streams.failure = why;
    const second = accept();
    say(second, HELLO + to("8.8.8.8", 80));
    expect(heard(second)).toBe(refused(code));
    expect(net.network.socks.size).toBe(0);
  });
});

describe("a client that makes trouble", () => {
  test.each([
    ["another protocol", "474554202f", ""],
    ["version 4", "0401005001020304", ""],
    ["a method we have not", "050102", "05ff"],
    ["no method", "0500", "05ff"],
    ["another version in the request", `${HELLO}0401`, "0500"],
    ["BIND", `${HELLO}0502000108080808${hex16(80)}`, refused(7)],
    ["UDP ASSOCIATE", `${HELLO}0503000108080808${hex16(80)}`, refused(7)],
    ["IPv6", `${HELLO}05010004${"00".repeat(16)}0050`, refused(8)],
    ["an address of no known type", `${HELLO}0501000901`, refused(8)],
  ])("%s is answered and let go", (_what, octets, answer) => {
    const client = accept();
    say(client, octets);
    expect([heard(client), client.state]).toEqual([answer, "closed"]);
    expect(net.network.socks.size).toBe(0);
  });

  test.each(["", "05", HELLO, `${HELLO}050100`])(
    "one that stalls after %p goes after 10 s",
    (octets) => {
      const client = accept();
      say(client, octets);
      net.pass(9_999);
      expect(client.state).toBe("open");
      net.pass(1);
      expect(client.state).toBe("closed");
      expect(net.count("socks-timeout")).toBe(1);
    },
  );

  test.each(["", "05", HELLO, `${HELLO}050100`])(
    "one that leaves after %p is forgotten",
    (octets) => {
      const client = accept();
      say(client, octets);
      end(client, "end");
      expect([client.state, net.network.socks.size]).toEqual(["closed", 0]);
    },
  );

  test("the 513th is turned away and counted, and the place of one that left is free again", () => {
    const first = accept();
    for (let i = 1; i < 512; i++) accept();
    expect(accept().state).toBe("reset");
    expect(net.count("socks-full")).toBe(1);
    end(first, "end");
    expect(accept().state).toBe("open");
  });
});

test("the network's end closes every client, relay and socket on its way to a guest, once", () => {
  const waiting = accept();
  const joined = accept();
  say(joined, HELLO + to("8.8.8.8", 80));
  const far = net.streams.last;
  turn(() => far.owner!.onHostConnected(net.now));
  const dialling = accept();
  say(dialling, HELLO + to("8.8.4.4", 80));
  const calling = accept();
  say(calling, HELLO + to("10.0.0.11", 80));
  net.network.socks.closeAll();
  net.network.tcp.closeAll();
  expect(net.streams.sockets.map(({ state }) => state)).toEqual(Array(6).fill("closed"));
  expect([waiting, joined, far, dialling, calling].every(({ state }) => state === "closed")).toBe(
    true,
  );
  expect(net.network.socks.size).toBe(0);
});
