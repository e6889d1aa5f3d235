import { beforeEach, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { Reassembler } from "../../lib/stack/reassembly.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { Counters } from "../../lib/trace/counters.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { Ipv4View } from "../../lib/wire/ipv4.ts";
import { ipv4, pattern, text, type Packet } from "../support/injected-frames.ts";

/** RFC 791: total length is 16 bits, 20 octets of it are header */
const LARGEST_PAYLOAD = 65515;
const TIMEOUT_MS = 30_000;

let memory: PacketMemory;
let counters: Counters;
let reassembler: Reassembler;
let receive: number;
const view = new Ipv4View();

beforeEach(() => {
  memory = new PacketMemory(4 << 20);
  counters = new Counters();
  reassembler = new Reassembler(memory, counters);
  receive = memory.reserve(65536);
});

/** "kept", a Drop, or the octets of the datagram that is whole now */
function add(fields: Partial<Packet>, now = 0, port = 0): string | Uint8Array {
  const { octets } = memory;
  const packet = ipv4({
    src: "10.0.0.11",
    dst: "8.8.8.8",
    protocol: 17,
    payload: text("01234567"),
    ...fields,
  });
  octets.set(packet, receive);
  view.read(octets, receive, receive + packet.length, sumOctetsOf(octets));
  const drop = reassembler.add(now, octets, view, port);
  // the receive buffer is used again
  octets.fill(0xa5, receive, receive + packet.length);
  if (drop !== undefined) return drop;
  if (view.moreFragments) return "kept";
  expect(view.fragmentOffset).toBe(0);
  return octets.slice(view.payload, view.end);
}

/** "OFFSET:OCTETS" and a "+" when more follow, e.g. "0:01234567+" */
function parse(fragment: string): Partial<Packet> {
  const [, offset, octets, more] = /^(\d+):([^+]*)(\+?)$/.exec(fragment)!;
  return { offset: Number(offset), payload: text(octets!), more: more === "+" };
}

/** what happens to each of several fragments, whole datagrams as text */
const outcomes = (fragments: string) =>
  fragments
    .split(" ")
    .map((fragment) => add(parse(fragment)))
    .map((outcome) => (typeof outcome === "string" ? outcome : new TextDecoder().decode(outcome)));

const WHOLE = "AAAAAAAABBBBBBBBCCC";

describe("add() puts together", () => {
  test.each([
    ["in order", "0:AAAAAAAA+ 8:BBBBBBBB+ 16:CCC"],
    ["backwards", "16:CCC 8:BBBBBBBB+ 0:AAAAAAAA+"],
    ["with the middle last", "0:AAAAAAAA+ 16:CCC 8:BBBBBBBB+"],
    ["with the end first", "16:CCC 0:AAAAAAAA+ 8:BBBBBBBB+"],
    ["with the middle first", "8:BBBBBBBB+ 16:CCC 0:AAAAAAAA+"],
    ["with the start in the middle", "8:BBBBBBBB+ 0:AAAAAAAA+ 16:CCC"],
  ])("fragments that come %s", (_name, fragments) => {
    expect(outcomes(fragments)).toEqual(["kept", "kept", WHOLE]);
  });

  test.each([
    ["identification", { identification: 2 }],
    ["source", { src: "10.0.0.12" }],
    ["destination", { dst: "8.8.4.4" }],
    ["protocol", { protocol: 1 }],
  ] as const)("datagrams that differ in their %s, apart from each other", (_name, other) => {
    expect(add({ ...parse("0:AAAAAAAA+") })).toBe("kept");
    expect(add({ ...parse("0:XXXXXXXX+"), ...other })).toBe("kept");
    expect(add({ ...parse("8:YY"), ...other })).toEqual(text("XXXXXXXXYY"));
    expect(add({ ...parse("8:BB") })).toEqual(text("AAAAAAAABB"));
  });

  test("the same identification again when its datagram is done", () => {
    const twice = "0:AAAAAAAA+ 8:B 8:D 0:CCCCCCCC+";
    expect(outcomes(twice)).toEqual(["kept", "AAAAAAAAB", "kept", "CCCCCCCCD"]);
  });

  test("the largest datagram there is", () => {
    const whole = pattern(LARGEST_PAYLOAD);
    let outcome: string | Uint8Array = "";
    for (let offset = 0; offset < whole.length; offset += 1480) {
      const payload = whole.slice(offset, offset + 1480);
      outcome = add({ offset, payload, more: offset + 1480 < whole.length });
    }
    expect(outcome).toEqual(whole);
  });

  test("a datagram behind the first fragment's header, whichever came last", () => {
    expect(add(parse("8:B"))).toBe("kept");
    // RFC 791: four octets of no operation
    expect(add({ ...parse("0:AAAAAAAA+"), options: "01010101" })).toEqual(text("AAAAAAAAB"));
    expect(view.payload - view.start).toBe(24);
    expect(memory.octets.slice(view.start + 20, view.payload).toHex()).toBe("01010101");
  });
});

// RFC 5722 drops the datagram, so that no two readers can see different contents
test.each([
  ["the same fragment twice", "0:AAAAAAAA+ 0:AAAAAAAA+"],
  ["the same place with other octets", "8:BBBBBBBB+ 8:XXXXXXXX+"],
  ["a fragment over the start of another", "8:BBBBBBBBBBBBBBBB+ 0:AAAAAAAAXXXXXXXX+"],
  ["a fragment over the end of another", "0:AAAAAAAABBBBBBBB+ 8:XXXXXXXXCCCCCCCC+"],
  ["a fragment around another", "8:BBBBBBBB+ 0:AAAAAAAAXXXXXXXXCCCCCCCC+"],
  ["a fragment inside another", "0:AAAAAAAABBBBBBBBCCCCCCCC+ 8:XXXXXXXX+"],
  ["two ends in different places", "16:CCC 24:DDD"],
  ["octets behind the end", "8:BBB 16:CCCCCCCC+"],
  ["an end in front of octets that are there", "16:CCCCCCCC+ 8:BBB"],
])("add() drops the whole datagram on %s", (_name, fragments) => {
  expect(outcomes(fragments)).toEqual(["kept", "fragment-overlap"]);
  // what was kept before is gone: only a datagram sent again becomes whole
  expect(outcomes("0:XXXXXXXX+ 8:YYYYYYYY+ 16:ZZZ").at(-1)).toBe("XXXXXXXXYYYYYYYYZZZ");
});

test.each([
  ["nothing", { payload: text(""), more: true }, "fragment-length"],
  ["nothing at the end", { offset: 8, payload: text("") }, "fragment-length"],
  ["part of eight octets, not at the end", { payload: text("123"), more: true }, "fragment-length"],
  ["one octet too many", { offset: 65512, payload: text("1234") }, "fragment-too-long"],
  ["the farthest place", { offset: 65528, payload: text("1") }, "fragment-too-long"],
  ["the last octet there may be", { offset: 65512, payload: text("123") }, "kept"],
] as const)("add() judges a fragment with %s", (_name, fields, outcome) => {
  expect(add(fields)).toBe(outcome);
});

test.each([
  ["in time", TIMEOUT_MS - 1, text("AAAAAAAAB"), {}],
  ["too late", TIMEOUT_MS, "kept", { "fragment-timeout": 1 }],
])(
  "add() counts the time from the first fragment when the last comes %s",
  (_n, at, outcome, counts) => {
    expect(add(parse("0:AAAAAAAA+"), 0)).toBe("kept");
    expect(add({ ...parse("0:XXXXXXXX+"), identification: 9 }, TIMEOUT_MS / 2)).toBe("kept");
    expect(add(parse("8:B"), at)).toEqual(outcome);
    expect(counters.values).toEqual(counts);
  },
);

describe("the places for datagrams under way", () => {
  const start = (identification: number, port = 0, now = 0, src = "10.0.0.11") =>
    add({ ...parse("0:AAAAAAAA+"), identification, src }, now, port);
  const fill = (ports: number) => {
    for (let n = 0; n < ports * 8; n++) expect(start(n, n >> 3)).toBe("kept");
  };

  test("are eight for one port, whatever addresses it has, which takes none from others", () => {
    fill(1);
    expect(start(100)).toBe("fragment-no-place");
    expect(start(100, 0, 0, "10.0.0.98")).toBe("fragment-no-place");
    expect(start(100, 99)).toBe("kept");
    expect(add({ ...parse("8:B"), identification: 7 })).toEqual(text("AAAAAAAAB"));
    expect(start(100)).toBe("kept");
  });

  test("are 32 for all", () => {
    fill(4);
    expect(start(100, 99)).toBe("fragment-no-place");
    expect(start(100, 99, TIMEOUT_MS)).toBe("kept");
    expect(counters.values).toEqual({ "fragment-timeout": 32 });
  });

  test("are free again after an overlap", () => {
    fill(1);
    expect(start(3)).toBe("fragment-overlap");
    expect(start(100)).toBe("kept");
  });

  test("hold 64 separate pieces of a datagram and give up on more", () => {
    const pieces = Array.from({ length: 65 }, (_, n) => add({ offset: 16 * n, more: true }));
    expect(pieces).toEqual([...Array.from({ length: 64 }, () => "kept"), "fragment-overlap"]);
  });
});

test("add() makes the datagram that was cut, in whatever order its pieces come", () => {
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(cuts, fc.integer({ min: 1, max: 8 }), fc.noShrink(fc.nat()), (at, tail, seed) => {
      const edges = [0, ...at.toSorted((a, b) => a - b).map((cut) => cut * 8)];
      const whole = pattern(edges.at(-1)! + tail);
      const pieces = edges.map((offset, n) => {
        const end = edges[n + 1] ?? whole.length;
        return { offset, payload: whole.slice(offset, end), more: end < whole.length };
      });
      const shuffled = pieces
        .map((piece, n) => ({ piece, order: Math.imul(seed + n, 0x9e3779b1) >>> 8 }))
        .toSorted((a, b) => a.order - b.order);
      const results = shuffled.map(({ piece }) => add(piece));
      expect(results.pop()).toEqual(whole);
      expect(new Set(results)).toEqual(new Set(["kept"]));
    }),
  );
});
