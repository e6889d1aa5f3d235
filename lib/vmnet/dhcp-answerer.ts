/** DHCP at a network's switch: a guest's frame in, the frame that answers it out (RFC 2131 4.1), on systems that have no bootpd. */
import { LIMITED_BROADCAST } from "../addr/ipv4.ts";
import type { DhcpServer } from "../service/dhcp/server.ts";
import { sumOctetsOf } from "../wire/checksum.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "../wire/dhcpv4.ts";
import {
  emitEthernet,
  ETHERNET_HEADER_LENGTH,
  ETHERTYPE_IPV4,
  etherType,
  sourceMac,
} from "../wire/ethernet.ts";
import { emitIpv4, IPV4_HEADER_LENGTH, Ipv4View, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { u16 } from "../wire/octets.ts";
import { checkUdp, emitUdp, UDP_HEADER_LENGTH, udpDstPort, udpSrcPort } from "../wire/udp.ts";

const TTL = 64;
const SHORTEST = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH + UDP_HEADER_LENGTH;

export class DhcpAnswerer {
  readonly #server: DhcpServer;
  readonly #gateway: number;
  readonly #gatewayMac: number;
  readonly #packet = new Ipv4View();

  constructor(server: DhcpServer, gateway: number, gatewayMac: number) {
    this.#server = server;
    this.#gateway = gateway;
    this.#gatewayMac = gatewayMac;
  }

  /**
   * "forward": the frame is none of DHCP's. "drop": it is, and concerns no other guest, a guest that plays the server
   * included. Otherwise the frame to send back, to this guest alone. `now` is Unix time in milliseconds, `port` the guest's.
   */
  onGuestFrame(
    now: number,
    buf: Uint8Array,
    start: number,
    end: number,
    port: number,
  ): Uint8Array | "forward" | "drop" {
    if (!isDhcp(buf, start, end)) return "forward";
    const sum = sumOctetsOf(buf);
    const packet = this.#packet;
    if (packet.read(buf, start + ETHERNET_HEADER_LENGTH, end, sum) !== undefined) return "drop";
    const { payload, src, dst } = packet;
    if (checkUdp(buf, payload, packet.end, src, dst, sum) !== undefined) return "drop";
    if (udpSrcPort(buf, payload) === DHCP_SERVER_PORT) return "drop";
    if (dst !== LIMITED_BROADCAST && dst !== this.#gateway) return "forward";
    const message = buf.slice(payload + UDP_HEADER_LENGTH, packet.end);
    const reply = this.#server.onMessage(now, message, sourceMac(buf, start), port);
    return reply === undefined ? "drop" : this.#frame(reply.message, reply.address, reply.mac);
  }

  #frame(message: Uint8Array, address: number, mac: number): Uint8Array {
    const frame = new Uint8Array(SHORTEST + message.length);
    frame.set(message, SHORTEST);
    const packet = emitEthernet(frame, 0, mac, this.#gatewayMac, ETHERTYPE_IPV4);
    const payloadLength = UDP_HEADER_LENGTH + message.length;
    const header = {
      src: this.#gateway,
      dst: address,
      protocol: PROTOCOL_UDP,
      ttl: TTL,
      identification: 0,
      fragment: 0,
      payloadLength,
    };
    const datagram = emitIpv4(header, frame, packet);
    const [from, to] = [DHCP_SERVER_PORT, DHCP_CLIENT_PORT];
    emitUdp(frame, datagram, this.#gateway, address, from, to, message.length, sumOctetsOf(frame));
    return frame;
  }
}

/** An unfragmented UDP datagram from or to a DHCP server's port: the one question that is asked of every frame. */
function isDhcp(buf: Uint8Array, start: number, end: number): boolean {
  if (end - start < SHORTEST || etherType(buf, start) !== ETHERTYPE_IPV4) return false;
  const packet = start + ETHERNET_HEADER_LENGTH;
  if (buf[packet + 9] !== PROTOCOL_UDP || (u16(buf, packet + 6) & 0x1fff) !== 0) return false;
  const datagram = packet + (buf[packet]! & 15) * 4;
  if (datagram + UDP_HEADER_LENGTH > end) return false;
  return (
    udpDstPort(buf, datagram) === DHCP_SERVER_PORT || udpSrcPort(buf, datagram) === DHCP_SERVER_PORT
  );
}
