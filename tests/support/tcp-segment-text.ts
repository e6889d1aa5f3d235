/**
 * Segments as scenarios write them, `S. 0:0(0) ack 1 win 65535`, and as octets. Numbers are relative to each side's SYN; flags
 * are some of "SFRPU." (push says nothing that a scenario cares for).
 */
import { sumOctetsOf, fold, pseudoHeaderSum } from "../../lib/wire/checksum.ts";
import { TcpView } from "../../lib/wire/tcp.ts";

/** where a segment's sequence number stands */
export const SEQUENCE = 4;
const FLAGS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, ".": 16, U: 32 };

export interface SegmentText {
  flags: string;
  first: number;
  length: number;
  fields: Map<string, string>;
}

/** Both ends of a connection: "ours" is the one that is tried. */
export interface Ends {
  guest: number;
  guestPort: number;
  guestIss: number;
  ours: number;
  ourPort: number;
  ourIss: number;
}

export function parseSegment(text: string): SegmentText {
  const match = /^([SFRPU.]+) (\d+):(\d+)\((\d+)\)(.*)$/.exec(text);
  if (match === null) throw new Error(`not a segment: ${text}`);
  const [, flags = "", first, last, length, rest = ""] = match;
  if (Number(last) - Number(first) !== Number(length))
    throw new Error(`${text}: length is not last - first`);
  const fields = new Map<string, string>();
  for (const [, name = "", value = ""] of rest.matchAll(/([a-zA-Z]+)(?: (\d[-/\d]*|absent))?/g))
    fields.set(name, value);
  return { flags, first: Number(first), length: Number(length), fields };
}

const octets32 = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);

/** A segment of the guest's; `offer` is what its SYNs say in options, such as "mss 1460". */
export function encodeSegment(
  { flags, first, length, fields }: SegmentText,
  ends: Ends,
  offer: readonly string[],
): Uint8Array {
  const options: number[] = [];
  const timestamps = (val: string, ecr: string) =>
    options.push(1, 1, 8, 10, ...octets32(Number(val)), ...octets32(Number(ecr)));
  if (flags.includes("S")) {
    for (const option of offer) {
      const [name, value] = option.split(" ");
      if (name === "mss") options.push(2, 4, Number(value) >> 8, Number(value) & 255);
      else if (name === "sackOK") options.push(1, 1, 4, 2);
      else if (name === "ws") options.push(1, 3, 3, Number(value));
      else if (name === "ts") timestamps(fields.get("val") ?? "0", fields.get("ecr") ?? "0");
    }
  } else if (fields.has("val")) timestamps(fields.get("val")!, fields.get("ecr") ?? "0");
  const sack = fields.get("sack");
  if (sack !== undefined) {
    const blocks = sack.split("/").map((block) => block.split("-").map(Number));
    options.push(1, 1, 5, 2 + 8 * blocks.length);
    for (const edge of blocks.flat()) options.push(...octets32(ends.ourIss + edge));
  }
  const headerLength = 20 + options.length;
  const segment = new Uint8Array(headerLength + length).fill(0x67);
  const view = new DataView(segment.buffer);
  view.setUint16(0, ends.guestPort);
  view.setUint16(2, ends.ourPort);
  view.setUint32(4, ends.guestIss + first);
  view.setUint32(8, fields.has("ack") ? ends.ourIss + Number(fields.get("ack")) : 0);
  segment[12] = (headerLength / 4) << 4;
  segment[13] = Array.from(flags).reduce((all, flag) => all | FLAGS[flag]!, 0);
  view.setUint16(14, Number(fields.get("win") ?? 65_535));
  view.setUint16(16, 0);
  view.setUint16(18, Number(fields.get("urg") ?? 0));
  segment.set(options, 20);
  const sum = sumOctetsOf(segment)(0, segment.length);
  const all = fold(pseudoHeaderSum(ends.guest, ends.ours, 6, segment.length) + sum);
  view.setUint16(16, (~all & 0xffff) ^ (fields.has("broken") ? 1 : 0));
  return segment;
}

/** One of our segments, as a scenario would write it. */
export function decodeSegment(segment: Uint8Array, ends: Ends): SegmentText {
  const view = new TcpView();
  const sum = sumOctetsOf(segment);
  const drop = view.read(segment, 0, segment.length, ends.ours, ends.guest, sum);
  if (drop !== undefined) throw new Error(`what comes is no segment: ${drop}`);
  const flags = Object.keys(FLAGS)
    .filter((flag) => (view.flags & FLAGS[flag]!) !== 0)
    .join("");
  const fields = new Map([["win", String(view.window)]]);
  if (flags.includes(".")) fields.set("ack", String((view.ack - ends.guestIss) >>> 0));
  if (view.mss !== 0) fields.set("mss", String(view.mss));
  if (view.windowScale >= 0) fields.set("ws", String(view.windowScale));
  if (view.sackPermitted) fields.set("sackOK", "");
  if (view.hasTimestamps) {
    fields.set("val", String(view.tsVal >>> 0));
    fields.set("ecr", String(view.tsEcr >>> 0));
  }
  if (view.sackCount > 0) {
    const edge = (at: number) => (at - ends.guestIss) >>> 0;
    const blocks = Array.from(
      { length: view.sackCount },
      (_, i) => `${edge(view.sackStarts[i]!)}-${edge(view.sackEnds[i]!)}`,
    );
    fields.set("sack", blocks.join("/"));
  }
  return { flags, first: (view.seq - ends.ourIss) >>> 0, length: view.payloadLength, fields };
}

export function showSegment({ flags, first, length, fields }: SegmentText): string {
  const rest = [...fields].map(([name, value]) => ` ${name} ${value}`.trimEnd()).join(",");
  return `${flags} ${first}:${first + length}(${length})${rest}`;
}

export const sortedFlags = (flags: string) =>
  Array.from(flags.replace("P", "")).toSorted().join("");
