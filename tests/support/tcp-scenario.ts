/**
 * Plays a scenario: what a guest sends (`<`), what our TCP must answer (`>`), what the application does, line by line in
 * virtual time. Sequence numbers are relative to each side's SYN. One step a line; `#` starts a comment.
 *
 *     guest mss 1460, sackOK, ts, ws 7     what the guest's SYN offers (before the first step; default: mss 1460)
 *     @200                                 time moves to 200 ms, deadlines fire on the way
 *     < S 0:0(0) win 65535                 the guest's segment: flags of S F R P . and U, first:last(length), then
 *     < . 1:101(100) ack 1 win 500 val 7   ack, win, val and ecr (timestamps), sack 10-20,30-40
 *     > S. 0:0(0) ack 1 mss 1460           our next segment; what is named must be so: ack, win, mss, ws, ecr, sackOK, sack
 *     > none                               we are silent up to here
 *     connect                              we open the connection instead of the guest
 *     say 3000 | close | abort             the application speaks, has no more to say, gives up
 *     deaf | listen                        the application stops and goes on to take what comes
 *     heard 100 | end                      it has heard so many octets in all | the end of the guest's text
 *     state ESTABLISHED | ended reset      our state | how it ended: closed, reset, timeout
 *
 * A segment of ours that no `>` names is an error at the next step that is not a `>`.
 */
import { TcpEndpoint } from "./tcp-endpoint.ts";
import { fold, pseudoHeaderSum, sumOctetsOf } from "../../lib/wire/checksum.ts";
import { TcpView } from "../../lib/wire/tcp.ts";

const GUEST = 0xc0a8050f;
const SERVER = 0xcb007109;
const GUEST_PORT = 40_000;
const SERVER_PORT = 80;
/** near the wrap, where arithmetic goes wrong first */
const GUEST_ISS = 0xffffff00;
const OUR_ISS = 0xfffffe00;
const FLAGS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, ".": 16, U: 32 };

interface Segment {
  flags: string;
  first: number;
  length: number;
  fields: Map<string, string>;
}

function parseSegment(text: string): Segment {
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

class Scenario {
  now = 0;
  readonly #endpoint: TcpEndpoint;
  readonly #sent: { at: number; segment: Uint8Array }[] = [];
  #offer = ["mss 1460"];
  #said = 0;

  constructor() {
    // the initial sequence number, then the timestamp's offset
    const numbers = [OUR_ISS, 0];
    this.#endpoint = new TcpEndpoint({
      address: SERVER,
      port: SERVER_PORT,
      peer: GUEST,
      peerPort: GUEST_PORT,
      mss: 1460,
      random: () => numbers.shift() ?? 0,
      transmit: (segment) => this.#sent.push({ at: this.now, segment }),
    });
  }

  play(line: string): void {
    const [word = "", rest = ""] = /^(\S+) ?(.*)$/.exec(line)!.slice(1);
    if (word === ">") {
      this.#expect(rest);
      return;
    }
    if (word !== "guest" && this.#sent.length > 0) throw new Error(`unexpected: ${this.#shown(0)}`);
    const endpoint = this.#endpoint;
    const { connection } = endpoint;
    if (word.startsWith("@")) this.#advance(Number(word.slice(1)));
    else if (word === "guest") this.#offer = rest.split(/, */);
    else if (word === "<") endpoint.receive(this.now, this.#encode(parseSegment(rest)));
    else if (word === "connect") connection.connect(this.now);
    else if (word === "say") {
      this.#said += Number(rest);
      endpoint.say(new Uint8Array(Number(rest)).fill(this.#said), false);
      endpoint.settle(this.now);
    } else if (word === "close") {
      endpoint.say(new Uint8Array(0), true);
      endpoint.settle(this.now);
    } else if (word === "abort") connection.abort();
    else if (word === "deaf") endpoint.listening = false;
    else if (word === "listen") {
      endpoint.listening = true;
      endpoint.settle(this.now);
    } else if (word === "heard") this.#same("heard", endpoint.heardOctets, Number(rest));
    else if (word === "end") this.#same("end", endpoint.heardEnd, true);
    else if (word === "state") this.#same("state", connection.state, rest);
    else if (word === "ended") this.#same("ended", endpoint.ended ?? "not at all", rest);
    else throw new Error(`not a step: ${line}`);
  }

  #same(what: string, is: unknown, wanted: unknown): void {
    if (is !== wanted) throw new Error(`${what}: ${String(is)}, not ${String(wanted)}`);
  }

  #advance(to: number): void {
    const { connection } = this.#endpoint;
    while (connection.nextDeadline() <= to && this.#sent.length === 0) {
      this.now = Math.max(this.now, connection.nextDeadline());
      this.#endpoint.onDeadline(this.now);
    }
    if (this.#sent.length > 0 && this.now < to)
      throw new Error(`unexpected at ${this.now} ms: ${this.#shown(0)}`);
    this.now = to;
  }

  #expect(text: string): void {
    if (text === "none") {
      if (this.#sent.length > 0) throw new Error(`unexpected: ${this.#shown(0)}`);
      return;
    }
    const sent = this.#sent.shift();
    if (sent === undefined) throw new Error("nothing was sent");
    const is = decode(sent.segment);
    const wanted = parseSegment(text);
    const shown = show(is);
    this.#same(`flags of ${shown}`, sorted(is.flags), sorted(wanted.flags));
    this.#same(`sequence number of ${shown}`, is.first, wanted.first);
    this.#same(`length of ${shown}`, is.length, wanted.length);
    for (const [name, value] of wanted.fields)
      this.#same(`${name} of ${shown}`, is.fields.get(name) ?? "absent", value);
  }

  #shown(index: number): string {
    return show(decode(this.#sent[index]!.segment));
  }

  #encode({ flags, first, length, fields }: Segment): Uint8Array {
    const options: number[] = [];
    const timestamps = (val: string, ecr: string) =>
      options.push(1, 1, 8, 10, ...octets32(Number(val)), ...octets32(Number(ecr)));
    if (flags.includes("S")) {
      for (const offer of this.#offer) {
        const [name, value] = offer.split(" ");
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
      for (const edge of blocks.flat()) options.push(...octets32(OUR_ISS + edge));
    }
    const headerLength = 20 + options.length;
    const segment = new Uint8Array(headerLength + length).fill(0x67);
    const view = new DataView(segment.buffer);
    view.setUint16(0, GUEST_PORT);
    view.setUint16(2, SERVER_PORT);
    view.setUint32(4, GUEST_ISS + first);
    view.setUint32(8, fields.has("ack") ? OUR_ISS + Number(fields.get("ack")) : 0);
    segment[12] = (headerLength / 4) << 4;
    segment[13] = Array.from(flags).reduce((all, flag) => all | FLAGS[flag]!, 0);
    view.setUint16(14, Number(fields.get("win") ?? 65_535));
    view.setUint32(16, 0);
    segment.set(options, 20);
    const sum = sumOctetsOf(segment)(0, segment.length);
    view.setUint16(16, ~fold(pseudoHeaderSum(GUEST, SERVER, 6, segment.length) + sum) & 0xffff);
    return segment;
  }
}

const octets32 = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
const sorted = (flags: string) => Array.from(flags.replace("P", "")).toSorted().join("");

/** One of our segments, as a scenario would write it. */
function decode(segment: Uint8Array): Segment {
  const view = new TcpView();
  const drop = view.read(segment, 0, segment.length, SERVER, GUEST, sumOctetsOf(segment));
  if (drop !== undefined) throw new Error(`our own segment is none: ${drop}`);
  const flags = Object.keys(FLAGS)
    .filter((flag) => (view.flags & FLAGS[flag]!) !== 0)
    .join("");
  const fields = new Map([["win", String(view.window)]]);
  if (flags.includes(".")) fields.set("ack", String((view.ack - GUEST_ISS) >>> 0));
  if (view.mss !== 0) fields.set("mss", String(view.mss));
  if (view.windowScale >= 0) fields.set("ws", String(view.windowScale));
  if (view.sackPermitted) fields.set("sackOK", "");
  if (view.hasTimestamps) fields.set("ecr", String(view.tsEcr >>> 0));
  if (view.sackCount > 0) {
    const edge = (at: number) => (at - GUEST_ISS) >>> 0;
    const blocks = Array.from(
      { length: view.sackCount },
      (_, i) => `${edge(view.sackStarts[i]!)}-${edge(view.sackEnds[i]!)}`,
    );
    fields.set("sack", blocks.join("/"));
  }
  return { flags, first: (view.seq - OUR_ISS) >>> 0, length: view.payloadLength, fields };
}

function show({ flags, first, length, fields }: Segment): string {
  const rest = [...fields].map(([name, value]) => ` ${name} ${value}`.trimEnd()).join(",");
  return `${flags} ${first}:${first + length}(${length})${rest}`;
}

/** Plays a whole scenario; an error names the line. */
export function playScenario(text: string): void {
  const scenario = new Scenario();
  text.split("\n").forEach((raw, index) => {
    const line = raw.replace(/#.*/, "").trim();
    if (line === "") return;
    try {
      scenario.play(line);
    } catch (error) {
      throw new Error(`line ${index + 1}: ${raw.trim()}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  });
  scenario.play("@" + String(scenario.now));
}
