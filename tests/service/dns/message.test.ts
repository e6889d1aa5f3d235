/** Messages as octets: what is taken for one, which queries are the same, what is a reply to what. */
import { describe, expect, test } from "bun:test";
import { encode, type Answer } from "dns-packet";
import fc from "fast-check";
import {
  isPlainName,
  nameText,
  queryOctets,
  questionKey,
  questionName,
  readQuery,
  recordsText,
  repliesTo,
  shapeOf,
  TYPE,
  typeName,
  typeOf,
} from "../../../lib/service/dns/message.ts";
import { bitFlips, dump, hex } from "../../support/octets.ts";

/** id 1, RD, one question */
const HEADER = "0001 0100 0001 0000 0000 0000";
const ONE_MORE = "0001 0100 0001 0000 0000 0001";
const TWO_MORE = "0001 0100 0001 0000 0000 0002";
const QUESTION = "01 61 04 74657374 00 0001 0001";
const label63 = `3f${"61".repeat(63)}`;

describe("readQuery()", () => {
  test.each<[string, string]>([
    ["a question alone", `${HEADER} ${QUESTION}`],
    ["the root", `${HEADER} 00 0002 0001`],
    ["a type without a name", `${HEADER} 01 61 00 ff00 0001`],
    ["a label of 63 octets", `${HEADER} ${label63} 00 0001 0001`],
    ["a name of 255 octets", `${HEADER} ${label63.repeat(3)} 3d${"61".repeat(61)} 00 0001 0001`],
    ["an OPT", `${ONE_MORE} ${QUESTION} 00 0029 1000 00 00 0000 0000`],
    [
      "an OPT with an option",
      `${ONE_MORE} ${QUESTION} 00 0029 1000 00 00 0000 0008 000a 0004 01020304`,
    ],
    ["a record that is no OPT", `${ONE_MORE} ${QUESTION} c00c 0001 0001 00000000 0004 01020304`],
  ])("takes %s", (_what, text) => expect(readQuery(hex(text))).toBeDefined());

  test.each<[string, string]>([
    ["nothing", ""],
    ["a header", HEADER],
    ["less than a header", HEADER.slice(0, -5)],
    ["a question without its class", `${HEADER} 01 61 00 0001`],
    ["octets behind the question", `${HEADER} ${QUESTION} 00`],
    ["two questions", `0001 0100 0002 0000 0000 0000 ${QUESTION} ${QUESTION}`],
    ["no question", "0001 0100 0000 0000 0000 0000 01"],
    ["a name that points to itself", `${HEADER} c00c 0001 0001`],
    ["a name that points forward", `${HEADER} c010 0001 0001 00`],
    ["a name that points into the header", `${HEADER} c004 0001 0001`],
    ["a pointer cut in half", `${HEADER} c0`],
    ["a label of a kind that is not used", `${HEADER} 41 61 00 0001 0001`],
    ["a label over the end", `${HEADER} 3f 61`],
    ["a name of 256 octets", `${HEADER} ${label63.repeat(3)} 3e${"61".repeat(62)} 00 0001 0001`],
    ["a record that is not there", `${ONE_MORE} ${QUESTION}`],
    ["an OPT that ends early", `${ONE_MORE} ${QUESTION} 00 0029 1000 00 00 0000 0008 000a`],
    [
      "an OPT whose option is longer than it",
      `${ONE_MORE} ${QUESTION} 00 0029 1000 00 00 0000 0004 000a 0001`,
    ],
    [
      "an OPT that is not at the root",
      `${ONE_MORE} ${QUESTION} 01 61 00 0029 1000 00 00 0000 0000`,
    ],
    [
      "two OPTs",
      `${TWO_MORE} ${QUESTION} 00 0029 1000 00 00 0000 0000 00 0029 1000 00 00 0000 0000`,
    ],
    ["an OPT as answer", `0001 0100 0001 0001 0000 0000 ${QUESTION} 00 0029 1000 00 00 0000 0000`],
  ])("takes no message with %s", (_what, text) => expect(readQuery(hex(text))).toBeUndefined());

  test("reads type, class, flags and EDNS", () => {
    const text = `0001 0110 0001 0000 0000 0001 ${QUESTION} 00 0029 04d0 00 01 8000 0008 0008 0004 00010000`;
    expect(readQuery(hex(text))).toMatchObject({
      type: 1,
      class: 1,
      recursionDesired: true,
      checkingDisabled: true,
      edns: { version: 1, payloadSize: 1232, dnssecOk: true, clientSubnet: true },
    });
  });
});

describe("questionKey()", () => {
  const key = (text: string) => questionKey(readQuery(hex(text))!);
  const plain = key(`${HEADER} ${QUESTION}`);
  test.each<[string, string, boolean]>([
    ["another id", `0002 0100 0001 0000 0000 0000 ${QUESTION}`, true],
    ["capitals", `${HEADER} 01 41 04 54455354 00 0001 0001`, true],
    ["EDNS", `${ONE_MORE} ${QUESTION} 00 0029 1000 00 00 0000 0000`, true],
    ["signatures", `${ONE_MORE} ${QUESTION} 00 0029 1000 00 00 8000 0000`, false],
    ["no recursion", `0001 0000 0001 0000 0000 0000 ${QUESTION}`, false],
    ["checking disabled", `0001 0110 0001 0000 0000 0000 ${QUESTION}`, false],
    ["another type", `${HEADER} 01 61 04 74657374 00 0002 0001`, false],
    ["another class", `${HEADER} 01 61 04 74657374 00 0001 0003`, false],
    ["another name", `${HEADER} 01 62 04 74657374 00 0001 0001`, false],
    ["letters beyond ASCII, which have no capitals", `${HEADER} 01 c0 00 0001 0001`, false],
  ])("is the same for %s: %p", (_what, text, same) => expect(key(text) === plain).toBe(same));

  test("does not confuse names whose octets differ by more than the case of ASCII letters", () => {
    const name = (octet: string) => key(`${HEADER} 01 ${octet} 00 0001 0001`);
    expect(name("c0")).not.toBe(name("e0"));
    expect(name("5b")).not.toBe(name("7b"));
  });
});

test.each([
  ["01 61 04 74657374 00", "a.test"],
  ["00", "."],
  ["03 612e62 01 5c 00", "a\\.b.\\\\"],
  ["03 c3a920 00", "\\195\\169\\032"],
])("nameText() of %s is %s", (octets, text) => expect(nameText(hex(octets), 0)).toBe(text));

test.each([
  ["a.test", true],
  ["a.test.", true],
  ["_sip._tcp.a-b.test", true],
  ["x".repeat(63), true],
  ["x".repeat(64), false],
  [`${"x".repeat(63)}.`.repeat(4), false],
  ["", false],
  [".", false],
  ["a..b", false],
  [".a", false],
  ["a b", false],
  ["a\\.b", false],
  ["é.test", false],
])("isPlainName(%j) is %p", (name, plain) => expect(isPlainName(name)).toBe(plain));

describe("repliesTo()", () => {
  const sent = hex(`${HEADER} ${QUESTION}`);
  test.each<[string, string, boolean]>([
    ["the question", `0001 8180 0001 0000 0000 0000 ${QUESTION}`, true],
    ["other letters", "0001 8180 0001 0000 0000 0000 01 41 04 54657354 00 0001 0001", true],
    ["a refusal without question", "0001 8181 0000 0000 0000 0000", true],
    ["an answer without question", "0001 8180 0000 0000 0000 0000", false],
    ["another id", `0002 8180 0001 0000 0000 0000 ${QUESTION}`, false],
    ["a query", `0001 0180 0001 0000 0000 0000 ${QUESTION}`, false],
    ["another opcode", `0001 a180 0001 0000 0000 0000 ${QUESTION}`, false],
    ["another name", "0001 8180 0001 0000 0000 0000 01 62 04 74657374 00 0001 0001", false],
    ["another type", "0001 8180 0001 0000 0000 0000 01 61 04 74657374 00 001c 0001", false],
    ["a longer name", "0001 8180 0001 0000 0000 0000 01 61 04 74657374 01 61 00 0001 0001", false],
    ["no message", "0001 8180 0001", false],
    ["a record that is not there", `0001 8180 0001 0001 0000 0000 ${QUESTION}`, false],
  ])("of %s is decided", (_what, text, yes) => expect(repliesTo(hex(text), sent)).toBe(yes));
});

describe("shapeOf()", () => {
  const records: Answer[] = [
    { type: "CNAME", name: "a.test", ttl: 5, data: "b.test" },
    { type: "A", name: "b.test", ttl: 6, data: "192.0.2.1" },
  ];
  const message = encode({
    type: "response",
    questions: [{ type: "A", name: "a.test" }],
    answers: records,
  });

  test("finds every record of a message", () => {
    const { records: places, end } = shapeOf(message)!;
    expect(places.map(({ type }) => type)).toEqual([TYPE.CNAME, TYPE.A]);
    expect(end).toBe(message.length);
    expect(recordsText(message).map(({ text }) => text)).toEqual([
      "a.test. 5 CNAME b.test.",
      "b.test. 6 A 192.0.2.1",
    ]);
  });

  test("never reads beyond the end, whatever the octets are", () => {
    for (const flipped of bitFlips(message)) {
      const shape = shapeOf(flipped);
      for (const { end } of shape?.records ?? []) expect(end).toBeLessThanOrEqual(flipped.length);
      recordsText(flipped);
    }
    for (let length = 0; length < message.length; length++)
      expect(shapeOf(message.subarray(0, length))).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
        shapeOf(octets);
        readQuery(octets);
        repliesTo(octets, message);
      }),
      { numRuns: 2000 },
    );
  });
});

test("queryOctets() makes what readQuery() reads", () => {
  const query = readQuery(queryOctets(7, "A.test.", 731, { payloadSize: 1232 }))!;
  expect([questionName(query), query.type, query.edns?.payloadSize]).toEqual(["A.test", 731, 1232]);
  expect(dump(queryOctets(1, "a.test", 1))).toBe(dump(hex(`${HEADER} ${QUESTION}`)));
  expect(questionName(readQuery(queryOctets(1, ".", 2))!)).toBe(".");
});

test("types have names, and those without one a number", () => {
  expect([typeOf("mx"), typeOf("TYPE731"), typeOf("TYPE65536"), typeOf("MXX")]).toEqual([
    15,
    731,
    undefined,
    undefined,
  ]);
  expect([typeName(33), typeName(731)]).toEqual(["SRV", "TYPE731"]);
});
