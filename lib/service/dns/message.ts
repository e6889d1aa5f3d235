/**
 * DNS messages as octets (RFC 1035 4, RFC 6891). dns-packet encodes and decodes records; what had to be wrapped, and why:
 *
 * - it reads labels as UTF-8 and joins them with dots, so `a\.b` and octets above 127 come out as other names: questions
 *   are kept, compared and echoed as octets here, and names are written in the form of RFC 1035 5.1;
 * - it takes what stands behind the last record, and trusts a record's data rather than its length: `shapeOf` walks a
 *   message once with every bound checked, compression pointers only backwards, names of at most 255 octets;
 * - it turns a type or class without a name into "UNKNOWN_n" and cannot encode that: types are numbers here, and
 *   messages of any type are passed on as octets;
 * - it writes labels longer than 63 octets, which read back as pointers: `queryOctets` refuses them.
 */
import { Buffer } from "node:buffer";
import { decode, encode, type Answer, type Packet, type RecordType } from "dns-packet";

export const HEADER_LENGTH = 12;
const MAX_NAME = 255;
const MAX_LABEL = 63;

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  ANY: 255,
} as const;
export const CLASS_IN = 1;
/** EDNS option that asks for an answer made for one subnet (RFC 7871) */
const CLIENT_SUBNET = 8;

export interface Edns {
  version: number;
  payloadSize: number;
  /** DO: signatures are wanted (RFC 3225) */
  dnssecOk: boolean;
  /** the answer depends on more than the question */
  clientSubnet: boolean;
}

/** A query of one question. */
export interface Query {
  octets: Uint8Array;
  /** offset behind the question */
  questionEnd: number;
  type: number;
  class: number;
  recursionDesired: boolean;
  checkingDisabled: boolean;
  edns: Edns | undefined;
}

export interface RecordPlace {
  section: "answer" | "authority" | "additional";
  nameAt: number;
  type: number;
  class: number;
  ttlAt: number;
  dataAt: number;
  end: number;
}

/** Where the parts of a message stand. */
export interface Shape {
  /** offset behind the questions */
  questionEnd: number;
  records: RecordPlace[];
  end: number;
}

export const u16 = (octets: Uint8Array, at: number): number => (octets[at]! << 8) | octets[at + 1]!;
export const u32 = (octets: Uint8Array, at: number): number =>
  u16(octets, at) * 0x10000 + u16(octets, at + 2);
export const isReply = (octets: Uint8Array): boolean => (octets[2]! & 0x80) !== 0;
export const opcodeOf = (octets: Uint8Array): number => (octets[2]! >>> 3) & 15;
export const rcodeOf = (octets: Uint8Array): number => octets[3]! & 15;
export const isTruncated = (octets: Uint8Array): boolean => (octets[2]! & 2) !== 0;

/** Offset behind a name, or -1 where there is no name (RFC 1035 4.1.4: pointers lead to a prior place). */
function skipName(octets: Uint8Array, start: number): number {
  let at = start;
  let behind = -1;
  let before = start;
  for (let length = 0; ;) {
    const label = octets[at];
    if (label === undefined) return -1;
    if (label === 0) return behind < 0 ? at + 1 : behind;
    if (label <= MAX_LABEL) {
      length += label + 1;
      if (length >= MAX_NAME) return -1;
      at += label + 1;
      continue;
    }
    if (label < 0xc0 || at + 1 >= octets.length) return -1;
    if (behind < 0) behind = at + 2;
    const target = u16(octets, at) & 0x3fff;
    if (target < HEADER_LENGTH || target >= before) return -1;
    before = target;
    at = target;
  }
}

/** The places of all records, or undefined when the message is not one. */
export function shapeOf(octets: Uint8Array): Shape | undefined {
  if (octets.length < HEADER_LENGTH) return undefined;
  let at = HEADER_LENGTH;
  for (let left = u16(octets, 4); left > 0; left--) {
    at = skipName(octets, at);
    if (at < 0 || at + 4 > octets.length) return undefined;
    at += 4;
  }
  const shape: Shape = { questionEnd: at, records: [], end: at };
  for (const [section, countAt] of SECTIONS) {
    for (let left = u16(octets, countAt); left > 0; left--) {
      const nameAt = at;
      at = skipName(octets, at);
      if (at < 0 || at + 10 > octets.length) return undefined;
      const dataAt = at + 10;
      const end = dataAt + u16(octets, at + 8);
      if (end > octets.length) return undefined;
      shape.records.push({
        section,
        nameAt,
        type: u16(octets, at),
        class: u16(octets, at + 2),
        ttlAt: at + 4,
        dataAt,
        end,
      });
      at = end;
    }
  }
  shape.end = at;
  return shape;
}

const SECTIONS = [
  ["answer", 6],
  ["authority", 8],
  ["additional", 10],
] as const;

/** A query with exactly one question and at most one OPT (RFC 6891 6.1.1), or undefined. */
export function readQuery(octets: Uint8Array): Query | undefined {
  const plain = readPlainQuery(octets);
  if (plain !== undefined) return plain;
  if (octets.length < HEADER_LENGTH || u16(octets, 4) !== 1) return undefined;
  const shape = shapeOf(octets);
  if (shape === undefined || shape.end !== octets.length) return undefined;
  const options = shape.records.filter(({ type }) => type === TYPE.OPT);
  if (options.length > 1 || options[0]?.section === "answer") return undefined;
  const edns = options[0] === undefined ? undefined : ednsOf(octets, options[0]);
  if (edns === "bad") return undefined;
  return queryOf(octets, shape.questionEnd, edns);
}

/** The query that nearly all clients send, a question and nothing else, without the walk. */
function readPlainQuery(octets: Uint8Array): Query | undefined {
  if (octets.length < HEADER_LENGTH + 5) return undefined;
  for (let at = 4; at < HEADER_LENGTH; at++)
    if (octets[at] !== (at === 5 ? 1 : 0)) return undefined;
  const end = skipName(octets, HEADER_LENGTH) + 4;
  return end === octets.length && end > HEADER_LENGTH + 4
    ? queryOf(octets, end, undefined)
    : undefined;
}

function queryOf(octets: Uint8Array, questionEnd: number, edns: Edns | undefined): Query {
  return {
    octets,
    questionEnd,
    type: u16(octets, questionEnd - 4),
    class: u16(octets, questionEnd - 2),
    recursionDesired: (octets[2]! & 1) !== 0,
    checkingDisabled: (octets[3]! & 0x10) !== 0,
    edns,
  };
}

function ednsOf(octets: Uint8Array, { nameAt, ttlAt, dataAt, end }: RecordPlace): Edns | "bad" {
  if (octets[nameAt] !== 0) return "bad";
  let clientSubnet = false;
  let at = dataAt;
  while (at + 4 <= end) {
    if (u16(octets, at) === CLIENT_SUBNET) clientSubnet = true;
    at += 4 + u16(octets, at + 2);
  }
  if (at !== end) return "bad";
  return {
    payloadSize: u16(octets, ttlAt - 2),
    version: octets[ttlAt + 1]!,
    dnssecOk: (octets[ttlAt + 2]! & 0x80) !== 0,
    clientSubnet,
  };
}

const lower = (octet: number): number => (octet >= 65 && octet <= 90 ? octet + 32 : octet);

/** What two queries have in common when the same answer serves both (the EDNS size is the client's own matter). */
export function questionKey({ octets, questionEnd, edns, ...query }: Query): string {
  let key =
    (edns?.dnssecOk === true ? "s" : "-") +
    (query.checkingDisabled ? "c" : "-") +
    (query.recursionDesired ? "r" : "-");
  for (let at = HEADER_LENGTH; at < questionEnd; at++)
    key += String.fromCharCode(lower(octets[at]!));
  return key;
}

/** A reply to this query, as far as can be told from id and question (RFC 5452 9.1); letters may differ in case. */
export function repliesTo(reply: Uint8Array, query: Uint8Array): boolean {
  return reply[0] === query[0] && reply[1] === query[1] && answersQuestion(reply, query);
}

/** The same for a reply that has an id of its own, as one by the host's library has. */
export function answersQuestion(reply: Uint8Array, query: Uint8Array): boolean {
  const shape = shapeOf(reply);
  if (shape === undefined || !isReply(reply) || opcodeOf(reply) !== 0) return false;
  const questions = u16(reply, 4);
  // some servers leave out the question of a query they did not understand
  if (questions === 0) return rcodeOf(reply) !== 0 && shape.records.length === 0;
  const end = skipName(query, HEADER_LENGTH) + 4;
  if (questions !== 1 || shape.questionEnd !== end) return false;
  for (let at = HEADER_LENGTH; at < end; at++)
    if (lower(reply[at]!) !== lower(query[at]!)) return false;
  return true;
}

/** A name in the form of RFC 1035 5.1, without the final dot; "." is the root. */
export function nameText(octets: Uint8Array, start: number): string {
  let text = "";
  for (let at = start; octets[at] !== 0;) {
    const label = octets[at]!;
    if (label > MAX_LABEL) {
      at = u16(octets, at) & 0x3fff;
      continue;
    }
    if (text !== "") text += ".";
    for (const octet of octets.subarray(at + 1, at + 1 + label)) {
      if (octet === 0x2e || octet === 0x5c) text += `\\${String.fromCharCode(octet)}`;
      else if (octet > 0x20 && octet < 0x7f) text += String.fromCharCode(octet);
      else text += `\\${String(octet).padStart(3, "0")}`;
    }
    at += label + 1;
  }
  return text === "" ? "." : text;
}

/** the name asked for */
export const questionName = ({ octets }: Query): string => nameText(octets, HEADER_LENGTH);

/** lower case, without the final dot */
export function canonicalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}

/** letters, digits, "-" and "_" in labels of a length that can be sent: needs no escapes in any notation */
export function isPlainName(name: string): boolean {
  return (
    name.length < MAX_NAME - 1 &&
    /^[\w-]{1,63}(\.[\w-]{1,63})*\.?$/.test(name) &&
    !/[^ -~]/.test(name)
  );
}

/** Type, class, TTL and data of a record as octets: everything behind its name. */
export function recordOctets(type: RecordType, ttl: number, data: string): Uint8Array {
  const record = { type, name: ".", class: "IN", ttl, data } as Answer;
  return encode({ type: "response", answers: [record] }).subarray(HEADER_LENGTH + 1);
}

/** A query for a name, as a guest's resolver sends it. Throws for a name that no message can hold. */
export function queryOctets(
  id: number,
  name: string,
  type: number,
  { payloadSize = 0 }: { payloadSize?: number } = {},
): Uint8Array {
  if (name !== "." && !isPlainName(name)) throw new RangeError(`not a DNS name: ${name}`);
  const packet: Packet = { type: "query", id, flags: 0x0100, questions: [{ type: "A", name }] };
  if (payloadSize > 0) packet.additionals = [ednsRecord(payloadSize)];
  const octets = new Uint8Array(encode(packet));
  const end = skipName(octets, HEADER_LENGTH);
  octets[end] = type >>> 8;
  octets[end + 1] = type & 255;
  return octets;
}

const ednsRecord = (udpPayloadSize: number): Answer => ({
  type: "OPT",
  name: ".",
  udpPayloadSize,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
});

/** The records of a message for people, as dig would write their types; data of unknown types as RFC 3597 has it. */
export function recordsText(octets: Uint8Array): { section: string; text: string }[] {
  const shape = shapeOf(octets);
  if (shape === undefined) return [];
  const decoded = decodeLeniently(octets);
  return shape.records.flatMap((record, index) =>
    record.type === TYPE.OPT
      ? []
      : [
          {
            section: record.section,
            text: `${nameText(octets, record.nameAt)}. ${u32(octets, record.ttlAt)} ${typeName(record.type)} ${dataText(octets, record, decoded?.[index])}`,
          },
        ],
  );
}

function decodeLeniently(octets: Uint8Array): Answer[] | undefined {
  try {
    const packet = decode(Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength));
    return [packet.answers, packet.authorities, packet.additionals].flatMap((list) => list ?? []);
  } catch {
    // told as octets
    return undefined;
  }
}

function dataText(octets: Uint8Array, record: RecordPlace, decoded: Answer | undefined): string {
  const data: unknown = decoded !== undefined && "data" in decoded ? decoded.data : undefined;
  if (typeof data === "string") return NAME_TYPES.has(record.type) ? fullName(data) : data;
  if (Array.isArray(data))
    return data.map((part) => JSON.stringify(Buffer.from(part as Uint8Array).toString())).join(" ");
  if (typeof data === "object" && data !== null && !(data instanceof Uint8Array))
    return Object.values(data).join(" ");
  const raw = octets.subarray(record.dataAt, record.end);
  return `\\# ${raw.length} ${Buffer.from(raw).toString("hex")}`;
}

/** types whose data is one name */
const NAME_TYPES = new Set<number>([TYPE.NS, TYPE.CNAME, TYPE.PTR]);
const fullName = (name: string): string => `${name.replace(/\.$/, "")}.`;

const TYPE_NAMES: Record<number, string> = {
  ...Object.fromEntries(Object.entries(TYPE).map(([name, number]) => [number, name])),
  13: "HINFO",
  29: "LOC",
  35: "NAPTR",
  43: "DS",
  44: "SSHFP",
  46: "RRSIG",
  47: "NSEC",
  48: "DNSKEY",
  52: "TLSA",
  257: "CAA",
};

/** "MX" for 15; "TYPE731" for a number without a name here (RFC 3597 5) */
export const typeName = (type: number): string => TYPE_NAMES[type] ?? `TYPE${type}`;

/** 15 for "mx" and "TYPE15"; undefined for what is no type */
export function typeOf(name: string): number | undefined {
  const wanted = name.toUpperCase();
  const known = Object.entries(TYPE_NAMES).find(([, text]) => text === wanted);
  if (known !== undefined) return Number(known[0]);
  const number = /^TYPE(\d{1,5})$/.exec(wanted)?.[1];
  return number !== undefined && Number(number) < 0x10000 ? Number(number) : undefined;
}
