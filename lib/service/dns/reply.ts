/**
 * Replies as octets. A body is a reply without OPT that answers everybody who asks the same question; `finish` makes
 * it one client's: id, flags, the letters of the question, aged TTLs, EDNS, and the length the client takes.
 */
import {
  HEADER_LENGTH,
  isPlainName,
  recordOctets,
  TYPE,
  u16,
  u32,
  type Query,
  type RecordPlace,
  type Shape,
} from "./message.ts";

/** the smallest reply every client takes (RFC 1035 4.2.1) */
const CLASSIC_UDP_LIMIT = 512;
/** what is told to clients as our own limit: the largest that is never a fragment in practice (DNS flag day 2020) */
export const UDP_PAYLOAD_SIZE = 1232;
/** more than this is never sent in one datagram, whatever the client says it takes */
const MAX_UDP_REPLY = 4096;
const MAX_TCP_REPLY = 65535;
const OPT_LENGTH = 11;
/** a name that is the question's */
const QUESTION_POINTER = [0xc0, HEADER_LENGTH];

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** RFC 6891 9: its upper bits stand in the OPT record */
  BADVERS: 16,
} as const;

export type Transport = "udp" | "tcp";

/** A record of an answer; its owner is the question's name unless it says another. */
export interface Record {
  owner?: string;
  type: "A" | "AAAA" | "CNAME" | "PTR";
  ttl: number;
  data: string;
}

/** An empty reply that needs no more of a message than its header. */
export function headerReply(message: Uint8Array, rcode: number): Uint8Array {
  const out = new Uint8Array(HEADER_LENGTH);
  out[0] = message[0]!;
  out[1] = message[1]!;
  out[2] = 0x80 | (message[2]! & 0x79);
  out[3] = 0x80 | rcode;
  return out;
}

/** A body of our own making. */
export function bodyOf(query: Query, rcode: number, records: readonly Record[] = []): Uint8Array {
  const parts = records.map(({ owner, type, ttl, data }) => [
    owner === undefined ? QUESTION_POINTER : nameOctets(owner),
    recordOctets(type, ttl, data),
  ]);
  const pieces = [query.octets.subarray(HEADER_LENGTH, query.questionEnd), ...parts.flat()];
  const length = pieces.reduce((sum, piece) => sum + piece.length, HEADER_LENGTH);
  const body = new Uint8Array(length);
  // response; recursion available
  body[2] = 0x80;
  body[3] = 0x80 | (rcode & 15);
  body[5] = 1;
  body[6] = records.length >>> 8;
  body[7] = records.length & 255;
  let at = HEADER_LENGTH;
  for (const piece of pieces) {
    body.set(piece, at);
    at += piece.length;
  }
  return body;
}

function nameOctets(name: string): number[] {
  if (!isPlainName(name)) throw new RangeError(`not a DNS name: ${name}`);
  const labels = name.replace(/\.$/, "").split(".");
  return [
    ...labels.flatMap((label) => [label.length, ...Array.from(label, (c) => c.charCodeAt(0))]),
    0,
  ];
}

/** A name server's reply as a body; undefined when it cannot serve others (cut short, too long, or OPT not at its end). */
export function bodyOfReply(reply: Uint8Array, shape: Shape): Uint8Array | undefined {
  if ((reply[2]! & 2) !== 0 || u16(reply, 4) !== 1) return undefined;
  // names may point into what stands behind the last record
  if (shape.end !== reply.length) return undefined;
  const opt = shape.records.findIndex(({ type }) => type === TYPE.OPT);
  if (opt < 0) return new Uint8Array(reply);
  const { nameAt, ttlAt } = shape.records[opt]!;
  // an OPT elsewhere, or with an RCODE of its own
  if (opt !== shape.records.length - 1 || reply[ttlAt] !== 0) return undefined;
  const body = new Uint8Array(reply.subarray(0, nameAt));
  const additionals = u16(body, 10) - 1;
  body[10] = additionals >>> 8;
  body[11] = additionals & 255;
  return body;
}

/** The places of the TTLs that grow less with age. */
export const ttlPlaces = (records: readonly RecordPlace[]): number[] =>
  records.filter(({ type }) => type !== TYPE.OPT).map(({ ttlAt }) => ttlAt);

/** A body made one client's reply. */
export function finish(
  body: Uint8Array,
  query: Query,
  transport: Transport,
  aged: { ttlsAt: readonly number[]; seconds: number } = { ttlsAt: [], seconds: 0 },
  extendedRcode = 0,
): Uint8Array {
  const { octets, edns, questionEnd } = query;
  const length = body.length + (edns === undefined ? 0 : OPT_LENGTH);
  if (length > room(query, transport)) return truncated(body, query, extendedRcode);
  const out = new Uint8Array(length);
  out.set(body);
  for (let at = HEADER_LENGTH; at < questionEnd; at++) out[at] = octets[at]!;
  if (aged.seconds > 0) for (const at of aged.ttlsAt) age(out, at, aged.seconds);
  address(out, query);
  if (edns !== undefined) putOpt(out, body.length, edns.dnssecOk, extendedRcode);
  return out;
}

/** A fresh reply of a name server for one of those who asked: nothing but the id and the letters of the question change. */
export function passOn(reply: Uint8Array, query: Query, transport: Transport): Uint8Array {
  if (reply.length > room(query, transport)) return truncated(reply, query, 0);
  const out = new Uint8Array(reply);
  out[0] = query.octets[0]!;
  out[1] = query.octets[1]!;
  if (u16(out, 4) === 1)
    out.set(query.octets.subarray(HEADER_LENGTH, query.questionEnd), HEADER_LENGTH);
  return out;
}

function room({ edns }: Query, transport: Transport): number {
  if (transport === "tcp") return MAX_TCP_REPLY;
  return Math.min(MAX_UDP_REPLY, Math.max(CLASSIC_UDP_LIMIT, edns?.payloadSize ?? 0));
}

/** RFC 2181 9: with TC set a reply need hold no more than the question; the client asks again by TCP. */
function truncated(reply: Uint8Array, query: Query, extendedRcode: number): Uint8Array {
  const { edns, octets, questionEnd } = query;
  const out = new Uint8Array(questionEnd + (edns === undefined ? 0 : OPT_LENGTH));
  out.set(octets.subarray(0, questionEnd));
  // AA, TC; RA, AD and RCODE as they were
  out[2] = 0x82 | (reply[2]! & 0x04);
  out[3] = reply[3]! & 0xaf;
  out.fill(0, 6, HEADER_LENGTH);
  address(out, query);
  if (edns !== undefined) putOpt(out, questionEnd, edns.dnssecOk, extendedRcode);
  return out;
}

/** id, RD and CD are the client's */
function address(out: Uint8Array, { octets }: Query): void {
  out[0] = octets[0]!;
  out[1] = octets[1]!;
  out[2] = (out[2]! & 0xfe) | (octets[2]! & 0x01);
  out[3] = (out[3]! & 0xef) | (octets[3]! & 0x10);
}

function age(out: Uint8Array, at: number, seconds: number): void {
  const ttl = Math.max(0, u32(out, at) - seconds);
  out[at] = ttl >>> 24;
  out[at + 1] = ttl >>> 16;
  out[at + 2] = ttl >>> 8;
  out[at + 3] = ttl;
}

/** RFC 6891 6.1.1: an OPT in the query asks for one in the reply, whatever else is left out of it. */
function putOpt(out: Uint8Array, at: number, dnssecOk: boolean, extendedRcode: number): void {
  const additionals = u16(out, 10) + 1;
  out[10] = additionals >>> 8;
  out[11] = additionals & 255;
  out[at + 2] = TYPE.OPT;
  out[at + 3] = UDP_PAYLOAD_SIZE >>> 8;
  out[at + 4] = UDP_PAYLOAD_SIZE & 255;
  out[at + 5] = extendedRcode >>> 4;
  out[at + 7] = dnssecOk ? 0x80 : 0;
}
