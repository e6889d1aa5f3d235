/** Split DNS: the servers of the longest domain above a name. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Routes } from "../../../lib/service/dns/routes.ts";

const group = (address: string) => ({ servers: [{ address, port: 53 }], origin: address });
const general = group("192.0.2.1");
const routes = new Routes(general, [
  { domain: "corp.test", ...group("192.0.2.2") },
  { domain: "Lab.Corp.Test.", ...group("192.0.2.3") },
  { domain: "corp.test", ...group("192.0.2.9") },
  { domain: "empty.test", servers: [], origin: "nobody" },
]);

test.each([
  ["corp.test", "192.0.2.2"],
  ["www.corp.test", "192.0.2.2"],
  ["WWW.CORP.TEST.", "192.0.2.2"],
  ["lab.corp.test", "192.0.2.3"],
  ["a.b.lab.corp.test", "192.0.2.3"],
  ["xcorp.test", "192.0.2.1"],
  ["corp.test.example", "192.0.2.1"],
  ["a.empty.test", "192.0.2.1"],
  ["test", "192.0.2.1"],
  [".", "192.0.2.1"],
  ["", "192.0.2.1"],
])("%j is asked of %s", (name, address) => expect(routes.for(name).origin).toBe(address));

test("the empty domain is every name's, but for those with a longer one", () => {
  const vpn = new Routes(general, [
    { domain: "", ...group("192.0.2.4") },
    { domain: "corp.test", ...group("192.0.2.2") },
  ]);
  expect(vpn.for("example.org").origin).toBe("192.0.2.4");
  expect(vpn.for("a.corp.test").origin).toBe("192.0.2.2");
});

test("of all domains that end a name it is the longest", () => {
  const label = fc.constantFrom("a", "b", "c");
  const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join("."));
  fc.assert(
    fc.property(name, fc.array(name, { maxLength: 6 }), (wanted, domains) => {
      const table = new Routes(
        general,
        domains.map((domain) => ({ domain, ...group(domain) })),
      );
      const best = domains
        .filter((domain) => wanted === domain || wanted.endsWith(`.${domain}`))
        .toSorted((a, b) => b.length - a.length)[0];
      expect(table.for(wanted).origin).toBe(best ?? general.origin);
    }),
    { numRuns: 1000 },
  );
});
