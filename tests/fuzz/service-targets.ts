/** DHCP and DNS as guests meet them: whole servers, clients that say anything, and name servers that answer anything. */
import { formatIpv4, parseCidr, parseIpv4 } from "../../lib/addr/ipv4.ts";
import { readQuery, repliesTo } from "../../lib/service/dns/message.ts";
import { DnsResponder, type SystemAnswer } from "../../lib/service/dns/responder.ts";
import { Routes } from "../../lib/service/dns/routes.ts";
import { StaticHosts } from "../../lib/service/dns/static-hosts.ts";
import { DnsZones } from "../../lib/service/dns/zones.ts";
import { DhcpServer, type DhcpReply } from "../../lib/service/dhcp/server.ts";
import { Counters } from "../../lib/trace/counters.ts";
import { hex, word32 } from "../support/injected-frames.ts";
import type { Dice, Target } from "./dice.ts";

const address = (text: string) => parseIpv4(text)!;

const GATEWAY = "192.168.104.2";
const HONEST = "52550000cafe";
const BROADCAST = 0xffff_ffff_ffff;
/** leases of one port's clients, as lib/service/dhcp/lease-table.ts bounds them */
const PER_PORT = 16;
const ATTACKERS = [1, 2, 3];
const [DISCOVER, OFFER, REQUEST, ACK] = [1, 2, 3, 5];
const YIADDR = 16;

const ask = (mac: string, type: number, options = "", ciaddr = "00000000"): Uint8Array => hex`
  01010600 00000001 0000 8000 ${ciaddr} 00000000 00000000 00000000
  ${mac} ${"00".repeat(10 + 192)} 63825363 3501${type.toString(16).padStart(2, "0")} ${options} ff`;

/** The server of a network with clients behind three ports that say whatever they like, and an honest one behind a fourth. */
class DhcpTarget implements Target {
  readonly name = "DHCP server";
  readonly unit = "questions";
  readonly batch = 32;
  #server!: DhcpServer;
  #now = 0;
  #rounds = 0;
  #honest: string | undefined;

  round(dice: Dice): void {
    if (this.#rounds++ % 500 === 0) this.#begin();
    for (let n = 0; n < this.batch; n++) {
      const mac = `52550000${dice.below(64).toString(16).padStart(4, "0")}`;
      const wanted = word32(address("192.168.104.0") + dice.below(256));
      const right = ask(
        mac,
        dice.pick([1, 3, 3, 4, 7, 8]),
        [
          dice.pick(["", `3204${wanted}`]),
          dice.pick(["", `3604c0a86802`, `3604${wanted}`]),
          dice.pick(["", `3d0701${HONEST}`, `3d03${dice.octets(3).toHex()}`]),
          dice.pick(["", "0c0141", "3d00", "0c0b65766e2e7669637469"]),
        ].join(""),
        dice.pick(["00000000", wanted]),
      );
      const octets = dice.chance(0.4) ? dice.mangle(right, [right]) : right;
      const reply = this.#server.onMessage(
        this.#now,
        octets,
        Number.parseInt(dice.chance(0.9) ? mac : HONEST, 16),
        dice.pick(ATTACKERS),
      );
      if (reply !== undefined) this.#judge(reply);
    }
    if (dice.chance(0.2)) this.#now += dice.pick([1000, 60_000, 3_600_000]);
    const leases = this.#server.leases.list();
    if (new Set(leases.map(({ ip }) => ip)).size !== leases.length)
      throw new Error("an address is leased twice");
    const ports = leases
      .filter(({ expiresAt = 0 }) => expiresAt > this.#now)
      .map(({ ip }) => this.#server.leases.at(address(ip))!.port);
    for (const port of ATTACKERS) {
      const inForce = ports.filter((of) => of === port).length;
      if (inForce > PER_PORT) throw new Error(`${inForce} leases for one port`);
    }
    this.#askHonestly();
  }

  #begin(): void {
    this.#now = 0;
    this.#honest = undefined;
    this.#server = new DhcpServer(
      {
        subnet: parseCidr("192.168.104.0/24")!,
        gateway: address(GATEWAY),
        dns: address("192.168.104.3"),
        reserved: [],
        first: address("192.168.104.10"),
        mtu: 1500,
        leaseSeconds: 3600,
        domainName: undefined,
        searchDomains: [],
        staticLeases: [],
      },
      [],
      new Counters(),
    );
  }

  #judge({ message, mac }: DhcpReply): void {
    if (message[0] !== 2 || message.length < 240) throw new Error("a reply is none");
    const given = new DataView(message.buffer, message.byteOffset).getUint32(YIADDR);
    const text = formatIpv4(given);
    if (
      given !== 0 &&
      (!text.startsWith("192.168.104.") || text === GATEWAY || /\.(0|3|255)$/.test(text))
    )
      throw new Error(`${text} is given away`);
    if (given !== 0 && text === this.#honest)
      throw new Error("the honest client's address is given away");
    if (mac !== BROADCAST && mac.toString(16) === HONEST)
      throw new Error("the honest client is answered what it has not asked");
  }

  /** It gets a lease each time, and the same one as long as it is there. */
  #askHonestly(): void {
    const say = (type: number, options: string) => {
      const octets = ask(HONEST, type, options);
      return this.#server.onMessage(this.#now, octets, Number.parseInt(HONEST, 16), 9)?.message;
    };
    const offer = say(DISCOVER, "");
    if (offer === undefined) throw new Error("the honest client is offered nothing");
    const given = offer.slice(YIADDR, YIADDR + 4);
    const ack = say(REQUEST, `3204${given.toHex()}3604c0a86802`);
    if (typeOf(offer) !== OFFER || ack === undefined || typeOf(ack) !== ACK)
      throw new Error("the honest client gets no lease");
    this.#honest = formatIpv4(new DataView(given.buffer).getUint32(0));
  }
}

/** the first option is the message's type */
const typeOf = (message: Uint8Array): number => message[242]!;

// -------------------------------------------------------------------- DNS

const TRUTH = "192.0.2.1";
const HONEST_NAME = hex`06 686f6e657374 04 74657374 00`;
const OWN_NAME = hex`06 737461746963 08 696e7465726e616c 00`;
const HEADER = 12;
const PLAIN_UDP = 512;

const query = (id: number, name: Uint8Array, type: number, edns: boolean): Uint8Array => hex`
  ${id.toString(16).padStart(4, "0")} 0100 0001 0000 0000 000${edns ? "1" : "0"}
  ${name} ${type.toString(16).padStart(4, "0")} 0001 ${edns ? "00 0029 04d0 0000 0000 0000" : ""}`;

/** A reply to a query with an address. */
const reply = (to: Uint8Array, name: Uint8Array, ip: string): Uint8Array => hex`
  ${to.slice(0, 2)} 8180 0001 0001 0000 0000 ${name} 0001 0001 c00c 0001 0001 00000e10 0004
  ${word32(address(ip))}`;

/**
 * The responder between a guest that asks anything and name servers that answer anything, other names' addresses among it. A
 * name whose name server is honest has its one address throughout, and so has a name of ours.
 */
class DnsTarget implements Target {
  readonly name = "DNS responder";
  readonly unit = "questions";
  readonly batch = 16;
  #dice!: Dice;
  #now = 0;
  readonly #responder = new DnsResponder({
    zones: zonesOf("static", "192.0.2.99"),
    hosts: new StaticHosts(),
    naming: {
      revision: () => 1,
      hostsFile: () => [],
      route: (name) => this.#routes.for(name),
    },
    resolver: {
      addresses: (name, family) => Promise.resolve(this.#addresses(name, family)),
      query: () => Promise.resolve(this.#lie(this.#last)),
    },
    upstream: { relay: (octets) => Promise.resolve(this.#relay(octets)) },
    ipv6: true,
    emptyOnOutage: false,
    now: () => this.#now,
  });
  readonly #routes = new Routes(
    { servers: [{ address: "192.0.2.53", port: 53 }], origin: "here" },
    [],
  );
  /** what is being asked */
  #last: Uint8Array = query(1, HONEST_NAME, 1, false);

  async round(dice: Dice): Promise<void> {
    this.#dice = dice;
    await Promise.all(Array.from({ length: this.batch }, () => this.#askAnything(dice)));
    if (dice.chance(0.2)) this.#now += dice.pick([1, 5000, 3_600_000]);
    for (const [name, ip] of [
      [HONEST_NAME, TRUTH],
      [OWN_NAME, "192.0.2.99"],
    ] as const) {
      const octets = await this.#responder.answer(query(7, name, 1, false), "udp", "honest");
      if (!octets?.toHex().includes(`0004${word32(address(ip))}`))
        throw new Error(`${ip} is not what is said: ${octets?.toHex()}`);
    }
  }

  async #askAnything(dice: Dice): Promise<void> {
    const name = dice.pick([
      HONEST_NAME,
      OWN_NAME,
      hex`01 ${dice.octets(1)} 04 74657374 00`,
      hex`00`,
    ]);
    const type = dice.pick([1, 1, 28, 5, 12, 15, 16, 33, 41, 65, 255]);
    const right = query(dice.below(65_536), name, type, dice.chance(0.5));
    const octets = dice.chance(0.4) ? dice.mangle(right, [right]) : right;
    const transport = dice.pick(["udp", "tcp"] as const);
    this.#last = octets;
    const answer = await this.#responder.answer(octets, transport, "mallory");
    if (answer === undefined) return;
    const asked = readQuery(octets);
    const most = transport === "tcp" ? 65_535 : Math.max(PLAIN_UDP, asked?.edns?.payloadSize ?? 0);
    if (answer.length < HEADER || answer.length > most)
      throw new Error(`an answer of ${answer.length} octets to ${octets.toHex()}`);
    if ((answer[2]! & 0x80) === 0 || answer[0] !== octets[0] || answer[1] !== octets[1])
      throw new Error(`${answer.toHex()} answers nothing`);
    if (asked !== undefined && answer.length > HEADER && !repliesTo(answer, octets))
      throw new Error(`${answer.toHex()} answers another question than ${octets.toHex()}`);
  }

  #isHonest(octets: Uint8Array): boolean {
    return octets
      .toHex()
      .slice(HEADER * 2)
      .startsWith(HONEST_NAME.toHex());
  }

  #relay(octets: Uint8Array): Uint8Array | undefined {
    if (this.#isHonest(octets)) return reply(octets, HONEST_NAME, TRUTH);
    const lie = this.#lie(octets);
    // what lib/host/dns-upstream-sockets.ts waits on for
    return lie !== undefined && repliesTo(lie, octets) ? lie : undefined;
  }

  #addresses(name: string, family: 4 | 6): SystemAnswer {
    const dice = this.#dice;
    if (name.toLowerCase() === "honest.test")
      return family === 4
        ? { kind: "addresses", addresses: [TRUTH], canonicalName: undefined }
        : { kind: "no-data" };
    const kind = dice.pick([
      "addresses",
      "no-such-name",
      "no-data",
      "failure",
      "overload",
    ] as const);
    if (kind !== "addresses") return { kind };
    const count = dice.pick([0, 1, 3, 100, 5000]);
    return {
      kind,
      addresses: Array.from({ length: count }, (_, n) =>
        family === 4 ? `198.51.100.${n % 256}` : `2001:db8::${n.toString(16)}`,
      ),
      canonicalName: dice.pick([
        undefined,
        "honest.test",
        "",
        ".",
        "a".repeat(300),
        "é.test",
        "a..b",
      ]),
      raw: dice.chance(0.5) ? this.#lie(this.#last) : undefined,
    };
  }

  /** What a hostile name server says: something mangled, of another name, or nothing. */
  #lie(octets: Uint8Array): Uint8Array | undefined {
    const dice = this.#dice;
    const lies = [
      reply(octets, HONEST_NAME, "192.0.2.66"),
      reply(octets, octets.slice(HEADER, -4), "192.0.2.66"),
      hex`${octets.slice(0, 2)} 8180 0001 ffff 0000 0000 ${octets.slice(HEADER)}`,
      // names that point to themselves and to each other
      hex`${octets.slice(0, 2)} 8180 0001 0002 0000 0000 ${octets.slice(HEADER)} c00c 0005 0001 00000e10 0002 c00c c02a 0005 0001 7fffffff 0002 c02a`,
    ];
    const lie = dice.pick([...lies, undefined]);
    if (lie === undefined || dice.chance(0.3)) return lie;
    return dice.chance(0.1) ? dice.octets(dice.below(600)) : dice.mangle(lie, lies);
  }
}

function zonesOf(name: string, ip: string): DnsZones {
  const zones = new DnsZones();
  zones.add({ Name: "internal.", Records: [{ Name: name, IP: ip }] });
  return zones;
}

export const serviceTargets = (): Target[] => [new DhcpTarget(), new DnsTarget()];
