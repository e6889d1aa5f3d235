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
    "del(.a, .b)",
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
});
