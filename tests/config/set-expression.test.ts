import { describe, expect, test } from "bun:test";
import { parseDocument, type Document } from "yaml";
import { applySetExpression } from "../../lib/config/set-expression.ts";

const apply = (text: string, expression: string) => {
  const document = parseDocument(text);
  applySetExpression(document as Document, expression);
  return document.toString();
};

describe("applySetExpression()", () => {
  test.each([
    ["cpus: 2\n", ".cpus = 4", { cpus: 4 }],
    ["", ".ssh.localPort = 6022", { ssh: { localPort: 6022 } }],
    ["", '.env.GREETING = "a | b"', { env: { GREETING: "a | b" } }],
    ["networks: []\n", '.networks += [{"lima": "user-v2"}]', { networks: [{ lima: "user-v2" }] }],
    [
      "networks:\n- lima: a\n",
      ".networks += {lima: b}",
      { networks: [{ lima: "a" }, { lima: "b" }] },
    ],
    ["", ".networks += [{lima: b}]", { networks: [{ lima: "b" }] }],
    ["env: {A: 1}\n", ".env += {B: 2}", { env: { A: 1, B: 2 } }],
    ["cpus: 2\n", ".cpus += 3", { cpus: 5 }],
    ["a: {b: 1, c: 2}\n", "del(.a.b)", { a: { c: 2 } }],
    ["l: [1, 2, 3]\n", "del(.l[1])", { l: [1, 3] }],
    ["l: [{x: 1}, {x: 2}]\n", ".l[1].x = 9", { l: [{ x: 1 }, { x: 9 }] }],
    [
      "",
      '.hostResolver.hosts["a.b"] = "1.1.1.1"',
      { hostResolver: { hosts: { "a.b": "1.1.1.1" } } },
    ],
    ["", '."odd key" = true', { "odd key": true }],
    [
      "cpus: 1\nplain: true\n",
      '.cpus = 2 | del(.plain) | .memory = "4GiB"',
      { cpus: 2, memory: "4GiB" },
    ],
    ["a: 1\n", ".a = null", { a: null }],
    ["", '  .networks += [{"lima": "shared"}]  ', { networks: [{ lima: "shared" }] }],
    [
      "networks: [{lima: a}]\n",
      ".networks[0].metric = 50",
      { networks: [{ lima: "a", metric: 50 }] },
    ],
    [
      "networks: [{lima: a}]\n",
      ".networks.[0].metric=50",
      { networks: [{ lima: "a", metric: 50 }] },
    ],
    ["", '.a.b = "v"', { a: { b: "v" } }],
    ["a: {b: 1}\n", ".a.b |= 2", { a: { b: 2 } }],
    ["", '.a."b.c" = 1 | .["d"] = 2 | .a["e"] = 3', { a: { "b.c": 1, e: 3 }, d: 2 }],
    ["portForwards: [{guestPort: 1}]\n", ".portForwards = []", { portForwards: [] }],
    ["a: x\n", '.a += "y"', { a: "xy" }],
    ["a: [1]\n", ".a += 2", { a: [1, 2] }],
    ["a: {b: {c: 1}, d: 2}\n", ".a *= {b: {e: 3}, d: 4}", { a: { b: { c: 1, e: 3 }, d: 4 } }],
    ["a: {b: {c: 1}}\n", ".a += {b: {e: 3}}", { a: { b: { e: 3 } } }],
    ["a: 3\n", ".a *= 2", { a: 6 }],
    ["a: 1\nb: 2\nc: 3\n", "del(.a, .c)", { b: 2 }],
    ["x: [1, 2]\n", "del(.x[0])", { x: [2] }],
    ["x: [1, 2, 3]\n", "del(.x[-1]) | del(.nothere)", { x: [1, 2] }],
    [
      "x: [{a: 1}, {b: 2}]\n",
      ".x[].c = 3",
      {
        x: [
          { a: 1, c: 3 },
          { b: 2, c: 3 },
        ],
      },
    ],
    ["x: [{a: 1}, {a: 2}]\n", "del(.x[].a)", { x: [{}, {}] }],
    ["x: [1, 2, 3]\n", "del(.x[])", { x: [] }],
    ["x: ~\n", ".x.y = 1", { x: { y: 1 } }],
    ["", '.a = "tab\\there"', { a: "tab\there" }],
    ["", ".memory = 4GiB", { memory: "4GiB" }],
    ["", ".a = -5 | .b = 1.5 | .c = true | .d = {}", { a: -5, b: 1.5, c: true, d: {} }],
  ])("%j with %s", (text, expression, value) => {
    expect(parseDocument(apply(text, expression)).toJS() as unknown).toEqual(value);
  });

  test("comments and layout stay", () => {
    const text = "# mine\ncpus: 2 # two\n\n# net\nnetworks:\n  - lima: a # first\n";
    expect(apply(text, ".networks += [{lima: b}]")).toBe(`${text}  - { lima: b }\n`);
  });

  test.each([
    "cpus = 4",
    ".cpus",
    ".cpus == 4",
    ".a = .b",
    '.networks |= map(select(.lima == "a"))',
    "with(.a; .b = 1)",
    "env(HOME)",
    "del(.a, b)",
    "del(.a) + 1",
    '.a = "x" + "y"',
    ".a = 1 + 2",
    ".a = [.b]",
    ".a = $x",
    '.a = load("x.yaml")',
    ".a = env(HOME)",
    ".a //= 1",
    ".a -= 1",
    ".a = x y",
    ".a = &x 1",
    ".a = !!str 1",
    ".a =",
    ".b[] | select(.x == 1) |= 2",
    ".[0] = 1",
    ".a[0] = 1",
    ".a.b.c = 1",
    ".a = [1",
    ". = {}",
    "",
  ])("%j is refused with what is understood", (expression) => {
    expect(() => apply("a: {b: 1}\n", expression)).toThrow(
      /^Cannot apply --set .*what is understood is/s,
    );
  });
  test("adding what cannot be added is refused", () => {
    expect(() => apply("a: 1\n", ".a += [2]")).toThrow(/another kind/);
  });

  test("of several steps all are done or none", () => {
    const text = "a: 1 # one\nl: [1]\n";
    for (const last of [".l += {x: 1} | .a += [2]", ".l[7] = 1", ".nonsense", ".a.b = 2"]) {
      const document = parseDocument(text);
      expect(() =>
        applySetExpression(document as Document, `.a = 2 | del(.l[0]) | ${last}`),
      ).toThrow();
      expect(document.toString()).toBe("a: 1 # one\nl: [ 1 ]\n");
    }
  });

  test("a new value keeps the comment of its line and its own quotes", () => {
    expect(apply("memory: 2GiB # enough\ncpus: 2\n", '.memory = "4GiB"')).toBe(
      'memory: "4GiB" # enough\ncpus: 2\n',
    );
  });
});
