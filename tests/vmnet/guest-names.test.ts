import { expect, test } from "bun:test";
import { guestNames } from "../../lib/vmnet/guest-names.ts";

const NOW = 1000;
const lease = (ip: string, hostname?: string, expiresAt = 2000) => ({
  ip,
  mac: "52:55:55:00:00:01",
  ...(hostname === undefined ? {} : { hostname }),
  expiresAt,
});

test.each<[string, ReturnType<typeof lease>[], Record<string, string>]>([
  ["a guest with a name", [lease("10.0.0.2", "Alpha")], { "alpha.internal": "10.0.0.2" }],
  ["without one", [lease("10.0.0.2")], {}],
  ["with a whole one", [lease("10.0.0.2", "www.example.com")], { "www.internal": "10.0.0.2" }],
  [
    "with the host's own",
    [lease("10.0.0.2", "host.lima.internal")],
    { "host.internal": "10.0.0.2" },
  ],
  ["with one that is none", [lease("10.0.0.2", "-x"), lease("10.0.0.3", "a_b")], {}],
  ["whose lease is over", [lease("10.0.0.2", "alpha", NOW)], {}],
  [
    "two with one name",
    [lease("10.0.0.2", "alpha"), lease("10.0.0.3", "alpha", 3000)],
    { "alpha.internal": "10.0.0.2" },
  ],
  [
    "two with one name, of whom the first has gone",
    [lease("10.0.0.2", "alpha", 500), lease("10.0.0.3", "alpha")],
    { "alpha.internal": "10.0.0.3" },
  ],
])("names of guests: %s", (_what, leases, names) => {
  expect(guestNames(leases, NOW)).toEqual(names);
});
