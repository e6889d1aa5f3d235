/** Templates that build on others (specification 3.2). */
import { describe, expect, test } from "bun:test";
import { parse, parseDocument, type Document } from "yaml";
import { combineNetworks, mergeBase, takeBases } from "../../lib/config/base-templates.ts";

const documentOf = (text: string) => parseDocument(text) as unknown as Document;
const merged = (template: string, ...bases: string[]) => {
  const document = documentOf(template);
  for (const base of bases) mergeBase(document, documentOf(base));
  return document.toString();
};

describe("takeBases()", () => {
  test.each([
    ["base: a.yaml\n", ["a.yaml"]],
    ["base: {url: a.yaml}\n", ["a.yaml"]],
    ["base: [a.yaml, {url: template:b}]\n", ["a.yaml", "template:b"]],
    ["base: []\n", []],
    ["base:\n", []],
    ["cpus: 1\n", []],
    ["", []],
  ])("%j names %j", (text, bases) => {
    const document = documentOf(text);
    expect(takeBases(document)).toEqual(bases);
    expect(document.toString()).not.toContain("base");
  });
  test.each(["base: 3\n", "base: {uri: a}\n", "base: [[a]]\n", 'base: ""\n'])(
    "%j is none",
    (text) =>
      expect(() => takeBases(documentOf(text))).toThrow("`base` takes locations of templates"),
  );
});

describe("mergeBase()", () => {
  test.each([
    [
      "what is missing is taken",
      "cpus: 1\n",
      "cpus: 2\nmemory: 3GiB\n",
      { cpus: 1, memory: "3GiB" },
    ],
    ["a null is something", "cpus: ~\n", "cpus: 2\n", { cpus: null }],
    [
      "in depth",
      "ssh: {localPort: 1}\n",
      "ssh: {localPort: 2, forwardAgent: true}\n",
      { ssh: { localPort: 1, forwardAgent: true } },
    ],
    ["lists are appended", "mounts: [1]\n", "mounts: [2]\n", { mounts: [1, 2] }],
    [
      "networks are appended",
      "networks: [{lima: a}]\n",
      "networks: [{lima: b}]\n",
      { networks: [{ lima: "a" }, { lima: "b" }] },
    ],
    [
      "lists in depth, too",
      "caCerts: {files: [a]}\n",
      "caCerts: {files: [b]}\n",
      { caCerts: { files: ["a", "b"] } },
    ],
    ["provision in front", "provision: [1]\n", "provision: [2]\n", { provision: [2, 1] }],
    ["probes in front", "probes: [1]\n", "probes: [2]\n", { probes: [2, 1] }],
    ["dns is the template's", "dns: [1.1.1.1]\n", "dns: [2.2.2.2]\n", { dns: ["1.1.1.1"] }],
    ["dns that is empty is the base's", "dns: []\n", "dns: [2.2.2.2]\n", { dns: ["2.2.2.2"] }],
    ["dns that is missing is the base's", "", "dns: [2.2.2.2]\n", { dns: ["2.2.2.2"] }],
    ["another kind of value stays", "a: [1]\n", "a: {b: 1}\n", { a: [1] }],
    ["aliases are what they stand for", "", "x: &l [1]\ny: *l\n", { x: [1], y: [1] }],
  ])("%s", (_what, template, base, value) => {
    expect(parse(merged(template, base)) as unknown).toEqual(value);
  });

  test("of several bases the first has more to say", () => {
    const text = merged(
      "l: [0]\n",
      "cpus: 1\nl: [1]\nprovision: [1]\n",
      "cpus: 2\nl: [2]\nprovision: [2]\n",
    );
    expect(parse(text) as unknown).toEqual({ l: [0, 1, 2], cpus: 1, provision: [2, 1] });
  });

  test("comments of both stay", () => {
    const text = merged(
      "# mine\ncpus: 1 # one\n",
      "# its\nmemory: 2GiB # two\n# next\nmounts:\n- a # first\n",
    );
    for (const comment of ["# mine", "# one", "# two", "# next", "# first"])
      expect(text).toContain(comment);
  });

  test("an alias that leads to itself is refused", () => {
    expect(() => merged("", "a: &a [*a]\n")).toThrow("the alias *a cannot be followed");
  });
});

describe("combineNetworks()", () => {
  test.each([
    [
      "of one interface the earlier wins",
      "[{interface: a, lima: x}, {interface: a, lima: y, metric: 5}]",
      [{ interface: "a", lima: "x", metric: 5 }],
    ],
    [
      "lima comes only where there is neither",
      "[{interface: a, metric: 1}, {interface: a, lima: y}]",
      [{ interface: "a", metric: 1, lima: "y" }],
    ],
    [
      "socket stays before lima",
      "[{interface: a, socket: /s}, {interface: a, lima: y}]",
      [{ interface: "a", socket: "/s" }],
    ],
    [
      "vzNAT stays before lima",
      "[{interface: a, vzNAT: true}, {interface: a, lima: y}]",
      [{ interface: "a", vzNAT: true }],
    ],
    [
      "addresses only where there is none",
      "[{interface: a, lima: x, macAddress: m}, {interface: a, macAddress: n}]",
      [{ interface: "a", lima: "x", macAddress: "m" }],
    ],
    ["unnamed ones are left alone", "[{lima: x}, {lima: x}]", [{ lima: "x" }, { lima: "x" }]],
    [
      "* counts for all before it, named or not",
      "[{lima: x}, {interface: b, socket: /s, metric: 1}, {interface: '*', metric: 7, lima: z}, {lima: c}]",
      [{ lima: "x", metric: 7 }, { interface: "b", socket: "/s", metric: 1 }, { lima: "c" }],
    ],
    ["* alone is nothing", "[{interface: '*', metric: 7}]", []],
  ])("%s", (_what, networks, value) => {
    const document = documentOf(`networks: ${networks}\n`);
    combineNetworks(document);
    expect((parse(document.toString()) as { networks: unknown }).networks).toEqual(value);
  });
});
