/**
 * Plays a scenario: what a guest sends (`<`), what our TCP must answer (`>`), what the application does, line by line in
 * virtual time. Sequence numbers are relative to each side's SYN. One step a line; `#` starts a comment.
 *
 *     guest mss 1460, sackOK, ts, ws 7     what the guest's SYN offers (before the first step; default: mss 1460)
 *     large                                the guest's card takes segments of any size (as above)
 *     @200                                 time moves to 200 ms, deadlines fire on the way
 *     < S 0:0(0) win 65535                 the guest's segment: flags of S F R P . and U, first:last(length), then
 *     < . 1:101(100) ack 1 win 500 val 7   ack, win, urg, val and ecr (timestamps), sack 10-20/30-40; broken: a wrong checksum
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
import { u32 } from "../../lib/wire/octets.ts";
import { TcpEndpoint, type EndpointOptions } from "./tcp-endpoint.ts";
import {
  decodeSegment,
  encodeSegment,
  parseSegment,
  SEQUENCE,
  showSegment,
  sortedFlags,
  type Ends,
} from "./tcp-segment-text.ts";

/** near the wrap, where arithmetic goes wrong first */
const OUR_ISS = 0xfffffe00;
const BROKEN = new Map([[true, "tcp-checksum"]]);

class Scenario {
  now = 0;
  readonly #ends: Ends = {
    guest: 0xc0a8050f,
    guestPort: 40_000,
    guestIss: 0xffffff00,
    ours: 0xcb007109,
    ourPort: 80,
    ourIss: OUR_ISS,
  };
  readonly #options: EndpointOptions;
  readonly #endpoint: TcpEndpoint;
  readonly #sent: { at: number; segment: Uint8Array }[] = [];
  #offer = ["mss 1460"];
  #said = 0;

  constructor() {
    // the initial sequence number, then the timestamp's offset
    const numbers = [OUR_ISS, 0];
    this.#options = {
      address: this.#ends.ours,
      port: this.#ends.ourPort,
      peer: this.#ends.guest,
      peerPort: this.#ends.guestPort,
      mss: 1460,
      random: () => numbers.shift() ?? 0,
      transmit: (segment) => this.#sent.push({ at: this.now, segment }),
    };
    this.#endpoint = new TcpEndpoint(this.#options);
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
    else if (word === "large") this.#options.takesLarge = true;
    else if (word === "<") {
      const segment = parseSegment(rest);
      const drop = endpoint.receive(this.now, encodeSegment(segment, this.#ends, this.#offer));
      this.#same("what is wrong with it", drop, BROKEN.get(segment.fields.has("broken")));
    } else if (word === "connect") connection.connect(this.now);
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
    const wanted = parseSegment(text);
    if (wanted.flags.includes("S")) this.#ends.ourIss = u32(sent.segment, SEQUENCE);
    const is = decodeSegment(sent.segment, this.#ends);
    const shown = showSegment(is);
    this.#same(`flags of ${shown}`, sortedFlags(is.flags), sortedFlags(wanted.flags));
    this.#same(`sequence number of ${shown}`, is.first, wanted.first);
    this.#same(`length of ${shown}`, is.length, wanted.length);
    for (const [name, value] of wanted.fields)
      this.#same(`${name} of ${shown}`, is.fields.get(name) ?? "absent", value);
  }

  #shown(index: number): string {
    return showSegment(decodeSegment(this.#sent[index]!.segment, this.#ends));
  }
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
