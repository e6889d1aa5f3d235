/** The DHCP server (RFC 2131): what a client says, and what is answered to whom. */
import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseCidr, parseIpv4 } from "../../../lib/addr/ipv4.ts";
import { DhcpServer, type DhcpPlan, type DhcpReply } from "../../../lib/service/dhcp/server.ts";
import type { Lease } from "../../../lib/service/dhcp/lease-table.ts";
import { Counters } from "../../../lib/trace/counters.ts";
import { formatMac } from "../../../lib/addr/mac.ts";
import { formatIpv4 } from "../../../lib/addr/ipv4.ts";
import { dump } from "../../support/octets.ts";

const ip = (text: string) => parseIpv4(text)!;
const GATEWAY = "192.168.104.2";
const ALICE = 0x525555000001;
const BOB = 0x525555000002;
const BROADCAST = 0xffffffffffff;
const [DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM] = [1, 2, 3, 4, 5, 6, 7, 8];

const PLAN: DhcpPlan = {
  subnet: parseCidr("192.168.104.0/24")!,
  gateway: ip(GATEWAY),
  dns: ip(GATEWAY),
  reserved: [],
  first: ip("192.168.104.1"),
  mtu: 1500,
  leaseSeconds: 3600,
  domainName: "example.test",
  searchDomains: ["a.example.test", "example.test"],
  staticLeases: [],
};

interface Said {
  type: number;
  mac?: number;
  ciaddr?: string;
  giaddr?: string;
  broadcast?: boolean;
  requested?: string;
  server?: string;
  id?: number[];
  hostname?: string;
  /** option 55 */
  wanted?: number[];
}

/** A client's message, made by hand from RFC 2131 figure 1. */
function message(said: Said): Uint8Array {
  const out = new Uint8Array(400);
  const view = new DataView(out.buffer);
  out.set([1, 1, 6, 0]); // BOOTREQUEST, Ethernet, 6 octets
  view.setUint32(4, 0x1234_5678);
  if (said.broadcast) view.setUint16(10, 0x8000);
  view.setUint32(12, ip(said.ciaddr ?? "0.0.0.0"));
  view.setUint32(24, ip(said.giaddr ?? "0.0.0.0"));
  const mac = said.mac ?? ALICE;
  view.setUint16(28, mac / 2 ** 32);
  view.setUint32(30, mac >>> 0);
  view.setUint32(236, 0x6382_5363);
  const address = (text: string) => text.split(".").map(Number);
  const options: [number, number[]][] = [[53, [said.type]]];
  if (said.requested !== undefined) options.push([50, address(said.requested)]);
  if (said.server !== undefined) options.push([54, address(said.server)]);
  if (said.id !== undefined) options.push([61, said.id]);
  if (said.hostname !== undefined) options.push([12, [...new TextEncoder().encode(said.hostname)]]);
  if (said.wanted !== undefined) options.push([55, said.wanted]);
  out.set([...options.flatMap(([code, value]) => [code, value.length, ...value]), 255], 240);
  return out;
}

/** What a reply says, read by hand. */
function read(reply: DhcpReply | undefined) {
  if (reply === undefined) return undefined;
  const view = new DataView(reply.message.buffer, reply.message.byteOffset);
  const options = new Map<number, Uint8Array>();
  for (let at = 240; reply.message[at] !== 255; at += 2 + reply.message[at + 1]!)
    options.set(reply.message[at]!, reply.message.slice(at + 2, at + 2 + reply.message[at + 1]!));
  return {
    op: reply.message[0],
    xid: view.getUint32(4),
    type: options.get(53)?.[0],
    ciaddr: formatIpv4(view.getUint32(12)),
    yiaddr: formatIpv4(view.getUint32(16)),
    siaddr: formatIpv4(view.getUint32(20)),
    giaddr: formatIpv4(view.getUint32(24)),
    flags: view.getUint16(10),
    chaddr: dump(reply.message.slice(28, 44)),
    options,
    to: formatIpv4(reply.address),
    mac: formatMac(reply.mac),
  };
}

let counters: Counters;
let server: DhcpServer;
let now: number;
const open = (plan: Partial<DhcpPlan> = {}, stored: Lease[] = []) => {
  counters = new Counters();
  server = new DhcpServer({ ...PLAN, ...plan }, stored, counters);
  now = 1_000_000;
};
beforeEach(() => open());
const say = (said: Said, sourceMac = said.mac ?? ALICE, port = 0) =>
  read(server.onMessage(now, message(said), sourceMac, port));
/** DISCOVER, REQUEST: the address a client ends up with. */
const lease = (mac: number, more: Partial<Said> = {}) => {
  const offered = say({ type: DISCOVER, mac, ...more })!.yiaddr;
  const answer = say({ type: REQUEST, mac, requested: offered, server: GATEWAY, ...more })!;
  expect(answer.type).toBe(ACK);
  return answer.yiaddr;
};

describe("getting an address", () => {
  test("DISCOVER is offered an address with all parameters", () => {
    const offer = say({ type: DISCOVER })!;
    expect(offer).toMatchObject({ op: 2, xid: 0x1234_5678, type: OFFER, yiaddr: "192.168.104.1" });
    const option = (code: number) => dump(offer.options.get(code)!);
    expect(option(1)).toBe("ffffff00"); // subnet mask
    expect(option(3)).toBe("c0a86802"); // router
    expect(option(6)).toBe("c0a86802"); // DNS server
    expect(offer.options.get(15)).toEqual(new TextEncoder().encode("example.test"));
    expect(option(26)).toBe("05dc"); // MTU 1500
    expect(option(51)).toBe("00000e10"); // an hour
    expect(option(54)).toBe("c0a86802"); // server
    expect(option(58)).toBe("00000708"); // renew after half of it
    expect(option(59)).toBe("00000c4e"); // rebind after seven eighths
    // 01 'a' 07 'example' 04 'test' 00, then a pointer to the second label
    expect(option(119)).toBe("0161076578616d706c65047465737400c002");
    expect(option(121)).toBe("00c0a86802"); // default route
  });

  test("the ACK has all that the OFFER had", () => {
    const offer = say({ type: DISCOVER })!;
    const ack = say({ type: REQUEST, requested: offer.yiaddr, server: GATEWAY })!;
    expect(new Map(ack.options).set(53, new Uint8Array([OFFER!]))).toEqual(offer.options);
  });

  test("what the plan has not is not said", () => {
    open({ domainName: undefined, searchDomains: [], mtu: 65_520 });
    const { options } = say({ type: DISCOVER })!;
    expect([options.has(15), options.has(119)]).toEqual([false, false]);
    expect(dump(options.get(26)!)).toBe("fff0");
  });

  test("T1 and T2 are whole seconds, rounded down", () => {
    open({ leaseSeconds: 61 });
    const { options } = say({ type: DISCOVER })!;
    // 61 / 2 = 30.5, 61 * 7 / 8 = 53.375
    expect([51, 58, 59].map((code) => dump(options.get(code)!))).toEqual([
      "0000003d",
      "0000001e",
      "00000035",
    ]);
  });

  test("a list of wanted parameters gets those that there are", () => {
    const { options } = say({ type: DISCOVER, wanted: [1, 3, 6, 15, 26, 42, 119, 121, 252] })!;
    for (const code of [1, 3, 6, 15, 26, 119, 121]) expect(options.has(code)).toBe(true);
    for (const code of [42, 252]) expect(options.has(code)).toBe(false);
  });

  test("the offered address is acknowledged when it is requested", () => {
    expect(lease(ALICE)).toBe("192.168.104.1");
    expect(server.leases.list()).toEqual([
      { ip: "192.168.104.1", mac: "52:55:55:00:00:01", expiresAt: now + 3_600_000 },
    ]);
  });

  test("addresses of the gateway, the network and all are given to nobody", () => {
    open({ subnet: parseCidr("192.168.104.0/29")!, reserved: [ip("192.168.104.4")] });
    const got = Array.from({ length: 4 }, (_, i) => lease(ALICE + i));
    expect(got).toEqual(["192.168.104.1", "192.168.104.3", "192.168.104.5", "192.168.104.6"]);
    expect(say({ type: DISCOVER, mac: 0x525555000099 })).toBeUndefined();
    expect(counters.values["dhcp-pool-used-up"]).toBe(1);
  });

  test("an address asked for in DISCOVER is offered when it is free", () => {
    expect(say({ type: DISCOVER, requested: "192.168.104.77" })!.yiaddr).toBe("192.168.104.77");
    expect(say({ type: DISCOVER, mac: BOB, requested: "192.168.104.77" })!.yiaddr).toBe(
      "192.168.104.1",
    );
  });

  test("a client that comes back is given the address it had, also after it has expired", () => {
    lease(BOB);
    const first = lease(ALICE);
    now += 7_200_000;
    expect(lease(ALICE)).toBe(first);
  });

  test("clients are told apart by their identifier when they have one", () => {
    const one = lease(ALICE, { id: [255, 1, 2, 3] });
    const other = lease(ALICE, { id: [255, 9, 9, 9] });
    expect(other).not.toBe(one);
    expect(lease(ALICE, { id: [255, 1, 2, 3] })).toBe(one);
  });

  test("a client that had no identifier at first has the same lease with one", () => {
    const first = lease(ALICE);
    expect(lease(ALICE, { id: [1, 0x52, 0x55, 0x55, 0, 0, 1] })).toBe(first);
    expect(lease(ALICE)).toBe(first);
    expect(server.leases.list()).toHaveLength(1);
  });

  test("a client that had an identifier at first has the same lease without it", () => {
    const first = lease(ALICE, { id: [9] });
    expect(lease(ALICE)).toBe(first);
    expect(server.leases.list()).toHaveLength(1);
  });

  test("an identifier that comes from two cards is two clients'", () => {
    const ofAlice = lease(ALICE, { id: [7, 7] });
    expect(lease(BOB, { id: [7, 7] })).not.toBe(ofAlice);
    say({ type: RELEASE, mac: BOB, id: [7, 7], ciaddr: ofAlice });
    say({ type: DECLINE, mac: BOB, id: [7, 7], requested: ofAlice });
    expect(say({ type: REQUEST, id: [7, 7], ciaddr: ofAlice })!.type).toBe(ACK!);
  });

  test("a static lease is the client's and nobody else's", () => {
    open({ staticLeases: [{ ip: "192.168.104.1", mac: "52:55:55:00:00:02" }] });
    expect(lease(ALICE)).toBe("192.168.104.3");
    expect(lease(BOB, { id: [1, 2, 3] })).toBe("192.168.104.1");
    now += 1e12;
    expect(lease(ALICE + 7)).not.toBe("192.168.104.1");
  });

  test("a lease that has not expired is nobody else's, however few addresses are left", () => {
    open({ subnet: parseCidr("192.168.104.0/30")!, gateway: ip("192.168.104.2") });
    expect(lease(ALICE)).toBe("192.168.104.1");
    now += 3_600_000;
    expect(say({ type: DISCOVER, mac: BOB })).toBeUndefined();
    now += 1;
    expect(say({ type: DISCOVER, mac: BOB })!.yiaddr).toBe("192.168.104.1");
    // who had it before must know that it is gone
    expect(say({ type: REQUEST, ciaddr: "192.168.104.1" })!.type).toBe(NAK!);
  });

  test("an offer that was not taken up is kept for a minute", () => {
    open({ subnet: parseCidr("192.168.104.0/30")! });
    say({ type: DISCOVER });
    now += 60_000;
    expect(say({ type: DISCOVER, mac: BOB })).toBeUndefined();
    now += 1;
    expect(say({ type: DISCOVER, mac: BOB })!.yiaddr).toBe("192.168.104.1");
    const late = say({ type: REQUEST, requested: "192.168.104.1", server: GATEWAY })!;
    expect(late.type).toBe(NAK!);
  });

  test("an expired address is not used again while there are others", () => {
    lease(ALICE);
    now += 1e9;
    expect(lease(BOB)).toBe("192.168.104.3");
  });

  test("the longest expired address is used again when no other is left", () => {
    open({ subnet: parseCidr("192.168.104.0/29")! });
    const all = Array.from({ length: 5 }, (_, i) => {
      now += 1000;
      return lease(ALICE + i);
    });
    now += 3_599_000;
    expect(lease(0x525555000099)).toBe(all[0]!);
  });

  test("leases of an earlier run are kept; those that make no sense are not", () => {
    open({}, [
      { ip: "192.168.104.50", mac: "52:55:55:00:00:01", expiresAt: 2_000_000 },
      { ip: GATEWAY, mac: "52:55:55:00:00:02", expiresAt: 2_000_000 },
      { ip: "10.0.0.1", mac: "52:55:55:00:00:03", expiresAt: 2_000_000 },
      { ip: "nonsense", mac: "52:55:55:00:00:04", expiresAt: 2_000_000 },
    ]);
    expect(server.leases.list().map((stored) => stored.ip)).toEqual(["192.168.104.50"]);
    expect(lease(ALICE)).toBe("192.168.104.50");
  });

  test("a host name is kept when it can be shown", () => {
    lease(ALICE, { hostname: "lima-alpha" });
    lease(BOB, { hostname: 'x"; rm -rf' });
    // RFC 2132 2: a client may end a text with NUL
    lease(BOB + 1, { hostname: "nul\0" });
    lease(BOB + 2, { hostname: "\0" });
    expect(server.leases.list().map((stored) => stored.hostname)).toEqual([
      "lima-alpha",
      undefined,
      "nul",
      undefined,
    ]);
  });
});

describe("REQUEST (RFC 2131 4.3.2)", () => {
  test.each<[string, Partial<Said>, number]>([
    [
      "SELECTING with another address than offered",
      { server: GATEWAY, requested: "192.168.104.9" },
      NAK!,
    ],
    ["INIT-REBOOT with the address it has", { requested: "192.168.104.1" }, ACK!],
    ["INIT-REBOOT with another address", { requested: "192.168.104.9" }, NAK!],
    ["INIT-REBOOT on another network", { requested: "10.0.0.5" }, NAK!],
    ["SELECTING without saying what", { server: GATEWAY }, NAK!],
    ["INIT-REBOOT with the gateway's address", { requested: GATEWAY }, NAK!],
    ["RENEWING the gateway's address", { ciaddr: GATEWAY }, NAK!],
    ["RENEWING an address of another network", { ciaddr: "10.0.0.5" }, NAK!],
    ["RENEWING the address it has", { ciaddr: "192.168.104.1" }, ACK!],
    ["RENEWING an address it has not", { ciaddr: "192.168.104.9" }, NAK!],
  ])("%s", (_what, said, type) => {
    lease(ALICE);
    const answer = say({ type: REQUEST, ...said })!;
    expect(answer.type).toBe(type);
    if (type === NAK)
      expect([answer.to, answer.mac]).toEqual(["255.255.255.255", formatMac(BROADCAST)]);
  });

  test("with no address at all it is not answered", () => {
    expect(say({ type: REQUEST })).toBeUndefined();
    expect(server.leases.list()).toEqual([]);
  });

  test("SELECTING what nobody has offered is refused", () => {
    expect(say({ type: REQUEST, server: GATEWAY, requested: "192.168.104.1" })!.type).toBe(NAK!);
    expect(server.leases.list()).toEqual([]);
    expect(counters.values["dhcp-nak"]).toBe(1);
  });

  test("RENEWING is answered to the address the client has (4.1)", () => {
    lease(ALICE);
    expect(say({ type: REQUEST, ciaddr: "192.168.104.1", broadcast: true })).toMatchObject({
      type: ACK,
      ciaddr: "192.168.104.1",
      yiaddr: "192.168.104.1",
      to: "192.168.104.1",
      mac: formatMac(ALICE),
    });
  });

  test("a client without identifier may renew what it leased with one", () => {
    lease(ALICE, { id: [1, 2] });
    expect(say({ type: REQUEST, ciaddr: "192.168.104.1" })!.type).toBe(ACK!);
  });

  test("a NAK says nothing but who refuses (table 3)", () => {
    lease(ALICE);
    const nak = say({ type: REQUEST, ciaddr: "192.168.104.9" })!;
    expect([nak.ciaddr, nak.yiaddr, nak.siaddr]).toEqual(["0.0.0.0", "0.0.0.0", "0.0.0.0"]);
    expect([...nak.options.keys()]).toEqual([53, 54]);
  });

  test("SELECTING another server frees what was offered, without an answer", () => {
    const offered = say({ type: DISCOVER })!.yiaddr;
    expect(say({ type: REQUEST, server: "192.168.104.250", requested: offered })).toBeUndefined();
    now += 1;
    expect(server.leases.list()).toEqual([]);
  });

  test("renewing makes the lease longer", () => {
    lease(ALICE);
    now += 1_800_000;
    say({ type: REQUEST, ciaddr: "192.168.104.1" });
    expect(server.leases.list()[0]!.expiresAt).toBe(now + 3_600_000);
  });

  test("a client of an earlier life keeps a free address, and is refused one that is taken", () => {
    expect(say({ type: REQUEST, requested: "192.168.104.40" })!.type).toBe(ACK);
    expect(say({ type: REQUEST, mac: BOB, requested: "192.168.104.40" })!.type).toBe(NAK);
    expect(say({ type: REQUEST, mac: BOB, ciaddr: "192.168.104.41" })!.type).toBe(ACK);
  });
});

describe("the other messages", () => {
  test("RELEASE gives the address back; it is offered to the same client first", () => {
    const mine = lease(ALICE);
    say({ type: RELEASE, ciaddr: mine });
    expect(server.leases.list()[0]!.expiresAt).toBe(now);
    expect(lease(ALICE)).toBe(mine);
  });

  test("what was released is another's when no other address is left", () => {
    open({ subnet: parseCidr("192.168.104.0/30")! });
    say({ type: RELEASE, ciaddr: lease(ALICE) });
    now += 1;
    expect(lease(BOB)).toBe("192.168.104.1");
  });

  test.each<[string, Partial<Said>]>([
    ["RELEASE", { type: RELEASE!, ciaddr: "192.168.104.1" }],
    ["DECLINE", { type: DECLINE!, requested: "192.168.104.1", server: GATEWAY }],
  ])("%s of a static lease changes nothing and is not answered", (_what, said) => {
    open({ staticLeases: [{ ip: "192.168.104.1", mac: "52:55:55:00:00:01" }] });
    lease(ALICE);
    expect(say(said as Said)).toBeUndefined();
    now += 1;
    expect(lease(ALICE)).toBe("192.168.104.1");
  });

  test.each([
    ["another's address", { requested: "192.168.104.3" }],
    ["no address", {}],
  ])("DECLINE of %s does nothing", (_what, said) => {
    lease(ALICE);
    lease(BOB);
    expect(say({ type: DECLINE, server: GATEWAY, ...said })).toBeUndefined();
    expect(server.leases.list().map((stored) => stored.ip)).toEqual([
      "192.168.104.1",
      "192.168.104.3",
    ]);
  });

  test("a declined address is offered to nobody, not even to who asks for it", () => {
    say({ type: DECLINE, requested: lease(ALICE), server: GATEWAY });
    expect(say({ type: DISCOVER, mac: BOB, requested: "192.168.104.1" })!.yiaddr).toBe(
      "192.168.104.3",
    );
    expect(say({ type: REQUEST, mac: BOB + 1, requested: "192.168.104.1" })!.type).toBe(NAK!);
  });

  test.each([OFFER, ACK, NAK, 0, 9, 255])("type %d is no client's and is not answered", (type) => {
    expect(say({ type: type!, requested: "192.168.104.1", server: GATEWAY })).toBeUndefined();
    expect(server.leases.list()).toEqual([]);
  });

  test("RELEASE of another's address does nothing", () => {
    lease(ALICE);
    const bobs = lease(BOB);
    say({ type: RELEASE, ciaddr: bobs });
    expect(server.leases.list().every(({ expiresAt }) => expiresAt! > now)).toBe(true);
  });

  test("DECLINE takes the address out of use for a while", () => {
    const mine = lease(ALICE);
    say({ type: DECLINE, requested: mine, server: GATEWAY });
    expect(lease(ALICE)).not.toBe(mine);
    now += 600_001;
    expect(say({ type: DISCOVER, mac: BOB, requested: mine })!.yiaddr).toBe(mine);
  });

  test("INFORM is told parameters and no lease (4.3.5)", () => {
    const answer = say({ type: INFORM, ciaddr: "192.168.104.9" })!;
    expect(answer).toMatchObject({ type: ACK, yiaddr: "0.0.0.0", to: "192.168.104.9" });
    for (const code of [51, 58, 59]) expect(answer.options.has(code)).toBe(false);
    for (const code of [1, 3, 6, 15, 26, 54, 119, 121]) expect(answer.options.has(code)).toBe(true);
    expect(server.leases.list()).toEqual([]);
  });

  test.each<[string, Partial<Said>, string, number]>([
    ["to the address it will have", {}, "192.168.104.1", ALICE],
    ["to all, when the client asks for that", { broadcast: true }, "255.255.255.255", BROADCAST],
  ])("an offer goes %s (4.1)", (_what, said, to, mac) => {
    expect(say({ type: DISCOVER, ...said })).toMatchObject({ to, mac: formatMac(mac) });
  });

  test("the fields by which the client knows the reply are its own (table 3)", () => {
    expect(say({ type: DISCOVER, broadcast: true })).toMatchObject({
      xid: 0x1234_5678,
      flags: 0x8000,
      ciaddr: "0.0.0.0",
      siaddr: "0.0.0.0",
      giaddr: "0.0.0.0",
      chaddr: `525555000001${"00".repeat(10)}`,
    });
    expect(say({ type: DISCOVER })!.flags).toBe(0);
  });

  test("an OFFER has no ciaddr, whatever the DISCOVER had, and goes to the new address (table 3)", () => {
    expect(say({ type: DISCOVER, ciaddr: "10.9.8.7" })).toMatchObject({
      ciaddr: "0.0.0.0",
      to: "192.168.104.1",
    });
  });

  test.each<[string, Partial<Said>, number]>([
    ["OFFER", { type: DISCOVER! }, OFFER!],
    ["ACK", { type: REQUEST!, requested: "192.168.104.5" }, ACK!],
    ["NAK", { type: REQUEST!, requested: "10.0.0.1" }, NAK!],
  ])("an identifier comes back unaltered in the %s (RFC 6842)", (_what, said, type) => {
    const { options } = say({ ...said, id: [255, 0, 1] } as Said)!;
    expect(options.get(53)).toEqual(new Uint8Array([type]));
    expect(dump(options.get(61)!)).toBe("ff0001");
  });

  test("a guest that speaks for another is not answered", () => {
    expect(say({ type: DISCOVER, mac: ALICE }, BOB)).toBeUndefined();
    expect(counters.values["dhcp-wrong-hardware-address"]).toBe(1);
  });

  test("a relay is not answered, for others or for itself", () => {
    const address = lease(ALICE);
    const giaddr = "192.168.104.99";
    expect(say({ type: RELEASE, mac: ALICE, ciaddr: address, giaddr }, BOB)).toBeUndefined();
    expect(say({ type: DISCOVER, mac: BOB, giaddr })).toBeUndefined();
    expect(counters.values).toEqual({ "dhcp-relayed": 2 });
    expect(server.leases.list()).toMatchObject([{ ip: address, expiresAt: now + 3_600_000 }]);
  });
});

describe("a port whose guests want everything", () => {
  const at = (port: number, mac: number): string => {
    const offered = say({ type: DISCOVER, mac }, mac, port)!.yiaddr;
    say({ type: REQUEST, mac, requested: offered, server: GATEWAY }, mac, port);
    return offered;
  };

  test("has sixteen leases; the seventeenth takes the place of the one that would end first", () => {
    const first = at(1, ALICE);
    const got: string[] = [];
    for (let n = 1; n <= 300; n++) {
      now += 1000;
      got.push(at(1, ALICE + n));
    }
    expect(server.leases.list()).toHaveLength(16);
    expect(counters.values).toEqual({ "dhcp-port-limit": 285 });
    expect(say({ type: REQUEST, mac: ALICE, ciaddr: first }, ALICE, 1)!.type).toBe(NAK!);
    expect(at(2, BOB + 1000)).not.toBe("0.0.0.0");
    expect(got).not.toContain(at(2, BOB + 1001));
  });

  test.each<[how: string, port: number, between: (had: [number, string][]) => void]>([
    [
      "gives back",
      1,
      (had) => had.forEach(([mac, ciaddr]) => say({ type: RELEASE, mac, ciaddr }, mac, 1)),
    ],
    ["lets end", 1, () => void (now += 3_600_001)],
    ["has had at another port", 2, () => {}],
  ])("has no seventeenth by asking again for what it %s", (_, port, between) => {
    const had = Array.from({ length: 16 }, (_each, n): [number, string] => [
      ALICE + n,
      at(1, ALICE + n),
    ]);
    between(had);
    for (let n = 0; n < 16; n++) at(port, ALICE + 100 + n);
    for (const [mac, requested] of had.slice(0, 8))
      say({ type: REQUEST, mac, requested }, mac, port);
    for (const [mac, ciaddr] of had.slice(8)) say({ type: REQUEST, mac, ciaddr }, mac, port);
    at(port, ALICE);
    const inForce = server.leases.list().filter(({ expiresAt = 0 }) => expiresAt > now);
    expect(inForce).toHaveLength(16);
  });

  test("has sixteen offers at a time", () => {
    for (let n = 0; n < 300; n++) say({ type: DISCOVER, mac: ALICE + n }, ALICE + n, 1);
    expect(at(2, BOB + 1000)).toBe("192.168.104.18");
  });

  test("takes sixteen addresses out of use, and then lets one go for each further", () => {
    for (let n = 0; n < 300; n++) {
      const mac = ALICE + n;
      say({ type: DECLINE, mac, requested: at(1, mac) }, mac, 1);
    }
    const taken = Array.from({ length: 200 }, (_, n) => at(10 + n, BOB + 1000 + n));
    expect(new Set(taken).size).toBe(200);
  });

  test("leaves its oldest lease to its own clients only", () => {
    const other = at(2, BOB);
    for (let n = 0; n < 20; n++) at(1, ALICE + 100 + n);
    expect(say({ type: REQUEST, mac: BOB, ciaddr: other }, BOB, 2)!.type).toBe(ACK!);
  });
});

test("an address that another port's guest uses without a lease is neither offered nor confirmed", () => {
  open({ isHeldByOther: (address, port) => port === 0 && address === ip("192.168.104.1") });
  const wanted = "192.168.104.1";
  expect(say({ type: DISCOVER, requested: wanted })!.yiaddr).not.toBe(wanted);
  expect(say({ type: REQUEST, mac: BOB, requested: wanted })!.type).toBe(NAK!);
  expect(say({ type: REQUEST, mac: BOB, ciaddr: wanted })!.type).toBe(NAK!);
  expect(say({ type: REQUEST, mac: BOB + 1, ciaddr: wanted }, BOB + 1, 7)!.type).toBe(ACK!);
});

describe("malformed messages", () => {
  const whole = message({ type: 1 });
  const changed = (at: number, octet: number) => {
    const octets = whole.slice();
    octets[at] = octet;
    return octets;
  };
  test.each([
    ["too short", whole.slice(0, 239), "dhcp-truncated"],
    ["a reply", changed(0, 2), "dhcp-not-a-request"],
    ["other hardware", changed(1, 6), "dhcp-hardware"],
    ["another address length", changed(2, 16), "dhcp-hardware"],
    ["another cookie", changed(236, 0), "dhcp-magic"],
    ["no type", changed(240, 60), "dhcp-no-type"],
    ["an option beyond the end", whole.slice(0, 241), "dhcp-option"],
  ])("%s is counted and not answered", (_what, octets, drop) => {
    expect(server.onMessage(now, octets, ALICE, 0)).toBeUndefined();
    expect(counters.values[drop]).toBe(1);
  });

  test("options may go on in the file and name fields (option 52)", () => {
    const octets = message({ type: DISCOVER! });
    // 53 moves to the file field, 50 to the name field
    octets.set([52, 1, 3, 255], 240);
    octets.set([53, 1, 1, 255], 108);
    octets.set([50, 4, 192, 168, 104, 66, 255], 44);
    expect(read(server.onMessage(now, octets, ALICE, 0))!.yiaddr).toBe("192.168.104.66");
  });

  test("no address is two clients', whatever they say", () => {
    const address = fc.integer({ min: 0, max: 7 }).map((last) => `192.168.104.${last}`);
    const word = fc.record(
      {
        type: fc.constantFrom(DISCOVER!, REQUEST!, REQUEST!, DECLINE!, RELEASE!, INFORM!),
        mac: fc.integer({ min: ALICE, max: ALICE + 5 }),
        requested: address,
        ciaddr: address,
        server: fc.constantFrom(GATEWAY, "192.168.104.250"),
      },
      { requiredKeys: ["type", "mac"] },
    );
    const step = fc.tuple(word, fc.constantFrom(0, 1, 30_000, 60_001, 3_600_001));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        open({ subnet: parseCidr("192.168.104.0/29")! });
        const owners = new Map<string, { mac: number; until: number }>();
        for (const [said, pause] of steps) {
          now += pause;
          const { mac, type } = said;
          const answer = say(said);
          if (type === RELEASE && owners.get(said.ciaddr ?? "")?.mac === mac)
            owners.delete(said.ciaddr!);
          if (type === DECLINE && owners.get(said.requested ?? "")?.mac === mac)
            owners.delete(said.requested!);
          if (answer === undefined || answer.yiaddr === "0.0.0.0") continue;
          const owner = owners.get(answer.yiaddr);
          expect(["192.168.104.0", GATEWAY, "192.168.104.7"]).not.toContain(answer.yiaddr);
          if (owner !== undefined && owner.mac !== mac) expect(owner.until).toBeLessThan(now);
          if (answer.type === ACK) owners.set(answer.yiaddr, { mac, until: now + 3_600_000 });
        }
      }),
    );
  });

  test("whatever comes, nothing is thrown", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 120 }), fc.nat(399), (noise, at) => {
        const octets = message({ type: 1 });
        octets.set(noise.subarray(0, octets.length - at), at);
        server.onMessage(now, octets, ALICE, 0);
        server.onMessage(now, noise, ALICE, 0);
      }),
      { numRuns: 500 },
    );
  });
});
