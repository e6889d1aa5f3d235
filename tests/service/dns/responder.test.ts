/** The responder: what a guest is told about a name, in octets made and read by dns-packet. */
import { beforeEach, describe, expect, test } from "bun:test";
import { decode, encode, type Answer, type Packet, type RecordType } from "dns-packet";
import fc from "fast-check";
import {
  DnsResponder,
  type ResponderOptions,
  type SystemAnswer,
} from "../../../lib/service/dns/responder.ts";
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

const make = (options: Partial<ResponderOptions> = {}) =>
  new DnsResponder({
    zones,
    resolver: {
      lookup: async (name, family) => {
        asked.push(`${name} ${family}`);
        return SYSTEM[name] ?? { kind: "failure" };
      },
    },
    upstream: {
      relay: async (_query, transport) => void asked.push(transport),
    },
    ipv6: false,
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
    ["nobody.internal", "A", "NXDOMAIN", []],
    ["nobody.internal", "TXT", "NXDOMAIN", []],
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
    ["nobody.internal", "SRV", []],
    ["7.2.0.192.in-addr.arpa", "PTR", []],
    ["www.example.org", "A", ["www.example.org 4"]],
    ["mail.corp.test", "A", ["mail.corp.test 4"]],
    ["www.example.org", "AAAA", []],
    ["example.org", "CNAME", ["udp"]],
    ["example.org", "TXT", ["udp"]],
    ["example.org", "MX", ["udp"]],
    ["_sip._tcp.example.org", "SRV", ["udp"]],
    ["example.org", "NS", ["udp"]],
    [".", "NS", ["udp"]],
    ["9.9.9.9.in-addr.arpa", "PTR", ["udp"]],
    ["7.2.0.999.in-addr.arpa", "PTR", ["udp"]],
    ["2.0.192.in-addr.arpa", "PTR", ["udp"]],
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
    expect(asked).toEqual(["tcp"]);
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
      answers: [{ type: "TXT", name: "example.org", data: "x" }],
    });
    const relayed: Uint8Array[] = [];
    const relay = async (sent: Uint8Array) => {
      relayed.push(sent);
      return reply;
    };
    const sent = query("example.org", "TXT");
    const got = (await make({ upstream: { relay } }).answer(sent, "udp"))!;
    expect(dump(got)).toBe(dump(reply));
    expect(relayed.map(dump)).toEqual([dump(sent)]);
  });

  test.each<[string, Partial<ResponderOptions>, RecordType]>([
    ["the resolver", { resolver: { lookup: () => Promise.reject(new Error("no")) } }, "A"],
    ["the name server", { upstream: { relay: () => Promise.reject(new Error("no")) } }, "MX"],
  ])("is SERVFAIL when %s throws", async (_what, options, type) => {
    expect((await ask("example.org", type, make(options))).rcode).toBe("SERVFAIL");
  });

  test("is REFUSED while 512 others are waited for, and comes again afterwards", async () => {
    const { promise, resolve } = Promise.withResolvers<SystemAnswer>();
    const responder = make({ resolver: { lookup: () => promise } });
    const waiting = Array.from({ length: 512 }, () => ask("www.example.org", "A", responder));
    expect((await responder.answer(query("www.example.org", "A"), "udp"))![3]! & 15).toBe(5);
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
    const sent = query("example.org", "TXT", { additionals });
    const octets = (await relaying(long).answer(sent, "udp"))!;
    const reply = read(octets);
    expect(reply.flag_tc).toBe(cut);
    if (!cut) {
      expect(dump(octets)).toBe(dump(long));
      return;
    }
    expect(octets.length).toBeLessThanOrEqual(512);
    expect(reply).toMatchObject({ id: 77, rcode: "NXDOMAIN", answers: [] });
    expect(reply.questions).toEqual([{ type: "TXT", name: "example.org", class: "IN" }]);
    expect(reply.additionals?.length).toBe(additionals.length);
  });

  test("by TCP nothing is cut", async () => {
    const octets = (await relaying(long).answer(query("example.org", "TXT"), "tcp"))!;
    expect(dump(octets)).toBe(dump(long));
    const many = await make().answer(query("many.example.org", "A"), "tcp");
    expect(read(many).data).toHaveLength(60);
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
