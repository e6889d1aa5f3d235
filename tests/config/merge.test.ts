/** lima.yaml between default.yaml and override.yaml (specification 3.2 and 3.3). */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { formatDiagnostic } from "../../lib/config/document.ts";
import { parseInstance } from "../../lib/config/instance.ts";

const IMAGE = "images: [{location: /disk}]\n";
const parse = (instance: string, defaults = "", override = "") =>
  parseInstance(
    IMAGE + instance,
    "lima.yaml",
    {
      defaults: { file: "default.yaml", text: defaults },
      override: { file: "override.yaml", text: override },
    },
    // where vzNAT can be had
    { platform: "darwin", architecture: "x86_64" },
  );
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
    expect(ssh).toMatchObject({ localPort: 1022, forwardAgent: true, loadDotSSHPubKeys: true });
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
  // [default's, instance's, override's entries for the interface data0] and what comes of them
  const MAC = "52:55:55:00:00:01";
  test.each([
    ["what it says wins", ["lima: a, metric: 5", "metric: 7"], { lima: "a", metric: 7 }],
    ["the override's is the last", ["lima: a", "lima: b", "lima: c"], { lima: "c", metric: 100 }],
    ["socket clears lima", ["lima: a", "socket: /s"], { socket: "/s", metric: 100 }],
    ["lima clears socket", ["socket: /s", "lima: a"], { lima: "a", metric: 100 }],
    ["vzNAT clears lima", ["lima: a", "vzNAT: true"], { vzNAT: true, metric: 100 }],
    ["vzNAT clears socket", ["socket: /s", "vzNAT: true"], { vzNAT: true, metric: 100 }],
    ["lima clears vzNAT", ["vzNAT: true", "lima: a"], { lima: "a", metric: 100 }],
    ["socket clears vzNAT", ["vzNAT: true", "socket: /s"], { socket: "/s", metric: 100 }],
    ["vzNAT: false says nothing", ["lima: a", "vzNAT: false"], { lima: "a", metric: 100 }],
    ["empty lima says nothing", ["socket: /s", 'lima: ""'], { socket: "/s", metric: 100 }],
    ["empty socket says nothing", ["lima: a", 'socket: ""'], { lima: "a", metric: 100 }],
    ["null says nothing", ["lima: a, metric: 5", "metric: ~"], { lima: "a", metric: 5 }],
    [
      "an address stays unless there is another",
      [`lima: a, macAddress: "${MAC}"`, 'macAddress: ""', "lima: b"],
      { lima: "b", macAddress: MAC, metric: 100 },
    ],
    [
      "an address is overwritten",
      ["lima: a, macAddress: 52-55-55-00-00-09", `macAddress: "${MAC}"`],
      { lima: "a", macAddress: MAC, metric: 100 },
    ],
  ] as const)("of one interface: %s", (_what, [d, y, o], network) => {
    const text = (entry: string | undefined) =>
      entry === undefined ? "" : `networks: [{interface: data0, ${entry}}]`;
    expect(settings(text(y), text(d), text(o)).networks as object[]).toEqual([
      { interface: "data0", ...network },
    ]);
  });

  test("lima and socket at once in what overwrites: lima is taken, and it is told", () => {
    const { config, diagnostics } = parse(
      "networks: [{interface: a0, socket: /s}]",
      "",
      "networks: [{interface: a0, lima: b, socket: /t}]",
    );
    expect(config!.networks).toEqual([{ lima: "b", interface: "a0", metric: 100 }]);
    expect(diagnostics.map(formatDiagnostic)).toEqual([
      "override.yaml:1:12: warning: networks: an entry has both lima and socket: lima is taken",
    ]);
  });

  test("entries of one interface in one file become one too, and default names count what is left", () => {
    const { networks } = settings(
      "networks: [{interface: a0, lima: b}, {lima: c}, {interface: a0, metric: 5}, {lima: d}]",
    );
    expect(networks).toEqual([
      { interface: "a0", lima: "b", metric: 5 },
      { interface: "lima1", lima: "c", metric: 100 },
      { interface: "lima2", lima: "d", metric: 100 },
    ]);
  });
});

test("mounts of one location become one, and complain as little as any", () => {
  expect(
    settings("mounts: [{location: ~}]", "mounts: [{location: ~, writable: true}]"),
  ).toBeDefined();
});

test("what is wrong is told with the file it stands in, in the order instance, default, override", () => {
  const { diagnostics } = parse("cpus: 0\n", "\n\nmemory: much\n", "plain: 7\n");
  expect(
    diagnostics.map(formatDiagnostic).map((line) => line.split(":").slice(0, 2).join(":")),
  ).toEqual(["lima.yaml:2", "default.yaml:3", "override.yaml:1"]);
});

describe("of any three files", () => {
  const entry = fc.record(
    {
      interface: fc.constantFrom("a0", "a1", "a2"),
      metric: fc.integer({ min: 0, max: 3 }),
      kind: fc.constantFrom({ lima: "x" }, { lima: "y" }, { socket: "/s" }, { vzNAT: true }),
    },
    { requiredKeys: ["kind"] },
  );
  const file = fc.record(
    {
      cpus: fc.integer({ min: 1, max: 9 }),
      plain: fc.boolean(),
      env: fc.dictionary(fc.constantFrom("A", "B", "C"), fc.string({ maxLength: 5 })),
      networks: fc.array(
        entry.map(({ kind, ...rest }) => ({ ...rest, ...kind })),
        { maxLength: 4 },
      ),
      portForwards: fc.array(fc.record({ guestPort: fc.integer({ min: 1, max: 9 }) }), {
        maxLength: 3,
      }),
    },
    { requiredKeys: [] },
  );
  const text = (value: object) => (Object.keys(value).length === 0 ? "" : stringify(value));
  const runs = { numRuns: 200 };

  test("one alone is the same, whichever of the three it is", () => {
    fc.assert(
      fc.property(file, (value) => {
        const alone = settings(text(value));
        expect(settings("", text(value))).toEqual(alone);
        expect(settings("", "", text(value))).toEqual(alone);
      }),
      runs,
    );
  });

  test("saying it all again in the override changes nothing but what lists together", () => {
    fc.assert(
      fc.property(file, (value) => {
        const once = settings(text(value));
        const twice = settings(text(value), "", text(value));
        expect({ ...twice, networks: [], portForwards: [] }).toEqual({
          ...once,
          networks: [],
          portForwards: [],
        });
        // named networks are there once, unnamed ones twice
        const named = (all: typeof once.networks) =>
          all.filter((network) => !network.interface.startsWith("lima"));
        expect(named(twice.networks)).toEqual(named(once.networks));
        expect(twice.portForwards).toEqual([...once.portForwards, ...once.portForwards]);
      }),
      runs,
    );
  });

  test("networks stand in the order default, instance, override; port rules in the opposite one", () => {
    fc.assert(
      fc.property(file, file, file, (d, y, o) => {
        const [defaults, instance, override] = [d, y, o] as { networks?: object[] }[];
        const all = settings(text(instance!), text(defaults!), text(override!));
        const names = [defaults, instance, override].flatMap(
          (one) => (one!.networks ?? []) as { interface?: string }[],
        );
        const order: (string | undefined)[] = [];
        for (const { interface: name } of names)
          if (name === undefined || !order.includes(name)) order.push(name);
        expect(all.networks.map((network) => network.interface)).toEqual(
          order.map((name, i) => name ?? `lima${i}`),
        );
        for (const network of all.networks)
          expect([network.lima, network.socket, network.vzNAT].filter(Boolean)).toHaveLength(1);
      }),
      runs,
    );
  });
});
