import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  addressOption,
  emitDhcp,
  encodeClasslessRoutes,
  encodeSearchList,
  parseDhcp,
  words,
  type DhcpMessage,
} from "../../lib/wire/dhcpv4.ts";
import { changed, dump, hex, OFFSETS, poisoned, type Changes } from "../support/octets.ts";

const zeros = (count: number) => "00".repeat(count);

interface Fields {
  sname?: string;
  file?: string;
}

/** A client's message by RFC 2131 figure 1; `options` follow the magic cookie. */
const client = (options: string, { sname = "", file = "" }: Fields = {}) =>
  hex(`
    01 01 06 00                           # BOOTREQUEST, Ethernet, 6 octets of address
    12345678                              # xid
    0102 8000                             # secs, broadcast
    c0a80502 c0a80503 c0a80504 c0a80505   # ciaddr, yiaddr, siaddr, giaddr
    525555000001 ${zeros(10)}             # chaddr
    ${field(sname, 64)}
    ${field(file, 128)}
    63825363
    ${options}`);

function field(text: string, length: number): string {
  const octets = dump(hex(text));
  return octets + zeros(length - octets.length / 2);
}

/** the message, parsed from the middle of a larger buffer: that of a host is a window onto one */
function parse(octets: Uint8Array, offset: number): DhcpMessage {
  const message = parseDhcp(poisoned(octets, offset).subarray(offset, offset + octets.length));
  if (typeof message === "string") throw new Error(`dropped: ${message}`);
  return message;
}

const optionsOf = (message: DhcpMessage) =>
  [...message.options].map(([code, value]) => [code, dump(value)]);

describe.each(OFFSETS)("parseDhcp() at offset %d", (offset) => {
  test("takes the fields", () => {
    expect(parse(client("350103 ff"), offset)).toEqual({
      xid: 0x12345678,
      secs: 0x0102,
      broadcast: true,
      ciaddr: 0xc0a80502,
      yiaddr: 0xc0a80503,
      giaddr: 0xc0a80505,
      chaddr: 0x525555000001,
      type: 3,
      options: new Map([[53, hex("03")]]),
    });
  });

  test("knows unicast by the flag alone", () => {
    expect(parse(changed(client("350103 ff"), { 10: 0x7f, 11: 0xff }), offset).broadcast).toBe(
      false,
    );
  });

  test.each<[string, string, Fields, [number, string][]]>([
    [
      "padding between options",
      "00 350101 0000 0c0161 00 ff",
      {},
      [
        [53, "01"],
        [12, "61"],
      ],
    ],
    [
      "an option without a value",
      "350101 5000 ff",
      {},
      [
        [53, "01"],
        [80, ""],
      ],
    ],
    [
      "no end option",
      "350101 0c0161",
      {},
      [
        [53, "01"],
        [12, "61"],
      ],
    ],
    ["nothing behind the end option", "350101 ff 0c0161 0cff", {}, [[53, "01"]]],
    [
      "parts of one option, joined (RFC 3396)",
      "350101 0c026162 5000 0c0163 ff",
      {},
      [
        [53, "01"],
        [12, "616263"],
        [80, ""],
      ],
    ],
    [
      "no options of the fields without overload",
      "350101 ff",
      { file: "0c0161", sname: "0c0162" },
      [[53, "01"]],
    ],
    [
      "options of the file field (overload 1)",
      "340101 350101 ff",
      { file: "0c0161 ff", sname: "0c0162 ff" },
      [
        [52, "01"],
        [53, "01"],
        [12, "61"],
      ],
    ],
    [
      "options of the sname field (overload 2)",
      "340102 350101 ff",
      { file: "0c0161 ff", sname: "0c0162 ff" },
      [
        [52, "02"],
        [53, "01"],
        [12, "62"],
      ],
    ],
    [
      "options of both, file first (RFC 3396 section 5)",
      "340103 350101 0c0160 ff",
      { file: "0c0161 ff", sname: "0c0162 ff" },
      [
        [52, "03"],
        [53, "01"],
        [12, "606162"],
      ],
    ],
    [
      "the type in a field",
      "340102 ff",
      { sname: "350108 ff" },
      [
        [52, "02"],
        [53, "08"],
      ],
    ],
    [
      "a file field that is full",
      "340101 350101 ff",
      { file: `0c7e ${"61".repeat(126)}` },
      [
        [52, "01"],
        [53, "01"],
        [12, "61".repeat(126)],
      ],
    ],
    [
      "an sname field that is full",
      "340102 350101 ff",
      { sname: `0c3e ${"61".repeat(62)}` },
      [
        [52, "02"],
        [53, "01"],
        [12, "61".repeat(62)],
      ],
    ],
    [
      "an overload without a value",
      "3400 350101 ff",
      { file: "0c0161 ff" },
      [
        [52, ""],
        [53, "01"],
      ],
    ],
  ])("takes %s", (_what, options, fields, expected) =>
    expect(optionsOf(parse(client(options, fields), offset))).toEqual(expected),
  );

  test.each<[string, string, Fields, Changes, string]>([
    ["a reply", "350101 ff", {}, { 0: 2 }, "dhcp-not-a-request"],
    ["another hardware", "350101 ff", {}, { 1: 6 }, "dhcp-hardware"],
    ["another address length", "350101 ff", {}, { 2: 16 }, "dhcp-hardware"],
    ["BOOTP without the cookie", "350101 ff", {}, { 239: 0x64 }, "dhcp-magic"],
    ["an option one octet beyond the message", "350101 0c0361 62", {}, {}, "dhcp-option"],
    ["an option without its length", "350101 0c", {}, {}, "dhcp-option"],
    ["an option that would wrap around", "350101 0cff61", {}, {}, "dhcp-option"],
    ["an option beyond the sname field", "340102 350101 ff", { sname: "0c3f" }, {}, "dhcp-option"],
    ["an option beyond the file field", "340101 350101 ff", { file: "0c7f" }, {}, "dhcp-option"],
    ["no options", "", {}, {}, "dhcp-no-type"],
    ["no type", "0c0161 ff", {}, {}, "dhcp-no-type"],
    ["a type without a value", "3500 ff", {}, {}, "dhcp-no-type"],
    ["a type of two octets", "35020101 ff", {}, {}, "dhcp-no-type"],
    ["two types", "350101 350103 ff", {}, {}, "dhcp-no-type"],
  ])("refuses %s", (_what, options, fields, changes, drop) => {
    const octets = changed(client(options, fields), changes);
    const window = poisoned(octets, offset).subarray(offset, offset + octets.length);
    expect<unknown>(parseDhcp(window)).toBe(drop);
  });

  test("refuses a message cut off anywhere before its options, and gives a reason or a message behind", () => {
    const whole = client("350101 3204c0a80505 0c0161 ff");
    const drops = Array.from({ length: whole.length }, (_, length) => {
      const window = poisoned(whole, offset).subarray(offset, offset + length);
      const got = parseDhcp(window);
      return typeof got === "string" ? got : [...got.options.keys()].join(" ");
    });
    expect(new Set(drops.slice(0, 240))).toEqual(new Set(["dhcp-truncated"]));
    expect(drops.slice(240)).toEqual([
      "dhcp-no-type",
      ...["dhcp-option", "dhcp-option", "53"], // 35 01 01
      ...["dhcp-option", "dhcp-option", "dhcp-option", "dhcp-option", "dhcp-option", "53 50"],
      ...["dhcp-option", "dhcp-option", "53 50 12"],
    ]);
  });

  test("never throws and keeps every option within the message, whatever comes behind the cookie", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100, size: "max" }), (options) => {
        const got = parseDhcp(client(`350101 ${dump(options)}`));
        if (typeof got === "string") return got === "dhcp-option" || got === "dhcp-no-type";
        let octets = 0;
        for (const value of got.options.values()) octets += value.length;
        return octets <= 3 + options.length + 64 + 128;
      }),
    );
  });
});

const OFFER: DhcpMessage = {
  xid: 0x12345678,
  secs: 0,
  broadcast: true,
  ciaddr: 0xc0a80502,
  yiaddr: 0xc0a80503,
  giaddr: 0xc0a80505,
  chaddr: 0x525555000001,
  type: 2,
  options: new Map([
    [54, hex("c0a80502")],
    [1, hex("ffffff00")],
    [80, hex("")],
  ]),
};

describe("emitDhcp()", () => {
  test("makes a BOOTREPLY with the type first, the options in their order, padded to BOOTP's 300 octets", () => {
    expect(dump(emitDhcp(OFFER))).toBe(
      dump(
        hex(`
          02 01 06 00
          12345678
          0000 8000
          c0a80502 c0a80503 00000000 c0a80505
          525555000001 ${zeros(10)}
          ${zeros(64)} ${zeros(128)}
          63825363
          350102 3604c0a80502 0104ffffff00 5000 ff
          ${zeros(42)}`),
      ),
    );
  });

  test("leaves the broadcast flag out for unicast", () => {
    expect(dump(emitDhcp({ ...OFFER, broadcast: false }).subarray(10, 12))).toBe("0000");
  });

  test.each([
    // 240 octets of header, 3 of the type, 1 of the end; two octets of code and length for each part
    [54, 300],
    [55, 301],
    [255, 501],
    [256, 504],
    [600, 850],
  ])("gives an option of %d octets in parts of 255 (RFC 3396): %d octets", (length, total) => {
    const value = Uint8Array.from({ length }, (_, i) => i);
    const octets = emitDhcp({ ...OFFER, options: new Map([[12, value]]) });
    expect(octets.length).toBe(total);
    expect(octets.at(-1)).toBe(255);
    expect([octets[243], octets[244]]).toEqual([12, Math.min(length, 255)]);
    expect(dump(parse(changed(octets, { 0: 1 }), 0).options.get(12)!)).toBe(dump(value));
  });

  test("makes what parseDhcp() takes, but for being a reply", () => {
    const word = fc.nat(0xffffffff);
    const code = fc.integer({ min: 1, max: 254 }).filter((n) => n !== 52 && n !== 53);
    const message: fc.Arbitrary<DhcpMessage> = fc.record({
      xid: word,
      secs: fc.constant(0),
      broadcast: fc.boolean(),
      ciaddr: word,
      yiaddr: word,
      giaddr: word,
      chaddr: fc.nat(2 ** 48 - 1),
      type: fc.nat(255),
      options: fc
        .array(fc.tuple(code, fc.uint8Array({ maxLength: 600, size: "max" })), { maxLength: 6 })
        .map((pairs) => new Map(pairs)),
    });
    fc.assert(
      fc.property(message, (wanted) => {
        const got = parse(changed(emitDhcp(wanted), { 0: 1 }), 0);
        expect(got).toEqual({
          ...wanted,
          options: new Map([[53, new Uint8Array([wanted.type])], ...wanted.options]),
        });
      }),
    );
  });
});

test.each([
  ["3204c0a80505", 0xc0a80505],
  ["3204ffffffff", 0xffffffff],
  ["3203c0a805", undefined],
  ["3205c0a8050505", undefined],
  ["", undefined],
])("addressOption() of the options %j is %p", (options, address) =>
  expect(addressOption(parse(client(`350101 ${options} ff`), 0), 50)).toBe(address),
);

test("words() gives numbers in network order", () => {
  expect(dump(words(0xc0a80501, 1))).toBe("c0a8050100000001");
  expect(dump(words())).toBe("");
});

describe("encodeSearchList()", () => {
  const NAME_OF_253 = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(61)}`;
  const label = (letter: string, length: number) =>
    length.toString(16).padStart(2, "0") + Buffer.from(letter.repeat(length)).toString("hex");
  const ENG_APPLE_COM = "03656e67 056170706c65 03636f6d 00";

  test.each<[string, string[], string]>([
    ["nothing", [], ""],
    [
      "the example of RFC 3397",
      ["eng.apple.com", "marketing.apple.com"],
      `${ENG_APPLE_COM} 096d61726b6574696e67 c004`,
    ],
    ["names with the root's dot", ["eng.apple.com."], ENG_APPLE_COM],
    ["a name twice, in either case", ["eng.apple.com", "ENG.apple.COM"], `${ENG_APPLE_COM} c000`],
    ["a suffix alone", ["eng.apple.com", "com"], `${ENG_APPLE_COM} c00a`],
    ["a name that only ends alike", ["eng.apple.com", "le.com"], `${ENG_APPLE_COM} 026c65 c00a`],
    ["no empty name, no root", ["", ".", "com"], "03636f6d 00"],
    ["no name with an empty label", ["a..com", ".com", "com.."], ""],
    ["a label of 63 octets", ["a".repeat(63)], `${label("a", 63)} 00`],
    ["no label of 64 octets", ["a".repeat(64)], ""],
    [
      "a name of 255 octets (RFC 1035 2.3.4)",
      [NAME_OF_253],
      `${label("a", 63)} ${label("b", 63)} ${label("c", 63)} ${label("d", 61)} 00`,
    ],
    ["no name of 256 octets", [`${NAME_OF_253}d`], ""],
  ])("encodes %s", (_what, domains, text) =>
    expect(dump(encodeSearchList(domains))).toBe(dump(hex(text))),
  );

  test.each([
    ["the last place that 14 bits can name", "z", "046c61737400 ffff"],
    ["no place behind it", "zz", "046c61737400 046c61737400"],
  ])("points to %s", (_what, filler, text) => {
    // 252 names of 65 octets, and one of 3 or 4: "last" stands at 16383 or 16384
    const many = Array.from({ length: 252 }, (_, i) => String(i).padStart(63, "x"));
    const octets = encodeSearchList([...many, filler, "last", "last"]);
    expect(dump(octets.slice(252 * 65 + filler.length + 2))).toBe(dump(hex(text)));
  });
});

test.each([
  // the table of RFC 3442, "Classless Static Route Option"
  ["0.0.0.0/0", 0, 0, "00"],
  ["10.0.0.0/8", 0x0a000000, 8, "08 0a"],
  ["10.0.0.0/24", 0x0a000000, 24, "18 0a0000"],
  ["10.17.0.0/16", 0x0a110000, 16, "10 0a11"],
  ["10.27.129.0/24", 0x0a1b8100, 24, "18 0a1b81"],
  ["10.229.0.128/25", 0x0ae50080, 25, "19 0ae50080"],
  ["10.198.122.47/32", 0x0ac67a2f, 32, "20 0ac67a2f"],
  ["255.255.255.255/1", 0x80000000, 1, "01 80"],
])(
  "encodeClasslessRoutes() gives %s its significant octets and the router",
  (_text, network, prefix, text) => {
    const route = { network, prefix, router: 0xc0a80501 };
    expect(dump(encodeClasslessRoutes([route, route]))).toBe(
      dump(hex(`${text} c0a80501`.repeat(2))),
    );
  },
);

test("encodeClasslessRoutes() of none is empty", () => {
  expect(dump(encodeClasslessRoutes([]))).toBe("");
});
