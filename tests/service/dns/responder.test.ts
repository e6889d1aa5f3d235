/** The responder: what a guest is told about a name, in octets made and read by dns-packet. */
import { beforeEach, describe, expect, test } from "bun:test";
import { decode, encode, type Answer, type Packet, type RecordType } from "dns-packet";
import fc from "fast-check";
import { parseCidr } from "../../../lib/addr/ipv4.ts";
import {
  DnsResponder,
  type ResponderOptions,
  type SystemAnswer,
} from "../../../lib/service/dns/responder.ts";
import { Routes, type Route } from "../../../lib/service/dns/routes.ts";
import type { HostNaming } from "../../../lib/service/dns/sources.ts";
import { StaticHosts } from "../../../lib/service/dns/static-hosts.ts";
import { DnsZones } from "../../../lib/service/dns/zones.ts";
import { dump, hex } from "../../support/octets.ts";

const SYSTEM: Record<string, SystemAnswer> = {
  "www.example.org": {
    kind: "addresses",
    addresses: ["192.0.2.80", "192.0.2.81"],
    canonicalName: undefined,
  },
  "alias.example.org": {
    kind: "addresses",
    addresses: ["192.0.2.80"],
    canonicalName: "www.example.org",
  },
  "Same.Example.Org": {
    kind: "addresses",
    addresses: ["192.0.2.80"],
    canonicalName: "same.example.org.",
  },
  "six.example.org": { kind: "addresses", addresses: ["2001:db8::1"], canonicalName: undefined },
  "many.example.org": {
    kind: "addresses",
    addresses: Array.from({ length: 60 }, (_, i) => `192.0.2.${i}`),
    canonicalName: undefined,
  },
  "gone.example.org": { kind: "no-such-name" },
  "mx-only.example.org": { kind: "no-data" },
  "broken.example.org": { kind: "failure" },
};

/** what was asked of the system and of the name servers */
let asked: string[];
beforeEach(() => {
  asked = [];
});
const zones = new DnsZones();
zones.add({
  Name: "internal.",
  Records: [
    { Name: "host.lima", IP: "192.0.2.1" },
    { Name: "lima-other", IP: "192.0.2.7" },
  ],
});
zones.add({ Name: "corp.test.", Records: [{ Name: "gw", IP: "192.0.2.1" }] });

const routes = new Routes(
  { servers: [{ address: "192.0.2.53", port: 53 }], origin: "/etc/resolv.conf" },
  [{ domain: "vpn.test", servers: [{ address: "192.0.2.54", port: 53 }], origin: "vpn" }],
);
const HOSTS_FILE: Record<string, string[]> = { "in-hosts.test": ["192.0.2.90", "2001:db8::90"] };
const naming = (revision = () => 1): HostNaming => ({
  revision,
  hostsFile: (name) => HOSTS_FILE[name.toLowerCase()] ?? [],
  route: (name) => routes.for(name),
});
const told = ({ servers }: Route) => `relay ${servers[0]?.address}`;

const make = (options: Partial<ResponderOptions> = {}) =>
  new DnsResponder({
    zones,
    hosts: new StaticHosts(),
    naming: naming(),
    resolver: {
      addresses: async (name, family) => {
        asked.push(`${name} ${family}`);
        return SYSTEM[name] ?? { kind: "failure" };
      },
      query: async (name, type) => void asked.push(`${name} type ${type}`),
    },
    upstream: { relay: async (_query, route) => void asked.push(told(route)) },
    ipv6: false,
    emptyOnOutage: false,
    now: () => 0,
    ...options,
  });
/** a responder whose name servers say this */
const relaying = (reply: Uint8Array) => make({ upstream: { relay: async () => reply } });
const query = (name: string, type: RecordType, more: Partial<Packet> = {}) =>
  encode({
    type: "query",
    id: 77,
    flags: 0x0100,
    questions: [{ type, name, class: "IN" }],
    ...more,
  });
const opt = (udpPayloadSize: number, ednsVersion = 0): Answer => ({
  type: "OPT",
  name: ".",
  udpPayloadSize,
  extendedRcode: 0,
  ednsVersion,
  flags: 0,
  flag_do: false,
  options: [],
});
const withOptions = (options: unknown[]) => ({ ...opt(1232), options }) as Answer;
const read = (octets: Uint8Array | undefined) => {
  const packet = decode(Buffer.from(octets!));
  const { rcode } = packet as unknown as { rcode: string };
  const data = (packet.answers ?? []).map((answer) => ("data" in answer ? answer.data : undefined));
  return { ...packet, rcode, data: data as unknown[] };
};
const ask = async (name: string, type: RecordType, responder = make()) =>
  read(await responder.answer(query(name, type), "udp"));

describe("a question", () => {
  test.each<[string, RecordType, string, unknown[]]>([
    ["host.lima.internal", "A", "NOERROR", ["192.0.2.1"]],
    ["lima-other.internal", "A", "NOERROR", ["192.0.2.7"]],
    ["host.lima.internal", "AAAA", "NOERROR", []],
    ["host.lima.internal", "MX", "NOERROR", []],
    ["lima-nobody.internal", "A", "NXDOMAIN", []],
    ["lima-nobody.internal", "TXT", "NXDOMAIN", []],
    ["other.lima.internal", "A", "NXDOMAIN", []],
    ["in-hosts.test", "A", "NOERROR", ["192.0.2.90"]],
    ["gw.corp.test", "A", "NOERROR", ["192.0.2.1"]],
    ["7.2.0.192.in-addr.arpa", "PTR", "NOERROR", ["lima-other.internal"]],
    ["1.2.0.192.IN-ADDR.arpa", "PTR", "NOERROR", ["host.lima.internal", "gw.corp.test"]],
    ["www.example.org", "A", "NOERROR", ["192.0.2.80", "192.0.2.81"]],
    ["www.example.org", "AAAA", "NOERROR", []],
    ["alias.example.org", "A", "NOERROR", ["www.example.org", "192.0.2.80"]],
    ["Same.Example.Org", "A", "NOERROR", ["192.0.2.80"]],
    ["gone.example.org", "A", "NXDOMAIN", []],
    ["mx-only.example.org", "A", "NOERROR", []],
    ["broken.example.org", "A", "SERVFAIL", []],
    ["example.org", "MX", "SERVFAIL", []],
  ])("%s %s is answered %s", async (name, type, rcode, data) => {
    const reply = await ask(name, type);
    expect(reply).toMatchObject({ id: 77, type: "response", rcode });
    expect(reply.data).toEqual(data);
    expect(reply.questions).toEqual([{ type, name, class: "IN" }]);
  });

  test.each<[string, RecordType, string[]]>([
    ["host.lima.internal", "A", []],
    ["lima-nobody.internal", "SRV", []],
    ["metadata.google.internal", "A", ["metadata.google.internal 4"]],
    ["in-hosts.test", "A", []],
    ["in-hosts.test", "MX", ["in-hosts.test type 15"]],
    ["gw.corp.test", "TXT", ["gw.corp.test type 16"]],
    ["a.vpn.test", "SOA", ["relay 192.0.2.54"]],
    ["0x7f.1", "A", ["relay 192.0.2.53"]],
    ["192.0.2.1", "A", ["relay 192.0.2.53"]],
    ["7.2.0.192.in-addr.arpa", "PTR", []],
    ["www.example.org", "A", ["www.example.org 4"]],
    ["mail.corp.test", "A", ["mail.corp.test 4"]],
    ["www.example.org", "AAAA", []],
    ["example.org", "CNAME", ["example.org type 5"]],
    ["example.org", "TXT", ["example.org type 16"]],
    ["example.org", "MX", ["example.org type 15"]],
    ["_sip._tcp.example.org", "SRV", ["_sip._tcp.example.org type 33"]],
    ["example.org", "NS", ["example.org type 2"]],
    ["example.org", "CAA", ["relay 192.0.2.53"]],
    [".", "NS", ["relay 192.0.2.53"]],
    ["9.9.9.9.in-addr.arpa", "PTR", ["relay 192.0.2.53"]],
    ["7.2.0.999.in-addr.arpa", "PTR", ["relay 192.0.2.53"]],
    ["2.0.192.in-addr.arpa", "PTR", ["relay 192.0.2.53"]],
  ])("%s %s is asked of the host as %j", async (name, type, of) => {
    await ask(name, type);
    expect(asked).toEqual(of);
  });

  test("for AAAA is asked of the system where IPv6 is wanted, but not for our own names", async () => {
    expect((await ask("six.example.org", "AAAA", make({ ipv6: true }))).data).toEqual([
      "2001:db8::1",
    ]);
    expect((await ask("host.lima.internal", "AAAA", make({ ipv6: true }))).rcode).toBe("NOERROR");
    expect(asked).toEqual(["six.example.org 6"]);
  });

  test("of another class than the internet's is not ours to answer", async () => {
    const questions = [{ type: "A" as const, name: "host.lima.internal", class: "CH" as const }];
    await make().answer(query("", "A", { questions }), "tcp");
    expect(asked).toEqual(["relay 192.0.2.53"]);
  });
});

describe("an answer", () => {
  const octets = hex(`
    1234 0110 0001 0000 0000 0000           # recursion desired, checking disabled
    04 486f5374 04 4c696d61 08 494e5445726e616c 00 0001 0001  # HoSt.Lima.INTErnal A IN
  `);

  test("keeps the letters of the question, and the flags RD and CD", async () => {
    const reply = (await make().answer(octets, "udp"))!;
    // response, RD; RA, CD, no error; one question, one answer
    expect(dump(reply.subarray(0, 12))).toBe("123481900001000100000000");
    expect(dump(reply.subarray(12, 12 + octets.length - 12))).toBe(dump(octets.subarray(12)));
    expect(read(reply).answers).toMatchObject([
      { name: "HoSt.Lima.INTErnal", type: "A", class: "IN", ttl: 0, data: "192.0.2.1" },
    ]);
  });

  test("of the system has a TTL of five seconds, and the alias first", async () => {
    expect((await ask("alias.example.org", "A")).answers).toMatchObject([
      { name: "alias.example.org", type: "CNAME", ttl: 5, data: "www.example.org" },
      { name: "www.example.org", type: "A", ttl: 5, data: "192.0.2.80" },
    ]);
  });

  test("of a name server is relayed octet for octet, and so is the question", async () => {
    const reply = encode({
      type: "response",
      id: 77,
      flags: 0x8180,
      answers: [{ type: "NULL", name: "example.org", data: Buffer.from("x") }],
    });
    const relayed: Uint8Array[] = [];
    const relay = async (sent: Uint8Array) => {
      relayed.push(sent);
      return reply;
    };
    const sent = query("example.org", "NULL");
    const got = (await make({ upstream: { relay } }).answer(sent, "udp"))!;
    expect(dump(got)).toBe(dump(reply));
    expect(relayed.map(dump)).toEqual([dump(sent)]);
  });

  test.each<[string, Partial<ResponderOptions>, RecordType]>([
    [
      "the resolver",
      {
        resolver: {
          addresses: () => Promise.reject(new Error("no")),
          query: () => Promise.reject(new Error("no")),
        },
      },
      "A",
    ],
    ["the name server", { upstream: { relay: () => Promise.reject(new Error("no")) } }, "MX"],
  ])("is SERVFAIL when %s throws", async (_what, options, type) => {
    expect((await ask("example.org", type, make(options))).rcode).toBe("SERVFAIL");
  });

  const mx = (name: string) =>
    query(name, "MX", {
      type: "response",
      answers: [{ type: "MX", name, data: { preference: 10, exchange: "mail.test" } }],
    });

  // found by scripts/fuzz, seed 20261130: the question was exchanged for the client's, and records were cut in two
  test.each([
    ["NOERROR", "is what is asked about", mx("example.org")],
    ["SERVFAIL", "is about another name", mx("other.example.org")],
    ["SERVFAIL", "goes on behind its last record", new Uint8Array([...mx("example.org"), 0, 0])],
    ["SERVFAIL", "is cut in two", mx("example.org").subarray(0, -3)],
  ])("is %s when what the host's library hands on %s", async (rcode, _what, handedOn) => {
    const responder = make({
      resolver: { addresses: async () => ({ kind: "no-data" }), query: async () => handedOn },
    });
    expect((await ask("example.org", "MX", responder)).rcode).toBe(rcode);
  });

  test("is REFUSED while 2048 others are waited for, and comes again afterwards", async () => {
    const { promise, resolve } = Promise.withResolvers<SystemAnswer>();
    const responder = make({
      resolver: { addresses: () => promise, query: async () => undefined },
    });
    const waiting = Array.from({ length: 2048 }, () => ask("www.example.org", "A", responder));
    expect((await responder.answer(query("www.example.org", "A"), "udp", "other"))![3]! & 15).toBe(
      5,
    );
    resolve({ kind: "no-data" });
    await Promise.all(waiting);
    expect((await ask("www.example.org", "A", responder)).rcode).toBe("NOERROR");
  });
});

describe("EDNS (RFC 6891)", () => {
  test.each<[Answer[], Answer["type"][]]>([
    [[], []],
    [[opt(4096)], ["OPT"]],
  ])(
    "an OPT is in the reply when and only when one is in the query",
    async (additionals, types) => {
      const sent = query("host.lima.internal", "A", { additionals });
      const reply = read(await make().answer(sent, "udp"));
      expect(reply.additionals?.map(({ type }) => type)).toEqual(types);
      expect(reply.data).toEqual(["192.0.2.1"]);
    },
  );

  test("a version we do not know is BADVERS, told with ours", async () => {
    const sent = query("www.example.org", "A", { additionals: [opt(4096, 1)] });
    const reply = read(await make().answer(sent, "udp"));
    // RCODE 16 is 1 in the OPT's upper bits and 0 in the header
    expect(reply.rcode).toBe("NOERROR");
    expect(reply.additionals).toMatchObject([{ type: "OPT", extendedRcode: 1, ednsVersion: 0 }]);
    expect(asked).toEqual([]);
  });

  test("two OPT records are a format error", async () => {
    const sent = query("www.example.org", "A", { additionals: [opt(512), opt(512)] });
    expect((await make().answer(sent, "udp"))![3]! & 15).toBe(1);
  });
});

describe("truncation (RFC 2181 9)", () => {
  const long = encode({
    type: "response",
    id: 77,
    flags: 0x8183,
    answers: [
      {
        type: "TXT",
        name: "example.org",
        data: Array.from({ length: 10 }, () => Buffer.alloc(190, 120)),
      },
    ],
  });

  test.each([
    [undefined, true],
    [long.length, false],
    [long.length - 1, true],
    [4096, false],
    [100, true],
    [1, true],
  ])("a relayed answer for a client that takes %p is cut: %p", async (size, cut) => {
    const additionals = size === undefined ? [] : [opt(size)];
    const sent = query("example.org", "NULL", { additionals });
    const octets = (await relaying(long).answer(sent, "udp"))!;
    const reply = read(octets);
    expect(reply.flag_tc).toBe(cut);
    if (!cut) {
      expect(dump(octets)).toBe(dump(long));
      return;
    }
    expect(octets.length).toBeLessThanOrEqual(512);
    expect(reply).toMatchObject({ id: 77, rcode: "NXDOMAIN", answers: [] });
    expect(reply.questions).toEqual([{ type: "NULL", name: "example.org", class: "IN" }]);
    expect(reply.additionals?.length).toBe(additionals.length);
  });

  test("by TCP nothing is cut", async () => {
    const octets = (await relaying(long).answer(query("example.org", "NULL"), "tcp"))!;
    expect(dump(octets)).toBe(dump(long));
    const many = await make().answer(query("many.example.org", "A"), "tcp");
    expect(read(many).data).toHaveLength(60);
    const strings = Array.from({ length: 250 }, () => Buffer.alloc(250, 120));
    const huge = encode({
      type: "response",
      id: 77,
      flags: 0x8180,
      questions: [{ type: "NULL", name: "example.org", class: "IN" }],
      answers: [{ type: "TXT", name: "example.org", data: strings }],
    });
    const responder = relaying(huge);
    for (let times = 1; times <= 2; times++)
      expect(dump((await responder.answer(query("example.org", "NULL"), "tcp"))!)).toBe(dump(huge));
  });

  test("our own answers are cut as well", async () => {
    const octets = (await make().answer(query("many.example.org", "A"), "udp"))!;
    expect(octets.length).toBeLessThanOrEqual(512);
    expect(read(octets)).toMatchObject({ flag_tc: true, rcode: "NOERROR", data: [] });
  });
});

describe("what is no question", () => {
  test.each([
    ["another opcode", query("x", "A", { flags: 0x2000 }), 4],
    ["no question", encode({ type: "query", id: 77 }), 1],
    [
      "two questions",
      encode({
        type: "query",
        id: 77,
        questions: [
          { type: "A", name: "a" },
          { type: "A", name: "b" },
        ],
      }),
      1,
    ],
    ["a name that runs over the end", query("abc", "A").subarray(0, 14), 1],
    ["a question without its class", query("abc", "A").subarray(0, -2), 1],
    ["a name that points to itself", hex("004d0100000100000000 0000 c00c 0001 0001"), 1],
  ])("%s is refused with its RCODE", async (_what, octets, rcode) => {
    const reply = (await make().answer(octets, "udp"))!;
    expect([reply[0], reply[1], reply[2]! & 0x80, reply[3]! & 15]).toEqual([0, 77, 0x80, rcode]);
    expect(asked).toEqual([]);
  });

  test("a response, and what is shorter than a header, is not answered", async () => {
    expect(await make().answer(encode({ type: "response", id: 1 }), "udp")).toBeUndefined();
    expect(await make().answer(new Uint8Array(11), "udp")).toBeUndefined();
  });

  test("whatever comes, nothing is thrown", async () => {
    const responder = make();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (octets) => {
        await responder.answer(octets, "udp");
        const message = query("a.example", "A");
        message.set(octets.subarray(0, message.length - 12), 12);
        await responder.answer(message, "tcp");
      }),
      { numRuns: 500 },
    );
  });
});

describe("the cache", () => {
  const answering = (records: Partial<Packet>) => {
    let asks = 0;
    let now = 0;
    let revision = 1;
    const responder = make({
      now: () => now,
      naming: naming(() => revision),
      upstream: {
        relay: async (sent) => {
          asks++;
          const { questions } = decode(Buffer.from(sent));
          return encode({
            type: "response",
            id: 77,
            flags: 0x8180,
            questions: questions!,
            ...records,
          });
        },
      },
    });
    return {
      responder,
      asks: () => asks,
      pass: (seconds: number) => void (now += seconds * 1000),
      change: () => void revision++,
    };
  };
  const caa = (ttl: number): Answer => ({
    type: "CAA",
    name: "Example.org",
    ttl,
    data: { flags: 0, tag: "issue", value: "ca.test" },
  });
  const soa = (ttl: number, minimum: number): Answer => ({
    type: "SOA",
    name: "example.org",
    ttl,
    data: { mname: "a", rname: "b", serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
  });

  test("answers at once, with the TTL that is left, the client's id, and the letters of its question", async () => {
    const { responder, asks, pass } = answering({ answers: [caa(60)] });
    await responder.answer(query("example.org", "CAA"), "udp");
    pass(20.5);
    const again = responder.answer(query("EXAMPLE.org", "CAA", { id: 9 }), "udp");
    expect(again).toBeInstanceOf(Uint8Array);
    const reply = read(again as Uint8Array);
    expect(reply).toMatchObject({ id: 9, questions: [{ name: "EXAMPLE.org" }] });
    expect(reply.answers).toMatchObject([{ ttl: 40 }]);
    expect(asks()).toBe(1);
  });

  test("a TTL beside the answer's that has run out is nothing, not less", async () => {
    const { responder, pass } = answering({ answers: [caa(60)], authorities: [soa(5, 5)] });
    await responder.answer(query("example.org", "CAA"), "udp");
    pass(20);
    const reply = read((await responder.answer(query("example.org", "CAA"), "udp"))!);
    expect(reply.authorities).toMatchObject([{ ttl: 0 }]);
  });

  test.each([true, false])("DO comes back as it was sent: %p (RFC 3225 3)", async (flag_do) => {
    const { responder } = answering({ answers: [caa(60)] });
    const additionals = [{ ...opt(1232), flags: flag_do ? 0x8000 : 0, flag_do }];
    // the name server's own answer is passed on as it came; what is in the cache is told by us
    const sent = query("example.org", "CAA", { additionals });
    await responder.answer(sent, "udp");
    const octets = await responder.answer(sent, "udp");
    expect(read(octets).additionals).toMatchObject([{ flag_do }]);
  });

  test.each<[string, Partial<Packet>, number, boolean]>([
    ["within its TTL", { answers: [caa(60)] }, 59, true],
    ["after its TTL", { answers: [caa(60)] }, 60, false],
    ["after the least of several TTLs", { answers: [caa(60), caa(10)] }, 11, false],
    ["without a TTL", { answers: [caa(0)] }, 0, false],
    ["a TTL of no meaning", { answers: [caa(0x80000001)] }, 0, false],
    ["no data, within the SOA's minimum", { authorities: [soa(60, 20)] }, 19, true],
    ["no data, after the SOA's minimum", { authorities: [soa(60, 20)] }, 20, false],
    ["no data, after the SOA's TTL", { authorities: [soa(20, 60)] }, 20, false],
    ["no data, after five minutes", { authorities: [soa(9000, 9000)] }, 300, false],
    ["no data without an SOA", {}, 0, false],
    ["NXDOMAIN", { flags: 0x8183, authorities: [soa(60, 60)] }, 50, true],
    ["SERVFAIL", { flags: 0x8182, authorities: [soa(60, 60)] }, 0, false],
    ["cut", { flags: 0x8380, answers: [caa(60)] }, 0, false],
  ])("keeps what is %s", async (_what, records, seconds, kept) => {
    const { responder, asks, pass } = answering(records);
    await responder.answer(query("example.org", "CAA"), "udp");
    pass(seconds);
    await responder.answer(query("example.org", "CAA"), "udp");
    expect(asks()).toBe(kept ? 1 : 2);
  });

  test("is empty after the host's naming has changed", async () => {
    const { responder, asks, change } = answering({ answers: [caa(60)] });
    await responder.answer(query("example.org", "CAA"), "udp");
    change();
    await responder.answer(query("example.org", "CAA"), "udp");
    expect(asks()).toBe(2);
  });

  test("does not keep what was asked before a change and learnt after it", async () => {
    let answerFirst = (_reply: Uint8Array): void => {};
    let asks = 0;
    let revision = 1;
    const reply = encode({
      type: "response",
      id: 77,
      flags: 0x8180,
      questions: [{ type: "CAA", name: "example.org", class: "IN" }],
      answers: [caa(60)],
    });
    const responder = make({
      naming: naming(() => revision),
      upstream: {
        relay: () =>
          ++asks === 1
            ? new Promise((resolve) => (answerFirst = resolve))
            : Promise.resolve(undefined),
      },
    });
    const first = responder.answer(query("example.org", "CAA"), "udp");
    revision++;
    await responder.answer(query("other.org", "CAA", { id: 78 }), "udp");
    answerFirst(reply);
    await first;
    await responder.answer(query("example.org", "CAA"), "udp");
    expect(asks).toBe(3);
  });

  test("does not serve a client that asks for signatures, or for another subnet's answer", async () => {
    const { responder, asks } = answering({ answers: [caa(60)] });
    await responder.answer(query("example.org", "CAA"), "udp");
    const signed = { ...opt(1232), flags: 0x8000, flag_do: true };
    await responder.answer(query("example.org", "CAA", { additionals: [signed] }), "udp");
    const options = [{ code: "CLIENT_SUBNET", ip: "192.0.2.0" }];
    const subnet = query("example.org", "CAA", { additionals: [withOptions(options)] });
    await responder.answer(subnet, "udp");
    await responder.answer(subnet, "udp");
    expect(asks()).toBe(4);
  });

  test("does not pass one client's EDNS options on to another", async () => {
    const options = [{ code: 10, data: Buffer.from("cookie!!") }];
    const { responder } = answering({
      answers: [caa(60)],
      additionals: [withOptions(options)],
    });
    await responder.answer(query("example.org", "CAA", { additionals: [opt(4096)] }), "udp");
    const again = responder.answer(
      query("example.org", "CAA", { additionals: [opt(4096)] }),
      "udp",
    );
    expect(read(again as Uint8Array).additionals).toMatchObject([{ type: "OPT", options: [] }]);
    const without = responder.answer(query("example.org", "CAA"), "udp");
    expect(read(without as Uint8Array).additionals).toEqual([]);
  });

  test("is asked first, and one asking serves all who wait", async () => {
    const { responder, asks } = answering({ answers: [caa(60)] });
    const replies = await Promise.all(
      Array.from({ length: 20 }, async (_, id) =>
        responder.answer(
          query(id % 2 ? "example.ORG" : "example.org", "CAA", { id }),
          "udp",
          `${id}`,
        ),
      ),
    );
    expect(asks()).toBe(1);
    expect(replies.map((reply) => read(reply).id)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(read(replies[1]).questions).toMatchObject([{ name: "example.ORG" }]);
  });

  test("forgets a static name that is taken away", async () => {
    const hosts = new StaticHosts();
    const responder = make({ hosts });
    hosts.set("vm", { "db.test": "192.0.2.33" });
    expect((await ask("db.test", "A", responder)).data).toEqual(["192.0.2.33"]);
    hosts.set("vm", { "db.test": "192.0.2.34" });
    expect((await ask("db.test", "A", responder)).data).toEqual(["192.0.2.34"]);
    hosts.set("vm", {});
    expect((await ask("db.test", "A", responder)).rcode).toBe("SERVFAIL");
  });
});

describe("static hosts", () => {
  const hosts = new StaticHosts();
  hosts.set("a", {
    "db.example.com": "192.0.2.33",
    "six.test": "2001:db8::6",
    "in.test": "DB.example.com",
    "out.test": "www.example.org",
    "chain.test": "out.test",
    "hosts.test": "in-hosts.test",
    "vm.test": "lima-other.internal",
    "gone.test": "gone.example.org",
    "one.test": "two.test",
    "two.test": "one.test",
    "*.apps.test": "192.0.2.34",
    "*.deep.apps.test": "192.0.2.35",
    "exact.apps.test": "192.0.2.36",
    "*.out.apps.test": "www.example.org",
  });
  test.each<[string, RecordType, string, unknown[]]>([
    ["db.example.com", "A", "NOERROR", ["192.0.2.33"]],
    ["DB.Example.COM", "A", "NOERROR", ["192.0.2.33"]],
    ["db.example.com", "AAAA", "NOERROR", []],
    ["six.test", "AAAA", "NOERROR", ["2001:db8::6"]],
    ["six.test", "A", "NOERROR", []],
    ["in.test", "A", "NOERROR", ["192.0.2.33"]],
    ["out.test", "A", "NOERROR", ["www.example.org", "192.0.2.80", "192.0.2.81"]],
    ["out.test", "CNAME", "NOERROR", ["www.example.org"]],
    ["chain.test", "A", "NOERROR", ["www.example.org", "192.0.2.80", "192.0.2.81"]],
    ["hosts.test", "A", "NOERROR", ["in-hosts.test", "192.0.2.90"]],
    ["vm.test", "A", "NOERROR", ["lima-other.internal", "192.0.2.7"]],
    ["one.test", "A", "SERVFAIL", []],
    ["a.apps.test", "A", "NOERROR", ["192.0.2.34"]],
    ["a.b.apps.test", "A", "NOERROR", ["192.0.2.34"]],
    ["a.deep.apps.test", "A", "NOERROR", ["192.0.2.35"]],
    ["exact.apps.test", "A", "NOERROR", ["192.0.2.36"]],
    ["x.out.apps.test", "A", "NOERROR", ["www.example.org", "192.0.2.80", "192.0.2.81"]],
    ["33.2.0.192.in-addr.arpa", "PTR", "NOERROR", ["db.example.com"]],
  ])("%s %s is %s %j", async (name, type, rcode, data) => {
    const reply = await ask(name, type, make({ hosts, ipv6: true }));
    expect([reply.rcode, reply.data]).toEqual([rcode, data]);
  });

  test.each(["www.example.com", "example.com", "x.db.example.com", "apps.test", "com"])(
    "%s beside them is asked of the host",
    async (name) => {
      await ask(name, "A", make({ hosts }));
      expect(asked).toEqual([`${name} 4`]);
    },
  );
});

test("addresses of the network that have no name are nobody else's to know", async () => {
  const responder = make({ subnet: parseCidr("192.0.2.0/24") });
  expect((await ask("200.2.0.192.in-addr.arpa", "PTR", responder)).rcode).toBe("NXDOMAIN");
  expect(asked).toEqual([]);
});

test("an outage is an empty answer where Lima's way is wanted", async () => {
  expect((await ask("broken.example.org", "A", make({ emptyOnOutage: true }))).rcode).toBe(
    "NOERROR",
  );
});

describe("replies to one client's queries of one id", () => {
  test("keep their order, so that an empty AAAA is not taken for the A", async () => {
    const { promise, resolve } = Promise.withResolvers<SystemAnswer>();
    const responder = make({
      resolver: { addresses: () => promise, query: async () => undefined },
    });
    const order: string[] = [];
    const send = (type: RecordType, client: string, id = 77) =>
      Promise.resolve(responder.answer(query("www.example.org", type, { id }), "udp", client)).then(
        () => order.push(`${type} ${client} ${id}`),
      );
    const all = [
      send("A", "one"),
      send("AAAA", "one"),
      send("AAAA", "two"),
      send("AAAA", "one", 78),
    ];
    await Promise.all([all[2], all[3]]);
    resolve({ kind: "no-data" });
    await Promise.all(all);
    expect(order).toEqual(["AAAA two 77", "AAAA one 78", "A one 77", "AAAA one 77"]);
  });
});

describe("explain()", () => {
  const hosts = new StaticHosts();
  hosts.set("a", { "out.test": "www.example.org", "db.test": "192.0.2.33" });
  test.each<[string, number, string, string, string[]]>([
    ["db.test", 1, "static", "NOERROR", []],
    ["out.test", 1, "static", "NOERROR", ["192.0.2.53"]],
    ["gw.corp.test", 1, "zone", "NOERROR", []],
    ["lima-x.internal", 1, "no-such-own-name", "NXDOMAIN", []],
    ["in-hosts.test", 1, "hosts-file", "NOERROR", []],
    ["www.example.org", 1, "system", "NOERROR", ["192.0.2.53"]],
    ["www.example.org", 28, "ipv6-off", "NOERROR", []],
    ["www.example.org", 15, "system", "SERVFAIL", ["192.0.2.53"]],
    ["www.example.org", 257, "upstream", "SERVFAIL", ["192.0.2.53"]],
    ["www.vpn.test", 257, "route", "SERVFAIL", ["192.0.2.54"]],
    ["7.2.0.192.in-addr.arpa", 12, "own-address", "NOERROR", []],
  ])("names the source of %s type %d: %s", async (name, type, source, status, servers) => {
    const said = await make({ hosts }).explain(name, type);
    expect(said).toMatchObject({ name, source, status, servers, cache: { cached: false } });
  });

  test("tells what the cache has", async () => {
    const responder = make();
    await ask("www.example.org", "A", responder);
    await ask("gw.corp.test", "A", responder);
    expect((await responder.explain("www.example.org", 1)).cache).toEqual({
      cached: true,
      secondsLeft: 5,
    });
    expect((await responder.explain("gw.corp.test", 1)).cache).toEqual({ cached: true });
  });

  test("throws for what is no name", () => {
    expect(make().explain("a..b", 1)).rejects.toThrow("not a DNS name: a..b");
  });
});

describe("address()", () => {
  const hosts = new StaticHosts();
  hosts.set("a", { "out.test": "www.example.org" });
  test.each([
    ["host.lima.internal", "192.0.2.1"],
    ["out.test", "192.0.2.80"],
    ["gone.example.org", undefined],
    ["mx-only.example.org", undefined],
    ["a..b", undefined],
  ])("of %s is %p", async (name, ip) =>
    expect(await make({ hosts }).address(name)).toBe(ip as string),
  );
});
