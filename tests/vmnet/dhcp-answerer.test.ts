import { beforeEach, expect, test } from "bun:test";
import { formatIpv4, parseCidr, parseIpv4 } from "../../lib/addr/ipv4.ts";
import { DhcpServer, type DhcpPlan } from "../../lib/service/dhcp/server.ts";
import { Counters } from "../../lib/trace/counters.ts";
import { DhcpAnswerer } from "../../lib/vmnet/dhcp-answerer.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { emitDhcp, parseDhcp } from "../../lib/wire/dhcpv4.ts";
import { destinationMac, emitEthernet, sourceMac } from "../../lib/wire/ethernet.ts";
import { emitIpv4, Ipv4View } from "../../lib/wire/ipv4.ts";
import { checkUdp, emitUdp, udpDstPort, udpSrcPort } from "../../lib/wire/udp.ts";

const GUEST = 0x525400000001;
const OTHER = 0x525400000002;
const HOST = 0x525400000099;
const GATEWAY = parseIpv4("192.168.105.1")!;
const PLAN: DhcpPlan = {
  subnet: parseCidr("192.168.105.0/24")!,
  gateway: GATEWAY,
  dns: GATEWAY,
  reserved: [],
  first: GATEWAY + 1,
  last: GATEWAY + 2,
  mtu: 1500,
  leaseSeconds: 3600,
  domainName: undefined,
  searchDomains: [],
  staticLeases: [],
};

let answerer: DhcpAnswerer;
const open = (plan: Partial<DhcpPlan> = {}) => {
  answerer = new DhcpAnswerer(
    new DhcpServer({ ...PLAN, ...plan }, [], new Counters()),
    GATEWAY,
    HOST,
  );
};
beforeEach(() => open());

interface Sent {
  from?: number;
  to?: number;
  srcPort?: number;
  dstPort?: number;
  protocol?: number;
  fragment?: number;
  chaddr?: number;
  ethertype?: number;
}

/** a DISCOVER of a guest, in the middle of other octets */
function discover(sent: Sent = {}): { buf: Uint8Array; start: number; end: number } {
  const chaddr = sent.chaddr ?? GUEST;
  const message = emitDhcp({
    type: 1,
    xid: 7,
    secs: 0,
    broadcast: false,
    ciaddr: 0,
    yiaddr: 0,
    giaddr: 0,
    chaddr,
    options: new Map(),
  });
  // a reply by its first octet: the client's messages say 1
  message[0] = 1;
  const buf = new Uint8Array(message.length + 64).fill(0xa5);
  const start = 5;
  const packet = emitEthernet(
    buf,
    start,
    0xffffffffffff,
    sent.from ?? GUEST,
    sent.ethertype ?? 0x0800,
  );
  const dst = sent.to ?? 0xffffffff;
  const datagram = emitIpv4(
    {
      src: 0,
      dst,
      protocol: sent.protocol ?? 17,
      ttl: 64,
      identification: 1,
      fragment: sent.fragment ?? 0,
      payloadLength: 8 + message.length,
    },
    buf,
    packet,
  );
  buf.set(message, datagram + 8);
  emitUdp(
    buf,
    datagram,
    0,
    dst,
    sent.srcPort ?? 68,
    sent.dstPort ?? 67,
    message.length,
    sumOctetsOf(buf),
  );
  return { buf, start, end: datagram + 8 + message.length };
}

const say = (sent?: Sent) => {
  const { buf, start, end } = discover(sent);
  return answerer.onGuestFrame(1000, buf, start, end, 0);
};

test("a DISCOVER is answered by a whole frame to that guest", () => {
  const frame = say() as Uint8Array;
  expect([destinationMac(frame, 0), sourceMac(frame, 0)]).toEqual([GUEST, HOST]);
  const packet = new Ipv4View();
  const sum = sumOctetsOf(frame);
  expect(packet.read(frame, 14, frame.length, sum)).toBeUndefined();
  expect(packet.end).toBe(frame.length);
  expect([packet.src, packet.dst].map(formatIpv4)).toEqual(["192.168.105.1", "192.168.105.2"]);
  expect(checkUdp(frame, packet.payload, packet.end, packet.src, packet.dst, sum)).toBeUndefined();
  expect([udpSrcPort(frame, packet.payload), udpDstPort(frame, packet.payload)]).toEqual([67, 68]);
  expect(formatIpv4(new DataView(frame.buffer).getUint32(packet.payload + 8 + 16))).toBe(
    "192.168.105.2",
  );
});

test.each<[string, Sent, "forward" | "drop"]>([
  ["another port", { dstPort: 69 }, "forward"],
  ["TCP", { protocol: 6 }, "forward"],
  ["no IPv4", { ethertype: 0x86dd }, "forward"],
  ["a later fragment", { fragment: 100 }, "forward"],
  ["to another host", { to: parseIpv4("192.168.105.9")! }, "forward"],
  ["a guest that plays the server", { srcPort: 67, dstPort: 68 }, "drop"],
  ["one guest for another", { chaddr: OTHER }, "drop"],
])("%s: %#", (_what, sent, verdict) => {
  expect(say(sent)).toBe(verdict);
});

test("any cut of a frame is survived", () => {
  const { buf, start, end } = discover();
  for (let cut = start; cut < end; cut++)
    expect(["forward", "drop"]).toContain(
      answerer.onGuestFrame(1000, buf, start, cut, 0) as string,
    );
});

test("a damaged frame is not answered", () => {
  const { buf, start, end } = discover();
  buf[end - 1]! ^= 1;
  expect(answerer.onGuestFrame(1000, buf, start, end, 0)).toBe("drop");
});

test("no address beyond the last one of the plan", () => {
  const answers = [1, 2, 3].map((n) => say({ from: GUEST + n, chaddr: GUEST + n }));
  expect(answers.map((answer) => typeof answer)).toEqual(["object", "object", "string"]);
});

test("a router and a default route are told unless the network is closed", () => {
  for (const isClosed of [false, true]) {
    open({ isClosed });
    const reply = (say() as Uint8Array).slice(42);
    reply[0] = 1;
    const message = parseDhcp(reply);
    if (typeof message === "string") throw new Error(message);
    const codes = [3, 121].map((code) => message.options.has(code));
    expect(codes).toEqual([!isClosed, !isClosed]);
  }
});
