/**
 * Plays the scenarios of tests/scenarios in real time, with exact frames of a guest's and a real application on the other side
 * (application.py). What cannot be the same with every TCP is not looked at: our window and its scale, where text is cut, bare
 * acknowledgements besides those that are asked for, text that is repeated though nobody asks for it, and the inner `state`. A
 * step `@N` waits until N ms after the beginning.
 */
import { arp, ethernet, ipv4 } from "./injected-frames.ts";
import type { RawGuest } from "./raw-guest.ts";
import { formatIpv4, parseIpv4 } from "../../lib/addr/ipv4.ts";
import { formatMac } from "../../lib/addr/mac.ts";
import { u16, u32, u48 } from "../../lib/wire/octets.ts";
import {
  decodeSegment,
  encodeSegment,
  parseSegment,
  SEQUENCE,
  showSegment,
  sortedFlags,
  type Ends,
  type SegmentText,
} from "./tcp-segment-text.ts";

/** for what must come; nothing is measured by it */
const PATIENCE_MS = 10_000;
/** for what must not come */
const SILENCE_MS = 60;
const IGNORED = new Set(["win", "ws", "val"]);
const GUEST_ISS = 0xffffff00;

/** What a child process takes and tells, a line each. */
export class Application {
  readonly #stdin: { write(text: string): unknown; flush(): unknown };
  readonly #lines: string[] = [];

  constructor(child: {
    stdin: { write(text: string): unknown; flush(): unknown };
    stdout: ReadableStream<Uint8Array>;
  }) {
    this.#stdin = child.stdin;
    void (async () => {
      let rest = "";
      for await (const chunk of child.stdout) {
        const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
        rest = lines.pop()!;
        this.#lines.push(...lines);
      }
    })();
  }

  tell(step: string): void {
    this.#stdin.write(`${step}\n`);
    this.#stdin.flush();
  }

  /** A connection that is new to it. */
  async begin(): Promise<void> {
    this.#lines.splice(0);
    this.tell("new");
    await until("the application to be ready", () => this.has("ready"));
    this.#lines.splice(0, this.#lines.indexOf("ready") + 1);
  }

  get heard(): number {
    const last = this.#lines.findLast((line) => line.startsWith("heard "));
    return Number(last?.slice(6) ?? 0);
  }

  get isConnected(): boolean {
    return this.has("accepted") || this.has("connected");
  }

  has(line: string): boolean {
    return this.#lines.includes(line);
  }

  get told(): string {
    return this.#lines.join(", ");
  }
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(2);
  }
}

export interface LiveSide {
  wire: RawGuest;
  guest: { address: string; mac: string };
  /** where the application listens, as the guest sees it, and the card that leads there */
  server: { address: string; port: number; mac: string };
  application: Application;
  /** of this player's scenarios */
  firstGuestPort: number;
  /** where the application connects to for a connection to the guest's port */
  routeTo(guestPort: number): Promise<{ address: string; port: number }>;
}

/** Plays any number of scenarios, one after the other, each at a port of its own. */
export class LivePlayer {
  readonly #side: LiveSide;
  readonly #guestAddress: number;
  #guestPort: number;
  #ends!: Ends;
  #offer: string[] = [];
  /** what has come for the scenario that is played, in pieces: text, and what stands alone */
  readonly #inbox: SegmentText[] = [];
  /** of it, what has been there before */
  readonly #repeated = new WeakSet<SegmentText>();
  /** of all that has come */
  #end = 0;
  #begun = 0;
  #broken: string | undefined;

  constructor(side: LiveSide) {
    this.#side = side;
    this.#guestPort = side.firstGuestPort;
    this.#guestAddress = parseIpv4(side.guest.address)!;
    side.wire.listeners.push((frame) => this.#onFrame(frame));
  }

  async play(text: string): Promise<void> {
    const { address, port } = this.#side.server;
    this.#ends = {
      guest: this.#guestAddress,
      guestPort: ++this.#guestPort,
      guestIss: GUEST_ISS,
      ours: parseIpv4(address)!,
      ourPort: port,
      ourIss: 0,
    };
    this.#end = 0;
    this.#offer = ["mss 1460"];
    this.#inbox.splice(0);
    this.#broken = undefined;
    await this.#side.application.begin();
    this.#begun = performance.now();
    for (const [index, raw] of text.split("\n").entries()) {
      const line = raw.replace(/#.*/, "").trim();
      if (line === "") continue;
      try {
        await this.#step(line);
        if (this.#broken !== undefined) throw new Error(this.#broken);
      } catch (error) {
        throw new Error(`line ${index + 1}: ${line}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    }
  }

  async #step(line: string): Promise<void> {
    const { application } = this.#side;
    const [word = "", rest = ""] = /^(\S+) ?(.*)$/.exec(line)!.slice(1);
    if (word === ">") return rest === "none" ? this.#expectNone() : this.#expect(rest);
    if (word.startsWith("@"))
      return Bun.sleep(Math.max(0, this.#begun + Number(word.slice(1)) - performance.now()));
    if (word === "guest") this.#offer = rest.split(/, */);
    else if (word === "<") await this.#send(parseSegment(rest));
    else if (word === "connect") {
      const { address, port } = await this.#side.routeTo(this.#ends.guestPort);
      application.tell(`connect ${address} ${port}`);
    } else if (["say", "close", "abort", "deaf", "listen", "urgent"].includes(word)) {
      await until("the application's connection", () => application.isConnected);
      application.tell(line);
    } else if (word === "heard") {
      await until(
        `${rest} octets, and told was ${application.told}`,
        () => application.heard >= +rest,
      );
      if (application.heard !== +rest) throw new Error(`${application.heard} octets were heard`);
    } else if (word === "end") await until("the end", () => application.has("end"));
    else if (word === "ended" && rest === "reset")
      await until("a reset", () => application.has("reset") || application.has("refused"));
    else if (word !== "state" && word !== "ended") throw new Error(`not a step: ${line}`);
  }

  // ---------------------------------------------------------------- out

  async #send(segment: SegmentText): Promise<void> {
    // what came before is past
    this.#passOver();
    if (this.#inbox.length > 0) throw new Error(`unexpected: ${showSegment(this.#inbox[0]!)}`);
    const { guest, server, wire } = this.#side;
    const payload = encodeSegment(segment, this.#ends, this.#offer);
    const packet = ipv4({
      src: guest.address,
      dst: formatIpv4(this.#ends.ours),
      protocol: 6,
      payload,
    });
    await wire.send(ethernet(server.mac, guest.mac, "0800", packet));
  }

  // ---------------------------------------------------------------- in

  #onFrame(frame: Uint8Array): void {
    const { guest, wire } = this.#side;
    const type = u16(frame, 12);
    if (type === 0x0806) {
      const isForUs = u16(frame, 20) === 1 && u32(frame, 38) === this.#guestAddress;
      if (!isForUs) return;
      const sender = { tha: formatMac(u48(frame, 22)), tpa: formatIpv4(u32(frame, 28)) };
      const reply = arp({ operation: 2, sha: guest.mac, spa: guest.address, ...sender });
      void wire.send(ethernet(sender.tha, guest.mac, "0806", reply));
      return;
    }
    // the ends are there as soon as a scenario is
    if (type !== 0x0800 || frame[23] !== 6 || u32(frame, 30) !== this.#guestAddress) return;
    const at = 14 + (frame[14]! & 15) * 4;
    const segment = frame.slice(at, 14 + u16(frame, 16));
    if (u16(segment, 2) !== this.#ends.guestPort) return;
    try {
      this.#onSegment(u32(frame, 26), segment);
    } catch (error) {
      this.#broken = (error as Error).message;
    }
  }

  #onSegment(from: number, segment: Uint8Array): void {
    const isSyn = (segment[13]! & 2) !== 0;
    if (isSyn) {
      const ourIss = u32(segment, SEQUENCE);
      this.#ends = { ...this.#ends, ours: from, ourPort: u16(segment, 0), ourIss };
    }
    const is = decodeSegment(segment, this.#ends);
    // a reset of what has no connection stands at the guest's acknowledgement
    const isFin = is.flags.includes("F");
    const flags = is.flags.replace("F", "");
    const end = is.first + is.length;
    if (is.length > 0) this.#take({ ...is, flags }, end);
    if (isFin) this.#take({ ...is, first: end, length: 0 }, end + 1);
    else if (isSyn) this.#take(is, 1);
    else if (is.length === 0) this.#inbox.push(is);
  }

  #take(segment: SegmentText, end: number): void {
    if (end <= this.#end) this.#repeated.add(segment);
    this.#end = Math.max(this.#end, end);
    this.#inbox.push(segment);
  }

  /** Forgets at the front what says nothing new: a busy machine lets time-outs pass, after which text is repeated. */
  #passOver(): void {
    const inbox = this.#inbox;
    while (inbox.length > 0 && (isBare(inbox[0]!) || this.#repeated.has(inbox[0]!))) inbox.shift();
  }

  async #expectNone(): Promise<void> {
    await Bun.sleep(SILENCE_MS);
    this.#passOver();
    if (this.#inbox.length > 0) throw new Error(`unexpected: ${showSegment(this.#inbox[0]!)}`);
  }

  async #expect(text: string): Promise<void> {
    const wanted = parseSegment(text);
    const isFin = wanted.flags.includes("F");
    const end = wanted.first + wanted.length;
    if (wanted.length > 0) await this.#expectText({ ...wanted, flags: "." });
    if (isFin) await this.#expectAlone({ ...wanted, first: end, length: 0 });
    else if (wanted.length === 0) await this.#expectAlone(wanted);
  }

  async #next(): Promise<SegmentText> {
    await until("anything", () => this.#inbox.length > 0 || this.#broken !== undefined);
    if (this.#broken !== undefined) throw new Error(this.#broken);
    return this.#inbox[0]!;
  }

  /** Text may come in any number of pieces. */
  async #expectText(wanted: SegmentText): Promise<void> {
    let { first } = wanted;
    const end = first + wanted.length;
    while (first < end) {
      const is = await this.#next();
      this.#inbox.shift();
      if (isBare(is) || (is.first !== first && this.#repeated.has(is))) continue;
      if (is.length === 0 || is.first !== first) throw new Error(`it was ${showSegment(is)}`);
      this.#compareFields(is, wanted);
      const behind = is.first + is.length;
      if (behind > end) this.#inbox.unshift({ ...is, first: end, length: behind - end });
      first = behind;
    }
  }

  async #expectAlone(wanted: SegmentText): Promise<void> {
    for (;;) {
      const is = await this.#next();
      this.#inbox.shift();
      const isIt =
        sortedFlags(is.flags) === sortedFlags(wanted.flags) &&
        is.first === wanted.first &&
        is.length === 0;
      if (isIt && isBare(wanted) && !this.#hasFields(is, wanted)) continue;
      if (isIt) {
        this.#compareFields(is, wanted);
        return;
      }
      if (!isBare(is) && !this.#repeated.has(is)) throw new Error(`it was ${showSegment(is)}`);
    }
  }

  #hasFields(is: SegmentText, wanted: SegmentText): boolean {
    return [...wanted.fields].every(
      ([name, value]) => IGNORED.has(name) || (is.fields.get(name) ?? "absent") === value,
    );
  }

  #compareFields(is: SegmentText, wanted: SegmentText): void {
    if (!this.#hasFields(is, wanted)) throw new Error(`it was ${showSegment(is)}`);
  }
}

const isBare = ({ flags, length }: SegmentText): boolean =>
  length === 0 && sortedFlags(flags) === ".";
