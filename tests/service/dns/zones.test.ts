/** Zones: what a network says itself about a name (specification 8.8 and 8.11). */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  DnsZones,
  hostsBeyondZones,
  zonesOfHosts,
  type Zone,
} from "../../../lib/service/dns/zones.ts";

const zones = (...list: Zone[]) => {
  const all = new DnsZones();
  for (const zone of list) all.add(zone);
  return all;
};

describe("lookup()", () => {
  const table = zones(
    {
      Name: "internal.",
      Records: [
        { Name: "host.lima", IP: "192.0.2.1" },
        { Name: "db", IP: "192.0.2.2" },
        { Name: "deep.apps", IP: "192.0.2.6" },
      ],
    },
    {
      Name: "example.test.",
      Records: [
        { Name: "www", IP: "192.0.2.3" },
        { Name: "n0", IP: "192.0.2.7" },
        { Name: "", Regexp: "^n[0-9]+$", IP: "192.0.2.4" },
        { Name: "", Regexp: "(", IP: "192.0.2.99" },
        { Name: "", IP: "192.0.2.8" },
      ],
    },
    { Name: "apps.internal.", Records: [], DefaultIP: "192.0.2.5" },
    { Name: "sub.example.test", Records: [{ Name: "only", IP: "192.0.2.9" }], DefaultIP: "" },
  );
  test.each([
    ["host.lima.internal", "192.0.2.1"],
    ["HOST.Lima.Internal.", "192.0.2.1"],
    ["db.internal", "192.0.2.2"],
    ["www.example.test", "192.0.2.3"],
    // records count in their order
    ["n0.example.test", "192.0.2.7"],
    ["n42.example.test", "192.0.2.4"],
    ["example.test", "192.0.2.8"],
    ["anything.apps.internal", "192.0.2.5"],
    ["apps.internal", "192.0.2.5"],
    // the longer zone has an answer to everything
    ["deep.apps.internal", "192.0.2.5"],
    ["only.sub.example.test", "192.0.2.9"],
  ])("of %s is %s", (name, ip) => expect(table.lookup(name)).toEqual({ kind: "address", ip }));

  test.each([
    ["other.internal", "elsewhere"],
    ["a.host.lima.internal", "elsewhere"],
    ["lima.internal", "elsewhere"],
    ["mail.example.test", "elsewhere"],
    ["xn42.example.test", "elsewhere"],
    ["other.sub.example.test", "elsewhere"],
    ["notinternal", "elsewhere"],
    ["db.notinternal", "elsewhere"],
    ["internal", "elsewhere"],
    ["internal.example.org", "elsewhere"],
    ["example.org", "elsewhere"],
    ["", "elsewhere"],
    [".", "elsewhere"],
  ] as const)("of %s is %s", (name, kind) => expect(table.lookup(name)).toEqual({ kind }));

  test("does not depend on case or on the final dot", () => {
    const name = fc.constantFrom("host.lima.internal", "nobody.internal", "n7.example.test", "a.b");
    fc.assert(
      fc.property(name, fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }), (text, upper) => {
        const mixed = Array.from(text, (c, i) => (upper[i] ? c.toUpperCase() : c)).join("");
        expect(table.lookup(mixed)).toEqual(table.lookup(text));
        expect(table.lookup(`${mixed}.`)).toEqual(table.lookup(text));
      }),
    );
  });
});

describe("add()", () => {
  const older: Zone = {
    Name: "x.",
    Records: [
      { Name: "a", IP: "192.0.2.1" },
      { Name: "b", IP: "192.0.2.2" },
    ],
    DefaultIP: "192.0.2.7",
  };

  test("of a zone that is there puts the new records first, each once, and replaces the default", () => {
    const twice = zones(older, {
      Name: "X.",
      Records: [
        { Name: "b", IP: "192.0.2.2" },
        { Name: "a", IP: "192.0.2.9" },
      ],
    });
    expect(twice.all()).toEqual([
      {
        Name: "X.",
        Records: [
          { Name: "b", IP: "192.0.2.2" },
          { Name: "a", IP: "192.0.2.9" },
          { Name: "a", IP: "192.0.2.1" },
        ],
        DefaultIP: "",
      },
    ]);
    expect(twice.lookup("a.x")).toEqual({ kind: "address", ip: "192.0.2.9" });
  });

  test("leaves what it was given as it is", () => {
    const given = structuredClone(older);
    zones(given, { Name: "x.", Records: [{ Name: "c", IP: "192.0.2.3" }] });
    expect(given).toEqual(older);
  });

  test("keeps zones in the order in which they came", () => {
    const names = zones(older, { Name: "y", Records: [] }, { ...older, Name: "X" }).all();
    expect(names.map(({ Name }) => Name)).toEqual(["X", "y"]);
  });
});

test("namesOf() tells each name of an address once, but no pattern and no default", () => {
  const table = zones(
    {
      Name: "internal.",
      Records: [
        { Name: "host.lima", IP: "192.0.2.1" },
        { Name: "", IP: "192.0.2.1" },
        { Name: "HOST", Regexp: "h.*", IP: "192.0.2.1" },
        { Name: "other", IP: "192.0.2.2" },
      ],
      DefaultIP: "192.0.2.3",
    },
    { Name: "lima.internal", Records: [{ Name: "host", IP: "192.0.2.1" }] },
  );
  expect(table.namesOf("192.0.2.1")).toEqual(["host.lima.internal", "internal"]);
  expect(table.namesOf("192.0.2.3")).toEqual([]);
});

describe("zonesOfHosts()", () => {
  test("makes what stands behind the last dot the zone", () => {
    expect(
      zonesOfHosts({
        "host.lima.internal": "192.0.2.1",
        "A.Test.": "192.0.2.2",
        "b.internal": "192.0.2.3",
        short: "192.0.2.7",
      }),
    ).toEqual([
      {
        Name: "internal.",
        Records: [
          { Name: "host.lima", IP: "192.0.2.1" },
          { Name: "b", IP: "192.0.2.3" },
        ],
      },
      { Name: "test.", Records: [{ Name: "a", IP: "192.0.2.2" }] },
      { Name: "short", Records: [], DefaultIP: "192.0.2.7" },
    ]);
  });

  test.each([
    ["an alias", { "a.test": "b.test", "b.test": "192.0.2.1" }, "192.0.2.1"],
    ["an alias in other letters", { "a.test": "B.Test.", "b.TEST": "192.0.2.1" }, "192.0.2.1"],
    ["an alias of an alias", { "a.test": "b.test", "b.test": "c", c: "192.0.2.1" }, "192.0.2.1"],
  ])("follows %s", (_what, hosts, ip) => {
    expect(zones(...zonesOfHosts(hosts as Record<string, string>)).lookup("a.test")).toEqual({
      kind: "address",
      ip,
    });
  });

  test.each<[string, Record<string, string>]>([
    ["a circle", { "a.test": "b.test", "b.test": "a.test" }],
    ["an alias of itself", { "a.test": "a.test" }],
    ["an alias that leads out of the table", { "a.test": "example.org" }],
    ["what only looks like an address", { "a.test": "300.0.2.1" }],
  ])("leaves %s out", (_what, hosts) => expect(zonesOfHosts(hosts)).toEqual([]));
});

test("hostsBeyondZones() are those that zonesOfHosts() leaves out", () => {
  const hosts = {
    "a.test": "192.0.2.1",
    "b.test": "A.test",
    "*.test": "192.0.2.1",
    "out.test": "example.org",
    "six.test": "2001:db8::1",
    "round.test": "round.test",
  };
  expect(zonesOfHosts(hosts)[0]!.Records.map(({ Name }) => Name)).toEqual(["a", "b"]);
  expect(Object.keys(hostsBeyondZones(hosts))).toEqual([
    "*.test",
    "out.test",
    "six.test",
    "round.test",
  ]);
});
