/** lima.yaml between default.yaml and override.yaml (specification 3.2 and 3.3). */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { formatDiagnostic } from "../../lib/config/document.ts";
import { parseInstance } from "../../lib/config/instance.ts";

const IMAGE = "images: [{location: /disk}]\n";
const parse = (instance: string, defaults = "", override = "") =>
  parseInstance(IMAGE + instance, "lima.yaml", {
    defaults: { file: "default.yaml", text: defaults },
    override: { file: "override.yaml", text: override },
  });
const settings = (instance: string, defaults = "", override = "") => {
  const { config, diagnostics } = parse(instance, defaults, override);
  expect(diagnostics.map(formatDiagnostic)).toEqual([]);
  return config!;
};

describe("scalars: the override's, else the instance's, else the default", () => {
  test.each([
    ["cpus: 2", "cpus: 3", "cpus: 4", 4],
    ["cpus: 2", "cpus: 3", "", 2],
    ["", "cpus: 3", "", 3],
    ["cpus: ~", "cpus: 3", "cpus: ~", 3],
    ["", "", "", 2],
  ])("%j, %j, %j is %d", (instance, defaults, override, cpus) => {
    expect(settings(instance, defaults, override).cpus).toBe(cpus);
  });
  test("also inside of mappings", () => {
    const ssh = settings(
      "ssh: {localPort: 1022}",
      "ssh: {localPort: 1, forwardAgent: true}",
      "ssh: {loadDotSSHPubKeys: true}",
    ).ssh;
    expect(ssh).toEqual({ localPort: 1022, forwardAgent: true, loadDotSSHPubKeys: true });
  });
});

test("maps are put together, the override's entries winning over the instance's, and those over the default's", () => {
  const { env, hostResolver } = settings(
    "env: {A: y, B: y}\nhostResolver: {hosts: {one.test: 1.1.1.1}}",
    "env: {A: d, B: d, C: d}\nhostResolver: {hosts: {one.test: 9.9.9.9, two.test: 2.2.2.2}}",
    "env: {A: o}",
  );
  expect(env).toEqual({ A: "o", B: "y", C: "d" });
  expect(hostResolver.hosts).toEqual({ "one.test": "1.1.1.1", "two.test": "2.2.2.2" });
});

test("lists follow each other, the override's first, so that its port rules match first", () => {
  const rules = (port: number) => `portForwards: [{guestPort: ${port}}]`;
  const { portForwards } = settings(rules(2), rules(3), rules(1));
  expect(portForwards.map((rule) => rule.guestPortRange[0])).toEqual([1, 2, 3]);
});

test("dns is never combined: the first that is not empty counts", () => {
  const off = "hostResolver: {enabled: false}\n";
  expect(settings(`${off}dns: [2.2.2.2]`, "dns: [3.3.3.3]", "dns: [1.1.1.1]").dns).toEqual([
    "1.1.1.1",
  ]);
  expect(settings(`${off}dns: [2.2.2.2]`, "dns: [3.3.3.3]", "dns: []").dns).toEqual(["2.2.2.2"]);
  expect(settings(off, "dns: [3.3.3.3]").dns).toEqual(["3.3.3.3"]);
});

describe("networks: the default's first, then the instance's, then the override's", () => {
  test("entries without an interface stand for themselves", () => {
    const { networks } = settings(
      "networks: [{lima: y}]",
      "networks: [{lima: d}]",
      "networks: [{lima: o}]",
    );
    expect(networks).toEqual([
      { lima: "d", interface: "lima0", metric: 100 },
      { lima: "y", interface: "lima1", metric: 100 },
      { lima: "o", interface: "lima2", metric: 100 },
    ]);
  });
  test("an entry whose interface was seen overwrites the earlier one where it says something", () => {
    const { networks } = settings(
      "networks: [{interface: data0, metric: 7}, {lima: b}]",
      'networks: [{lima: a, interface: data0, macAddress: "52:55:55:00:00:01"}]',
      "networks: [{interface: data0, socket: /tmp/s.sock}]",
    );
    expect(networks).toEqual([
      { socket: "/tmp/s.sock", interface: "data0", metric: 7, macAddress: "52:55:55:00:00:01" },
      { lima: "b", interface: "lima1", metric: 100 },
    ]);
  });
});

test("what is wrong is told with the file it stands in, in the order instance, default, override", () => {
  const { diagnostics } = parse("cpus: 0\n", "\n\nmemory: much\n", "plain: 7\n");
  expect(
    diagnostics.map(formatDiagnostic).map((line) => line.split(":").slice(0, 2).join(":")),
  ).toEqual(["lima.yaml:2", "default.yaml:3", "override.yaml:1"]);
});

test("settings that are all in one file are the same, whichever of the three it is", () => {
  const value = fc.record(
    {
      cpus: fc.integer({ min: 1, max: 9 }),
      plain: fc.boolean(),
      env: fc.dictionary(fc.constantFrom("A", "B", "C"), fc.string({ maxLength: 5 })),
      networks: fc.uniqueArray(
        fc.record({
          lima: fc.constantFrom("x", "y"),
          interface: fc.constantFrom("a0", "a1", "a2"),
        }),
        {
          selector: (network) => network.interface,
        },
      ),
      portForwards: fc.array(fc.record({ guestPort: fc.integer({ min: 1, max: 9 }) }), {
        maxLength: 3,
      }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(value, (settled) => {
      const text = Object.keys(settled).length === 0 ? "" : stringify(settled);
      const alone = settings(text);
      expect(settings("", text)).toEqual(alone);
      expect(settings("", "", text)).toEqual(alone);
      // and saying a scalar twice changes nothing
      const { cpus } = settings(text, text, text);
      expect(cpus).toBe(alone.cpus);
    }),
    { numRuns: 100 },
  );
});
