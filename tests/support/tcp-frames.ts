/** TCP segments in Ethernet frames over IPv4 and IPv6, made and checked without any code of lib. */
import { checksum, hex, join, patch, word16, word32 } from "./injected-frames.ts";

export interface TcpFrame {
  ip: 4 | 6;
  /** distinguishes connections */
  port?: number;
  seq?: number;
  ack?: number;
  window?: number;
  /** FIN 1, SYN 2, RST 4, PSH 8, ACK 16, CWR 128 */
  flags?: number;
  /** hex, whole words */
  options?: string;
  identification?: number;
  dontFragment?: boolean;
  ttl?: number;
  /** hex: a tag in front of the type */
  vlan?: string;
  payload?: Uint8Array;
}

const ETHERNET = "0200000000aa 0200000000bb".replaceAll(" ", "");
const SOURCE = { 4: "c0a86902", 6: "fd000000000000000000000000000002" };
const TARGET = { 4: "c0a86901", 6: "fd000000000000000000000000000001" };
export const TIMESTAMPS = "0101080a0000000100000002";

const segmentOf = (frame: TcpFrame, of: 4 | 6): { segment: Uint8Array; pseudo: Uint8Array } => {
  const { options = "", payload = new Uint8Array(), flags = 16, window = 500 } = frame;
  const words = (5 + options.length / 8).toString(16);
  const segment = hex`
    ${word16(frame.port ?? 4000)} 0050 ${word32((frame.seq ?? 0) >>> 0)} ${word32(frame.ack ?? 7)}
    ${words}0 ${flags.toString(16).padStart(2, "0")} ${word16(window)} 0000 0000 ${options} ${payload}`;
  return { segment, pseudo: hex`${SOURCE[of]} ${TARGET[of]} 0006 ${word16(segment.length)}` };
};

const put = (octets: Uint8Array, at: number, value: number) =>
  patch(octets, at, value >>> 8, value & 255);

/** `isPartial`: in the checksum's place stands the sum of the pseudo header alone, as the host leaves it */
export function tcpFrame(frame: TcpFrame, isPartial = false): Uint8Array {
  const { segment, pseudo } = segmentOf(frame, frame.ip);
  const sum = isPartial ? 0xffff - checksum(pseudo) : checksum(join(pseudo, segment));
  const tcp = put(segment, 16, sum);
  const tag = frame.vlan === undefined ? "" : `8100${frame.vlan}`;
  const ttl = (frame.ttl ?? 64).toString(16).padStart(2, "0");
  if (frame.ip === 6)
    return hex`${ETHERNET} ${tag} 86dd 60000000 ${word16(tcp.length)} 06 ${ttl} ${SOURCE[6]} ${TARGET[6]} ${tcp}`;
  const header = hex`4500 ${word16(20 + tcp.length)} ${word16(frame.identification ?? 1)}
    ${frame.dontFragment === false ? "0000" : "4000"} ${ttl} 06 0000 ${SOURCE[4]} ${TARGET[4]}`;
  return hex`${ETHERNET} ${tag} 0800 ${put(header, 10, checksum(header))} ${tcp}`;
}

/** where the IP packet and the TCP segment of a frame begin */
export function places(frame: Uint8Array): { packet: number; segment: number; payload: number } {
  const packet = frame[12] === 0x81 ? 18 : 14;
  const segment = packet + (frame[packet]! >>> 4 === 4 ? 20 : 40);
  return { packet, segment, payload: segment + (frame[segment + 12]! >>> 4) * 4 };
}

/** The frame with its checksums made right again, after something in it was changed. */
export function resummed(frame: Uint8Array): Uint8Array {
  const { packet, segment } = places(frame);
  const isIpv4 = frame[packet]! >>> 4 === 4;
  let out = frame;
  if (isIpv4) {
    out = put(out, packet + 10, 0);
    out = put(out, packet + 10, checksum(out.subarray(packet, segment)));
  }
  out = put(out, segment + 16, 0);
  const tcp = out.subarray(segment);
  const addresses = isIpv4 ? out.subarray(packet + 12, segment) : out.subarray(packet + 8, segment);
  return put(out, segment + 16, checksum(join(addresses, hex`0006 ${word16(tcp.length)}`, tcp)));
}

/** both checksums are right, and so is the packet's length */
export function isSound(frame: Uint8Array): boolean {
  const { packet, segment } = places(frame);
  const tcp = frame.subarray(segment);
  const length = hex`0006 ${word16(tcp.length)}`;
  const said = (at: number) => frame[at]! * 256 + frame[at + 1]!;
  if (frame[packet]! >>> 4 === 6) {
    const pseudo = join(frame.subarray(packet + 8, packet + 40), length);
    return checksum(join(pseudo, tcp)) === 0 && said(packet + 4) === tcp.length;
  }
  const pseudo = join(frame.subarray(packet + 12, packet + 20), length);
  return (
    checksum(frame.subarray(packet, segment)) === 0 &&
    checksum(join(pseudo, tcp)) === 0 &&
    said(packet + 2) === frame.length - packet
  );
}
