/**
 * Frames for and from the injected network, made and read without any code of lib/wire: what one side gets wrong the
 * other does not repeat. Addresses are text; `describe` writes a frame as one line and says so when a checksum is bad.
 */

/** Octets of a hex dump with `#` comments; values are pasted in. */
export function hex(strings: TemplateStringsArray, ...values: (string | Uint8Array)[]): Uint8Array {
  const text = String.raw(
    strings,
    ...values.map((value) => (typeof value === "string" ? value : value.toHex())),
  );
  return Uint8Array.fromHex(text.replaceAll(/#.*$|\s/gm, ""));
}

export const join = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
export const text = (characters: string): Uint8Array => new TextEncoder().encode(characters);
/** octets that tell where each stands: 0, 1, 2 … 250, 0 … */
export const pattern = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => at % 251);

/** RFC 1071, in its plainest form: 0 for octets that hold their own right checksum */
export function checksum(octets: Uint8Array): number {
  const words = Array.from({ length: Math.ceil(octets.length / 2) }, (_, at) =>
    word(octets, at * 2),
  );
  return 0xffff - (words.reduce((a, b) => a + b, 0) % 0xffff || (words.some(Boolean) ? 0xffff : 0));
}

const word = (octets: Uint8Array, at: number): number => octets[at]! * 256 + (octets[at + 1] ?? 0);
const long = (octets: Uint8Array, at: number): number =>
  word(octets, at) * 65536 + word(octets, at + 2);
const digits = (value: number, octets: number): string =>
  value.toString(16).padStart(octets * 2, "0");
export const word16 = (value: number): string => digits(value, 2);
export const word32 = (value: number): string => digits(value, 4);
const mac = (address: string): string => address.replaceAll(":", "");
const ip = (address: string): string =>
  address
    .split(".")
    .map((octet) => digits(Number(octet), 1))
    .join("");

/** the same octets with some of them replaced; checksums stay as they were */
export function patch(octets: Uint8Array, at: number, ...replacement: number[]): Uint8Array {
  const out = octets.slice();
  out.set(replacement, at);
  return out;
}

// -------------------------------------------------------------------- made

export const ethernet = (to: string, from: string, type: string, payload: Uint8Array): Uint8Array =>
  hex`${mac(to)} ${mac(from)} ${type} ${payload}`;

export interface Arp {
  operation: 1 | 2;
  sha: string;
  spa: string;
  tpa: string;
  tha?: string;
}

export const arp = ({ operation, sha, spa, tha, tpa }: Arp): Uint8Array => hex`
  0001 0800 06 04 ${word16(operation)}    # Ethernet, IPv4
  ${mac(sha)} ${ip(spa)} ${mac(tha ?? "00:00:00:00:00:00")} ${ip(tpa)}`;

export interface Packet {
  src: string;
  dst: string;
  protocol: 1 | 6 | 17 | 132;
  payload: Uint8Array;
  ttl?: number;
  identification?: number;
  /** octets */
  offset?: number;
  more?: boolean;
  /** hex, whole words */
  options?: string;
}

export function ipv4(packet: Packet): Uint8Array {
  const { payload, ttl = 64, identification = 1, offset = 0, more = false, options = "" } = packet;
  const words = 5 + options.length / 8;
  const header = hex`
    4${words.toString(16)} 00 ${word16(words * 4 + payload.length)}
    ${word16(identification)} ${word16((more ? 0x2000 : 0) + offset / 8)}
    ${digits(ttl, 1)} ${digits(packet.protocol, 1)} 0000
    ${ip(packet.src)} ${ip(packet.dst)} ${options}`;
  return join(withChecksum(header, 10), payload);
}

/** puts the checksum of octets (behind those of a pseudo header) in its place */
function withChecksum(
  octets: Uint8Array,
  at: number,
  pseudo: Uint8Array = new Uint8Array(),
): Uint8Array {
  const sum = checksum(join(pseudo, octets));
  return patch(octets, at, sum >>> 8, sum & 255);
}

/** RFC 9293 3.1, RFC 768 */
const pseudoHeader = (src: string, dst: string, protocol: number, length: number): Uint8Array =>
  hex`${ip(src)} ${ip(dst)} 00 ${digits(protocol, 1)} ${word16(length)}`;

/** "ADDRESS:PORT" */
function endpoint(of: string): { address: string; port: number } {
  const [address, port] = of.split(":");
  return { address: address!, port: Number(port) };
}

export function udp(from: string, to: string, payload: Uint8Array): Packet {
  const [src, dst] = [endpoint(from), endpoint(to)];
  const length = 8 + payload.length;
  const datagram = hex`${word16(src.port)} ${word16(dst.port)} ${word16(length)} 0000 ${payload}`;
  const pseudo = pseudoHeader(src.address, dst.address, 17, length);
  const whole = withChecksum(datagram, 6, pseudo);
  return { src: src.address, dst: dst.address, protocol: 17, payload: whole };
}

/** rest: the second word of the header, as hex */
export const icmp = (
  src: string,
  dst: string,
  type: number,
  code: number,
  rest: string,
  body: Uint8Array,
): Packet => ({
  src,
  dst,
  protocol: 1,
  payload: withChecksum(hex`${digits(type, 1)} ${digits(code, 1)} 0000 ${rest} ${body}`, 2),
});

export const echo = (src: string, dst: string, rest: string, body: Uint8Array): Packet =>
  icmp(src, dst, 8, 0, rest, body);

/** letters as tcpdump has them */
const FLAGS = ["F", "S", "R", "P", "."];

export interface Segment {
  /** some of "FSRP." */
  flags: string;
  seq?: number;
  ack?: number;
  window?: number;
  /** hex, whole words */
  options?: string;
  payload?: Uint8Array;
}

export function tcp(from: string, to: string, segment: Segment): Packet {
  const [src, dst] = [endpoint(from), endpoint(to)];
  const { seq = 0, ack = 0, window = 65535, options = "", payload = text("") } = segment;
  const flags = FLAGS.reduce(
    (sum, flag, bit) => sum + (segment.flags.includes(flag) ? 2 ** bit : 0),
    0,
  );
  const octets = hex`
    ${word16(src.port)} ${word16(dst.port)} ${word32(seq)} ${word32(ack)}
    ${digits((5 + options.length / 8) * 16, 1)} ${digits(flags, 1)} ${word16(window)} 0000 0000
    ${options} ${payload}`;
  const pseudo = pseudoHeader(src.address, dst.address, 6, octets.length);
  const payloadOfIp = withChecksum(octets, 16, pseudo);
  return { src: src.address, dst: dst.address, protocol: 6, payload: payloadOfIp };
}

// -------------------------------------------------------------------- read

const macText = (octets: Uint8Array, at: number): string =>
  octets
    .slice(at, at + 6)
    .toHex()
    .replaceAll(/(..)(?=.)/g, "$1:");
const ipText = (octets: Uint8Array, at: number): string => octets.slice(at, at + 4).join(".");

/**
 * One line for a frame:
 *   arp reply 10.0.0.1 is 02:…:01
 *   8.8.8.8 > 10.0.0.5 ttl 64 id 7+1480 more: … (a fragment)
 *   8.8.8.8:53 > 10.0.0.5:4000 udp "payload"
 *   8.8.8.8:80 > 10.0.0.5:4000 tcp S. seq 1000 ack 501 win 32768 "payload"
 *   10.0.0.1 > 10.0.0.5 icmp 3/3 00000000 about 10.0.0.5:4000 > 8.8.8.8:53
 */
export function describe(frame: Uint8Array): string {
  const type = word(frame, 12);
  const payload = frame.subarray(14);
  if (type === 0x0806) {
    const kind = word(payload, 6) === 1 ? "request" : "reply";
    return kind === "request"
      ? `arp request ${ipText(payload, 24)} from ${ipText(payload, 14)} ${macText(payload, 8)}`
      : `arp reply ${ipText(payload, 14)} is ${macText(payload, 8)}`;
  }
  return type === 0x0800 ? describePacket(payload) : `type ${digits(type, 2)}`;
}

function describePacket(packet: Uint8Array): string {
  const length = word(packet, 2);
  const wrong = [
    packet[0] === 0x45 ? "" : "bad header length ",
    length === packet.length ? "" : "bad total length ",
    checksum(packet.subarray(0, 20)) === 0 ? "" : "bad header checksum ",
  ].join("");
  const [src, dst] = [ipText(packet, 12), ipText(packet, 16)];
  const fragment = word(packet, 6) & 0x3fff;
  const body = packet.subarray(20);
  if (fragment !== 0) {
    const more = fragment & 0x2000 ? " more" : "";
    const offset = (fragment & 0x1fff) * 8;
    return `${wrong}${src} > ${dst} fragment ${offset}+${body.length}${more}`;
  }
  const pseudo = pseudoHeader(src, dst, packet[9]!, body.length);
  const sum = checksum(packet[9] === 1 ? body : join(pseudo, body)) === 0 ? "" : "bad checksum ";
  return wrong + sum + describePayload(src, dst, packet[9]!, body);
}

/** payload in quotes when it is short and readable, its length otherwise, nothing when there is none */
function quoted(octets: Uint8Array): string {
  const characters = String.fromCharCode(...octets.subarray(0, 80));
  if (octets.length === 0) return "";
  return /^[ -~]{1,79}$/.test(characters) ? ` "${characters}"` : ` ${octets.length} octets`;
}

function describePayload(src: string, dst: string, protocol: number, body: Uint8Array): string {
  const ends = `${src}:${word(body, 0)} > ${dst}:${word(body, 2)}`;
  if (protocol === 17) return `${ends} udp${quoted(body.subarray(8))}`;
  if (protocol === 6) {
    const flags = FLAGS.filter((_, bit) => body[13]! & (1 << bit)).join("");
    const numbers = `seq ${long(body, 4)} ack ${long(body, 8)} win ${word(body, 14)}`;
    return `${ends} tcp ${flags} ${numbers}${quoted(body.subarray((body[12]! >>> 4) * 4))}`;
  }
  const head = `${src} > ${dst} icmp ${body[0]}/${body[1]} ${body.subarray(4, 8).toHex()}`;
  const isError = [3, 11].includes(body[0]!);
  return head + (isError ? ` about ${describeQuote(body.subarray(8))}` : quoted(body.subarray(8)));
}

/** what an ICMP error is about: header and at least 8 octets of a packet */
function describeQuote(packet: Uint8Array): string {
  const at = (packet[0]! & 15) * 4;
  const [src, dst] = [ipText(packet, 12), ipText(packet, 16)];
  return packet[9] === 1
    ? `${src} > ${dst} icmp ${packet[at]} ${packet.slice(at + 4, at + 8).toHex()}`
    : `${src}:${word(packet, at)} > ${dst}:${word(packet, at + 2)}`;
}

/** payload of the IPv4 packet in a frame */
export const payloadOf = (frame: Uint8Array): Uint8Array => frame.slice(14 + (frame[14]! & 15) * 4);
