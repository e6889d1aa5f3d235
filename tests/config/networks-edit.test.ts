import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parse, parseDocument } from "yaml";
import { addNetwork, removeNetworks } from "../../lib/config/networks-edit.ts";

const LAB = { mode: "user-v2", gateway: "10.0.0.1", netmask: "255.255.255.0" } as const;
const LINES = "mode: user-v2\n    gateway: 10.0.0.1\n    netmask: 255.255.255.0\n";
const TEXT = `# head
group:   staff   # odd  blanks

networks: # all of them
    # the first
    one: # named
        mode:  host   # aligned
        gateway: "10.1.0.1"
        # its end
    # the second
    two: {mode: host,gateway: 10.2.0.1} # in a line

paths: {varRun: /x}
# tail
`;

describe("addNetwork()", () => {
  test("puts lines between the others and touches nothing", () => {
    expect(addNetwork(TEXT, "lab", LAB)).toBe(
      TEXT.replace(
        "# in a line\n",
        `# in a line\n    lab:\n      ${LINES.replaceAll("    ", "      ")}`,
      ),
    );
  });
  test.each([
    ["", `networks:\n  lab:\n    ${LINES}`],
    ["# only this\n", `# only this\n\nnetworks:\n  lab:\n    ${LINES}`],
    ["networks:\n", `networks:\n  lab:\n    ${LINES}`],
    ["networks:\n  a: {mode: host}", `networks:\n  a: {mode: host}\n  lab:\n    ${LINES}`],
    ["networks:\n  a:\n", `networks:\n  a:\n  lab:\n    ${LINES}`],
    [
      "networks:\n  a:\n    mode: host\n\n\n# end\n",
      `networks:\n  a:\n    mode: host\n  lab:\n    ${LINES}\n\n# end\n`,
    ],
  ])("to %j", (text, result) => expect(addNetwork(text, "lab", LAB)).toBe(result));
  test("in a line of its own kind the others' comments stay", () => {
    const text = addNetwork("# c\nnetworks: {a: {mode: host}} # d\n", "lab", LAB);
    expect(parse(text)).toEqual({ networks: { a: { mode: "host" }, lab: LAB } });
    expect(text).toContain("# c");
    expect(text).toContain("# d");
  });
});

describe("removeNetworks()", () => {
  test("takes a network with its comments and touches nothing else", () => {
    expect(removeNetworks(TEXT, ["two"])).toBe(
      TEXT.replace("    # the second\n    two: {mode: host,gateway: 10.2.0.1} # in a line\n", ""),
    );
    expect(removeNetworks(TEXT, ["one", "none"])).toBe(TEXT.replace(/    one:[^]*# its end\n/, ""));
  });
  test("of all networks none is left", () => {
    expect(parse(removeNetworks(TEXT, ["one", "two"]))).toMatchObject({
      group: "staff",
      networks: {},
    });
  });
});

test("what is added and removed again leaves the text as it was, and the others as they were", () => {
  const comment = fc.constantFrom("", " # c", "   # d e");
  const network = fc.constantFrom(
    ":COMMENT\n    mode: host\n",
    ":COMMENT\n    mode: user-v2COMMENT\n    gateway: 10.0.0.1\n    # end\n",
    ": {mode: bridged,interface: en0}COMMENT\n",
    ":COMMENT\n    mode: 'shared'\n\n",
  );
  const name = fc.constantFrom("a", "b-1", "c.2", "0", "shared", "user-v2");
  const entries = fc.uniqueArray(
    fc.tuple(name, network, comment, fc.constantFrom("", "  # above\n")),
    {
      minLength: 1,
      maxLength: 4,
      selector: ([key]) => key,
    },
  );
  fc.assert(
    fc.property(
      entries,
      fc.constantFrom("", "group: x\n", "\n# tail\n", "\ngroup: x # y\n"),
      (list, tail) => {
        const body = list.map(
          ([key, lines, note, above]) => `${above}  ${key}${lines.replaceAll("COMMENT", note)}`,
        );
        const text = `# head\nnetworks:\n${body.join("")}${tail}`;
        const added = addNetwork(text, "new", LAB);
        const values = parseDocument(text).toJS() as { networks: object };
        expect(parse(added)).toEqual({ ...values, networks: { ...values.networks, new: LAB } });
        expect(removeNetworks(added, ["new"])).toBe(text);
      },
    ),
  );
});
