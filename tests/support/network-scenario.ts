/**
 * Plays a scenario of a whole network (`injected-network.ts`) in virtual time: what a guest sends (`<`), what it is sent (`>`, in
 * the words of `describe` in injected-frames.ts), what the host's sockets hear and say. One step a line; `#` starts a comment.
 * The guest is 10.0.0.11, the gateway 10.0.0.1, the subnet 10.0.0.0/24.
 *
 *     @500                                        500 ms pass
 *     < arp request 10.0.0.1 [from 10.0.0.11] [as 52:…]     who is asked for, the sender's address and card
 *     < arp reply 10.0.0.11 to 10.0.0.1           the guest says where an address is
 *     < udp 4000 > 8.8.8.8:53 "text" [with FIELDS]
 *     < echo 8.8.8.8 "text" [with FIELDS]         an ICMP echo request
 *     < dhcp TYPE [HEX]                           a message of that type, with further options, from 0.0.0.0
 *         FIELDS, separated by commas: ttl N, options HEX (of IPv4), piece FIRST+LENGTH[+] (octets of the payload, + for more
 *         to come), at N (where the piece says that it begins), unsummed (UDP checksum 0), broken (an octet of the payload changed), cut N (octets off the frame's end)
 *     > LINE | > none                             the next frame of the guest's, or that there is no other
 *     > dhcp TYPE [for ADDRESS]                   the same for a DHCP message
 *     heard "text" | heard none                   what the last datagram socket has been told since this was last asked
 *     say "text"                                  what is said to it
 *     count REASON N                              frames dropped for a reason
 */
import { ethernet, hex, ipv4, patch, text, udp, echo, describe, arp } from "./injected-frames.ts";
import { ALL, GATEWAY_MAC, InjectedNetwork, type InjectedGuest } from "./injected-network.ts";

const GUEST = "10.0.0.11";
const TYPES = ["", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform"];

class NetworkScenario {
  readonly #net = new InjectedNetwork();
  readonly #guest: InjectedGuest = this.#net.guest();
  readonly #sent: Uint8Array[] = [];
  #heard = 0;

  play(line: string): void {
    const [word = "", rest = ""] = /^(\S+) ?(.*)$/.exec(line)!.slice(1);
    this.#sent.push(...this.#guest.port.take());
    if (word === ">") {
      this.#expect(rest);
      return;
    }
    if (this.#sent.length > 0) throw new Error(`unexpected: ${describe(this.#sent[0]!)}`);
    if (word.startsWith("@")) this.#net.pass(Number(word.slice(1)));
    else if (word === "<") this.#net.inject(this.#guest.port, this.#frame(rest));
    else if (word === "heard") this.#hear(rest);
    else if (word === "say") {
      const { last } = this.#net.datagrams;
      last.arrivals.push({ octets: text(JSON.parse(rest) as string) });
      last.owner.onHostReadable(this.#net.now);
    } else if (word === "count") {
      const [reason = "", count] = rest.split(" ");
      if (this.#net.count(reason) !== Number(count))
        throw new Error(`it was counted ${this.#net.count(reason)} times`);
    } else throw new Error(`not a step: ${line}`);
  }

  #expect(wanted: string): void {
    const frame = this.#sent.shift();
    if (wanted === "none") {
      if (frame !== undefined) throw new Error(`it was ${describe(frame)}`);
      return;
    }
    if (frame === undefined) throw new Error("nothing was sent");
    const is = wanted.startsWith("dhcp ") ? describeDhcp(frame) : describe(frame);
    if (is !== wanted) throw new Error(`it was ${is}`);
  }

  #hear(rest: string): void {
    const socket = this.#net.datagrams.sockets.at(-1);
    const heard = (socket?.sentTexts ?? []).slice(this.#heard);
    this.#heard += heard.length;
    const is = heard.length === 0 ? "none" : heard.map((said) => JSON.stringify(said)).join(" ");
    if (is !== rest) throw new Error(`it has heard ${is}`);
  }

  #frame(line: string): Uint8Array {
    const { mac } = this.#guest;
    const [said = "", fields = ""] = line.split(" with ");
    const [kind = "", ...words] = said.split(" ");
    if (kind === "arp") {
      const named = (name: string) => words[words.indexOf(name) + 1]!;
      const has = (name: string) => words.includes(name);
      const isReply = words[0] === "reply";
      const packet = arp({
        operation: isReply ? 2 : 1,
        sha: has("as") ? named("as") : mac,
        spa: isReply ? words[1]! : has("from") ? named("from") : GUEST,
        tpa: isReply ? named("to") : words[1]!,
      });
      return ethernet(ALL, mac, "0806", packet);
    }
    if (kind === "dhcp") {
      const type = TYPES.indexOf(words[0]!).toString(16).padStart(2, "0");
      const message = hex`
        01010600 00000001 0000 8000 ${"00".repeat(16)} ${mac.replaceAll(":", "")} ${"00".repeat(10 + 192)}
        63825363 3501${type} ${words.slice(1).join("")} ff`;
      return ethernet(ALL, mac, "0800", ipv4(udp("0.0.0.0:68", "255.255.255.255:67", message)));
    }
    const quoted = text(JSON.parse(/"[^"]*"/.exec(said)![0]) as string);
    let packet =
      kind === "udp"
        ? udp(`${GUEST}:${words[0]}`, words[2]!, quoted)
        : echo(GUEST, words[0]!, "00070001", quoted);
    let cut = 0;
    for (const [name = "", value = ""] of fields.split(/, */).map((field) => field.split(" "))) {
      if (name === "ttl") packet = { ...packet, ttl: Number(value) };
      else if (name === "options") packet = { ...packet, options: value };
      else if (name === "unsummed") packet = { ...packet, payload: patch(packet.payload, 6, 0, 0) };
      else if (name === "broken") packet = { ...packet, payload: patch(packet.payload, 8, 0x7e) };
      else if (name === "cut") cut = Number(value);
      else if (name === "piece") {
        const [first = 0, length = 0] = value.split("+").map(Number);
        const payload = packet.payload.slice(first, first + length);
        packet = { ...packet, payload, offset: first, more: value.endsWith("+") };
      } else if (name === "at") packet = { ...packet, offset: Number(value) };
      else if (name !== "") throw new Error(`not a field: ${name}`);
    }
    const frame = ethernet(GATEWAY_MAC, mac, "0800", ipv4(packet));
    return frame.slice(0, frame.length - cut);
  }
}

/** "dhcp offer for 10.0.0.11" */
function describeDhcp(frame: Uint8Array): string {
  const message = frame.subarray(42);
  const given = message.subarray(16, 20).join(".");
  const isAny = given !== "0.0.0.0";
  return `dhcp ${TYPES[message[242]!]}${isAny ? ` for ${given}` : ""}`;
}

/** Plays a whole scenario; an error names the line. */
export function playNetworkScenario(played: string): void {
  const scenario = new NetworkScenario();
  `${played}\n> none`.split("\n").forEach((raw, index) => {
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
}
