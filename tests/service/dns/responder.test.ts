/** Zones and responder: what a guest is told about a name, in octets made and read by dns-packet. */
import { describe, expect, test } from "bun:test";
import { decode, encode, type Packet, type RecordType } from "dns-packet";
import fc from "fast-check";
import { DnsResponder, type SystemAnswer } from "../../../lib/service/dns/responder.ts";
import { DnsZones, zonesOfHosts, type Zone } from "../../../lib/service/dns/zones.ts";

const zones = (...list: Zone[]) => {
  const all = new DnsZones();
  for (const zone of list) all.add(zone);
  return all;
};

describe("DnsZones", () => {
  const table = zones(
    {
      Name: "internal.",
      Records: [
        { Name: "host.lima", IP: "192.0.2.1" },
        { Name: "db", IP: "192.0.2.2" },
      ],
    },
    {
      Name: "example.test.",
      Records: [
        { Name: "www", IP: "192.0.2.3" },
        { Name: "", Regexp: "^n[0-9]+$", IP: "192.0.2.4" },
      ],
    },
    { Name: "apps.internal.", Records: [], DefaultIP: "192.0.2.5" },
  );
  test.each([
    ["host.lima.internal", "192.0.2.1"],
    ["HOST.Lima.Internal.", "192.0.2.1"],
    ["db.internal", "192.0.2.2"],
    ["www.example.test", "192.0.2.3"],
    ["n42.example.test", "192.0.2.4"],
    ["anything.apps.internal", "192.0.2.5"],
    ["apps.internal", "192.0.2.5"],
  ])("%s is %s", (name, ip) => expect(table.lookup(name)).toEqual({ kind: "address", ip }));
  test.each([
    ["other.internal", "no-such-name"],
    ["mail.example.test", "elsewhere"],
    ["notinternal", "elsewhere"],
    ["internal", "elsewhere"],
    ["example.org", "elsewhere"],
  ] as const)("%s is %s", (name, kind) => expect(table.lookup(name)).toEqual({ kind }));

  test("adding a zone again puts the new records first and keeps the old ones", () => {
    const twice = zones(
      { Name: "x.", Records: [{ Name: "a", IP: "192.0.2.1" }] },
      { Name: "X.", Records: [{ Name: "a", IP: "192.0.2.9" }], DefaultIP: "192.0.2.8" },
    );
    expect(twice.all()).toEqual([
      {
        Name: "X.",
        Records: [
          { Name: "a", IP: "192.0.2.9" },
          { Name: "a", IP: "192.0.2.1" },
        ],
        DefaultIP: "192.0.2.8",
      },
    ]);
    expect(twice.lookup("a.x")).toEqual({ kind: "address", ip: "192.0.2.9" });
  });

  test("namesOf() tells the names of an address", () => {
    expect(table.namesOf("192.0.2.1")).toEqual(["host.lima.internal"]);
    expect(table.namesOf("192.0.2.99")).toEqual([]);
  });

  test("zonesOfHosts() follows aliases, and leaves out circles and names that lead out of the table", () => {
    const made = zones(
      ...zonesOfHosts({
        "host.lima.internal": "192.0.2.1",
        "host.docker.internal": "host.lima.internal",
        short: "192.0.2.7",
        "a.test": "b.test",
        "b.test": "a.test",
        "away.test": "example.org",
      }),
    );
    expect(made.lookup("host.docker.internal")).toEqual({ kind: "address", ip: "192.0.2.1" });
    expect(made.lookup("short")).toEqual({ kind: "address", ip: "192.0.2.7" });
    for (const name of ["a.test", "away.test"]) expect(made.lookup(name).kind).toBe("elsewhere");
  });
});

describe("DnsResponder", () => {
  const asked: string[] = [];
  const system: Record<string, SystemAnswer> = {
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
    "gone.example.org": { kind: "no-such-name" },
    "mx-only.example.org": { kind: "no-data" },
    "broken.example.org": { kind: "failure" },
  };
  const make = (
    ipv6 = false,
    relay: (query: Uint8Array) => Promise<Uint8Array | undefined> = async () => undefined,
  ) =>
    new DnsResponder({
      zones: zones({ Name: "internal.", Records: [{ Name: "host.lima", IP: "192.0.2.1" }] }),
      resolver: {
        lookup: async (name, family) => {
          asked.push(`${name} ${family}`);
          return system[name] ?? { kind: "failure" };
        },
      },
      upstream: { relay },
      ipv6,
    });
  const query = (name: string, type: RecordType, more: Partial<Packet> = {}) =>
    encode({
      type: "query",
      id: 77,
      flags: 0x0100,
      questions: [{ type, name, class: "IN" }],
      ...more,
    });
  const ask = async (name: string, type: RecordType, responder = make()) => {
    const octets = (await responder.answer(query(name, type), "udp"))!;
    const { rcode } = decode(Buffer.from(octets)) as unknown as { rcode: string };
    return { rcode, packet: decode(Buffer.from(octets)) };
  };

  test.each<[string, RecordType, string, unknown[]]>([
    ["host.lima.internal", "A", "NOERROR", ["192.0.2.1"]],
    ["host.lima.internal", "AAAA", "NOERROR", []],
    ["host.lima.internal", "MX", "NOERROR", []],
    ["nobody.internal", "A", "NXDOMAIN", []],
    ["1.2.0.192.in-addr.arpa", "PTR", "NOERROR", ["host.lima.internal"]],
    ["www.example.org", "A", "NOERROR", ["192.0.2.80", "192.0.2.81"]],
    ["www.example.org", "AAAA", "NOERROR", []],
    ["alias.example.org", "A", "NOERROR", ["www.example.org", "192.0.2.80"]],
    ["gone.example.org", "A", "NXDOMAIN", []],
    ["mx-only.example.org", "A", "NOERROR", []],
    ["broken.example.org", "A", "SERVFAIL", []],
    ["example.org", "MX", "SERVFAIL", []],
  ])("%s %s is %s", async (name, type, rcode, data) => {
    const { packet, rcode: is } = await ask(name, type);
    expect(is).toBe(rcode);
    expect(packet.id).toBe(77);
    expect(
      (packet.answers ?? []).map((answer) => ("data" in answer ? answer.data : undefined)),
    ).toEqual(data as never);
    expect(packet.questions).toEqual([{ type, name, class: "IN" }]);
  });

  test("AAAA is asked of the system only where IPv6 is wanted", async () => {
    asked.length = 0;
    await ask("www.example.org", "AAAA");
    expect(asked).toEqual([]);
    await ask("www.example.org", "AAAA", make(true));
    expect(asked).toEqual(["www.example.org 6"]);
  });

  test("other types are relayed octet for octet, and so is the answer", async () => {
    const reply = encode({
      type: "response",
      id: 77,
      flags: 0x8180,
      answers: [{ type: "TXT", name: "example.org", data: "x" }],
    });
    let relayed: Uint8Array | undefined;
    const responder = make(false, async (octets) => {
      relayed = octets;
      return reply;
    });
    const sent = query("example.org", "TXT");
    expect(Buffer.compare((await responder.answer(sent, "udp"))!, reply)).toBe(0);
    expect(Buffer.compare(relayed!, sent)).toBe(0);
  });

  test.each([
    [undefined, 512, true],
    [4096, 4096, false],
    [1232, 1232, true],
    [100, 512, true],
  ])("an answer of 2000 octets to a client that takes %p is cut: %p", async (size, limit, cut) => {
    const long = encode({
      type: "response",
      id: 77,
      answers: [
        {
          type: "TXT",
          name: "example.org",
          data: Array.from({ length: 10 }, () => Buffer.alloc(190, 120)),
        },
      ],
    });
    const edns = {
      type: "OPT",
      name: ".",
      udpPayloadSize: size,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    };
    const additionals = size === undefined ? [] : [edns as never];
    const octets = await make(false, async () => long).answer(
      query("example.org", "TXT", { additionals }),
      "udp",
    );
    expect(octets!.length).toBeLessThanOrEqual(limit);
    expect(decode(Buffer.from(octets!)).flag_tc).toBe(cut);
    const whole = await make(false, async () => long).answer(query("example.org", "TXT"), "tcp");
    expect(whole!.length).toBe(long.length);
  });

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
  ])("%s is refused with its RCODE", async (_what, octets, rcode) => {
    const reply = (await make().answer(octets, "udp"))!;
    expect([reply[0], reply[1], reply[2]! & 0x80, reply[3]! & 15]).toEqual([0, 77, 0x80, rcode]);
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
