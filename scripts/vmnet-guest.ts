/**
 * A guest without a machine, for scripts/verify-macos: on a network's stream socket it asks for an address by DHCP, finds
 * the gateway by ARP and pings it.
 *
 *   bun scripts/vmnet-guest.ts SOCKET [PINGS]
 */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { formatIpv4, LIMITED_BROADCAST } from "../lib/addr/ipv4.ts";
import { BROADCAST_MAC } from "../lib/addr/mac.ts";
import {
  ARP_REPLY,
  ARP_REQUEST,
  arpOperation,
  arpSha,
  arpSpa,
  arpTpa,
  emitArp,
} from "../lib/wire/arp.ts";
import { sumOctetsOf } from "../lib/wire/checksum.ts";
import * as dhcp from "../lib/wire/dhcpv4.ts";
import * as ethernet from "../lib/wire/ethernet.ts";
import {
  ECHO_REPLY,
  ECHO_REQUEST,
  echoIdentifier,
  emitIcmp,
  icmpType,
} from "../lib/wire/icmpv4.ts";
import { emitIpv4, Ipv4View, PROTOCOL_ICMP, PROTOCOL_UDP } from "../lib/wire/ipv4.ts";
import { put32, u32, u48 } from "../lib/wire/octets.ts";
import { emitUdp, udpDstPort } from "../lib/wire/udp.ts";

const PATIENCE_MS = 30_000;
const AGAIN_MS = 1_000;
const PING_OCTETS = 1_400;

const [path, pings = "100"] = process.argv.slice(2);
if (path === undefined) {
  process.stderr.write("vmnet-guest: Cannot attach to nothing: name the network's socket\n");
  process.exit(2);
}
const mac = u48(Uint8Array.of(0x52, 0x55, 0x55, ...randomBytes(3)), 0);
const xid = u32(randomBytes(4), 0);
const socket = connect(path);

/** Sends a frame to `to`; `fill` writes its payload and gives its end. */
function send(to: number, type: number, fill: (frame: Uint8Array, at: number) => number): void {
  const octets = new Uint8Array(4 + 1514);
  const end = fill(octets, ethernet.emitEthernet(octets, 4, to, mac, type));
  put32(octets, 0, end - 4);
  socket.write(octets.subarray(0, end));
}

function sendPacket(
  to: number,
  src: number,
  dst: number,
  protocol: number,
  payload: Uint8Array,
  complete: (buf: Uint8Array, at: number) => void,
): void {
  send(to, ethernet.ETHERTYPE_IPV4, (buf, at) => {
    const header = {
      src,
      dst,
      protocol,
      ttl: 64,
      identification: 0,
      fragment: 0,
      payloadLength: payload.length,
    };
    const body = emitIpv4(header, buf, at);
    buf.set(payload, body);
    complete(buf, body);
    return body + payload.length;
  });
}

function sendDhcp(type: number, options: [number, Uint8Array][]): void {
  const message = dhcp.emitDhcp({
    ...{ xid, secs: 0, broadcast: true, ciaddr: 0, yiaddr: 0, giaddr: 0, chaddr: mac, type },
    options: new Map(options),
  });
  // a client's message, not a server's
  message[0] = 1;
  const datagram = new Uint8Array(8 + message.length);
  datagram.set(message, 8);
  sendPacket(BROADCAST_MAC, 0, LIMITED_BROADCAST, PROTOCOL_UDP, datagram, (buf, at) =>
    emitUdp(
      buf,
      at,
      0,
      LIMITED_BROADCAST,
      dhcp.DHCP_CLIENT_PORT,
      dhcp.DHCP_SERVER_PORT,
      message.length,
      sumOctetsOf(buf),
    ),
  );
}

const arp = (to: number, operation: number, tha: number, tpa: number) =>
  send(to, ethernet.ETHERTYPE_ARP, (buf, at) =>
    emitArp(buf, at, operation, mac, address, tha, tpa),
  );
const four = (value: number): Uint8Array => {
  const octets = new Uint8Array(4);
  put32(octets, 0, value);
  return octets;
};

let address = 0;
let router = 0;
let server = 0;
let offered = 0;
let routerMac = 0;
let sent = 0;
let answered = 0;

/** The next thing to be said; it is said again until it is answered. */
function step(): void {
  if (address === 0 && offered === 0) sendDhcp(dhcp.DISCOVER, []);
  else if (address === 0)
    sendDhcp(dhcp.REQUEST, [
      [dhcp.OPTION_REQUESTED_ADDRESS, four(offered)],
      [dhcp.OPTION_SERVER_IDENTIFIER, four(server)],
    ]);
  else if (routerMac === 0) arp(BROADCAST_MAC, ARP_REQUEST, 0, router);
  else
    sendPacket(
      routerMac,
      address,
      router,
      PROTOCOL_ICMP,
      new Uint8Array(8 + PING_OCTETS).fill(++sent),
      (buf, at) =>
        emitIcmp(
          buf,
          at,
          ECHO_REQUEST,
          0,
          (xid & 0xffff_0000) | (sent & 0xffff),
          PING_OCTETS,
          sumOctetsOf(buf),
        ),
    );
}

function onDhcp(message: Uint8Array): void {
  // read like a client's, which has the same form
  message[0] = 1;
  const told = dhcp.parseDhcp(message);
  if (typeof told === "string" || told.xid !== xid) return;
  if (told.type === dhcp.OFFER && offered === 0) {
    offered = told.yiaddr;
    server = dhcp.addressOption(told, dhcp.OPTION_SERVER_IDENTIFIER) ?? 0;
  } else if (told.type === dhcp.ACK && address === 0) {
    address = told.yiaddr;
    // a network without a way out has no router; its DHCP server is the host
    router =
      told.options.get(dhcp.OPTION_ROUTER)?.length === undefined
        ? server
        : u32(told.options.get(dhcp.OPTION_ROUTER)!, 0);
    process.stdout.write(`address ${formatIpv4(address)}, gateway ${formatIpv4(router)}\n`);
  } else return;
  step();
}

function onFrame(frame: Uint8Array): void {
  const type = ethernet.etherType(frame, 0);
  const at = ethernet.ETHERNET_HEADER_LENGTH;
  if (type === ethernet.ETHERTYPE_ARP) {
    if (arpOperation(frame, at) === ARP_REQUEST && address !== 0 && arpTpa(frame, at) === address)
      arp(arpSha(frame, at), ARP_REPLY, arpSha(frame, at), arpSpa(frame, at));
    if (arpOperation(frame, at) !== ARP_REPLY || arpSpa(frame, at) !== router || routerMac !== 0)
      return;
    routerMac = arpSha(frame, at);
    step();
  } else if (type === ethernet.ETHERTYPE_IPV4) {
    const packet = new Ipv4View();
    if (packet.read(frame, at, frame.length, sumOctetsOf(frame)) !== undefined) return;
    const { payload, end, protocol } = packet;
    if (protocol === PROTOCOL_UDP && udpDstPort(frame, payload) === dhcp.DHCP_CLIENT_PORT)
      onDhcp(frame.slice(payload + 8, end));
    if (protocol !== PROTOCOL_ICMP || icmpType(frame, payload) !== ECHO_REPLY) return;
    if (echoIdentifier(frame, payload) !== xid >>> 16) return;
    if (++answered === Number(pings)) finish();
    else step();
  }
}

function finish(): void {
  process.stdout.write(`${answered} of ${sent} pings of ${PING_OCTETS} octets answered\n`);
  process.exit(answered === Number(pings) ? 0 : 1);
}

let waiting = Buffer.alloc(0);
socket.on("data", (octets: Buffer) => {
  waiting = Buffer.concat([waiting, octets]);
  for (;;) {
    const length = waiting.length < 4 ? Infinity : u32(waiting, 0);
    if (waiting.length < 4 + length) return;
    onFrame(new Uint8Array(waiting.subarray(4, 4 + length)));
    waiting = waiting.subarray(4 + length);
  }
});
socket.on("error", (error) => {
  process.stderr.write(`vmnet-guest: Cannot attach to ${path}: ${error.message}\n`);
  process.exit(1);
});
socket.on("connect", step);
setInterval(step, AGAIN_MS);
setTimeout(() => {
  process.stdout.write(
    address === 0 ? "no address by DHCP\n" : routerMac === 0 ? "no answer to ARP\n" : "",
  );
  finish();
}, PATIENCE_MS);
