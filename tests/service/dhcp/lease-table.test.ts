/** Who has which address, seen without the messages: what is stored, restored, shown and handed out again. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { cidrContains, parseCidr, parseIpv4 } from "../../../lib/addr/ipv4.ts";
import {
  endingBy,
  LeaseTable,
  type Lease,
  type PoolPlan,
} from "../../../lib/service/dhcp/lease-table.ts";

const ip = (text: string) => parseIpv4(text)!;
const SUBNET = parseCidr("10.0.0.0/29")!;
const PLAN: PoolPlan = {
  first: ip("10.0.0.1"),
  last: ip("10.0.0.6"),
  excluded: new Set([ip("10.0.0.2")]),
  contains: (address) =>
    cidrContains(SUBNET, address) && address !== SUBNET.network && address !== SUBNET.broadcast,
  isHeldByOther: () => false,
};
const table = (stored: Lease[] = [], fixed: Lease[] = []) =>
  new LeaseTable(PLAN, fixed, stored, () => {});
/** A client gets an address and keeps it until `expiresAt`. */
const bind = (leases: LeaseTable, mac: number, clientId?: string, expiresAt = 5000) => {
  const binding = leases.offer(0, mac, clientId, undefined, 0)!;
  leases.bind(0, binding, 0, expiresAt, undefined);
  return binding.address;
};
const lease = (last: number, mac: number, more: Partial<Lease> = {}): Lease => ({
  ip: `10.0.0.${last}`,
  mac: `02:00:00:00:00:0${mac}`,
  expiresAt: 5000,
  ...more,
});
const MAC = 0x020000000000;

test("endingBy() lets no stored lease last longer than one that is given now, but those without an end", () => {
  const { expiresAt: _, ...fixed } = lease(1, 1);
  const stored = [fixed, lease(3, 3), lease(4, 4, { expiresAt: 9_000_000 })];
  expect(endingBy(6000, stored)).toEqual([fixed, lease(3, 3), lease(4, 4, { expiresAt: 6000 })]);
});

describe("offer()", () => {
  test("hands out the addresses of the pool in order, leaving out the excluded, until none is left", () => {
    const leases = table();
    const got = [1, 2, 3, 4, 5].map(
      (n) => leases.offer(0, MAC + n, undefined, undefined, 0)!.address,
    );
    expect(got).toEqual([1, 3, 4, 5, 6].map((last) => SUBNET.network + last));
    expect(leases.offer(0, MAC + 6, undefined, undefined, 0)).toBeUndefined();
  });

  test.each([
    ["a free one", "10.0.0.5", "10.0.0.5"],
    ["an excluded one", "10.0.0.2", "10.0.0.3"],
    ["one that is taken", "10.0.0.1", "10.0.0.3"],
    ["the network's", "10.0.0.0", "10.0.0.3"],
    ["one of another network", "10.0.1.5", "10.0.0.3"],
  ])("of %s that is asked for is %3$s", (_what, requested, offered) => {
    const leases = table();
    bind(leases, MAC + 1);
    expect(leases.offer(0, MAC + 2, undefined, ip(requested), 0)!.address).toBe(ip(offered));
  });
});

describe("list()", () => {
  test("leaves offers out, and is in the order of the addresses", () => {
    const leases = table([lease(6, 6), lease(4, 4)]);
    leases.offer(0, MAC + 1, undefined, undefined, 0);
    expect(leases.list()).toEqual([lease(4, 4), lease(6, 6)]);
  });

  test("has identifier and host name when the client had", () => {
    const leases = table();
    leases.bind(0, leases.offer(0, MAC + 1, "ff01", undefined, 0)!, 0, 5000, "vm");
    expect(leases.list()).toEqual([lease(1, 1, { clientId: "ff01", hostname: "vm" })]);
  });

  test("of a static lease has no end", () => {
    const leases = table([], [{ ip: "10.0.0.3", mac: "02:00:00:00:00:03" }]);
    leases.bind(0, leases.of(MAC + 3, "0102")!, 0, 5000, undefined);
    expect(leases.list()).toEqual([{ ip: "10.0.0.3", mac: "02:00:00:00:00:03" }]);
  });
});

describe("a table made of stored leases", () => {
  test.each<[string, Lease]>([
    ["of an excluded address", lease(2, 1)],
    ["of the network's address", lease(0, 1)],
    ["of the broadcast address", lease(7, 1)],
    ["of another network", { ...lease(1, 1), ip: "10.0.1.1" }],
    ["with no address", { ...lease(1, 1), ip: "" }],
    ["with no hardware address", { ...lease(1, 1), mac: "02:00" }],
  ])("leaves out one %s", (_what, stored) => {
    expect(table([stored, lease(6, 6)]).list()).toEqual([lease(6, 6)]);
  });

  test("gives an address to the first that claims it, and a client the first of its addresses", () => {
    const stored = [lease(3, 1), lease(3, 2), lease(4, 1)];
    expect(table(stored).list()).toEqual([lease(3, 1)]);
  });

  test("puts static leases first, on addresses that others may not have", () => {
    const fixed: Lease[] = [{ ip: "10.0.0.2", mac: "02:00:00:00:00:01" }];
    expect(table([lease(2, 2), lease(5, 1, { clientId: "aa" })], fixed).list()).toEqual(fixed);
  });

  test("does not make a static lease of one that was static only then", () => {
    const before = table([], [{ ip: "10.0.0.3", mac: "02:00:00:00:00:03" }]).list();
    const leases = table(before);
    expect(leases.isFree(0, ip("10.0.0.3"), 0)).toBe(true);
  });

  test("has what the earlier one had, whoever shared a card there", () => {
    const client = fc.tuple(
      fc.integer({ min: 1, max: 3 }),
      fc.option(fc.constantFrom("aa", "bb", "cc"), { nil: undefined }),
    );
    fc.assert(
      fc.property(fc.array(client, { maxLength: 8 }), (clients) => {
        const leases = table();
        for (const [mac, clientId] of clients) {
          if (leases.of(MAC + mac, clientId) !== undefined || leases.list().length < 5)
            bind(leases, MAC + mac, clientId);
        }
        const stored = leases.list();
        expect(table(stored).list()).toEqual(stored);
        const again = table(stored);
        for (const [mac, clientId] of clients)
          expect(again.of(MAC + mac, clientId)?.address).toBe(
            leases.of(MAC + mac, clientId)?.address,
          );
      }),
    );
  });
});

describe("changed", () => {
  test.each<[string, (leases: LeaseTable) => void, boolean]>([
    ["an offer", (leases) => void leases.offer(0, MAC + 2, undefined, undefined, 0), false],
    ["a new lease", (leases) => void bind(leases, MAC + 2), true],
    [
      "a renewed lease",
      (leases) => leases.bind(0, leases.of(MAC + 1, undefined)!, 0, 9, undefined),
      true,
    ],
    ["a release", (leases) => leases.release(0, leases.of(MAC + 1, undefined)!), true],
    ["a decline", (leases) => leases.decline(0, leases.of(MAC + 1, undefined)!), true],
  ])("after %s is told", (_what, act, changed) => {
    const leases = table([lease(1, 1)]);
    expect(leases.changed).toBe(false);
    act(leases);
    expect(leases.changed).toBe(changed);
  });
});

test("isFree() of a declined address comes true after ten minutes", () => {
  const leases = table([lease(1, 1)]);
  leases.decline(1000, leases.at(ip("10.0.0.1"))!);
  expect(leases.isFree(600_999, ip("10.0.0.1"), 0)).toBe(false);
  expect(leases.isFree(601_000, ip("10.0.0.1"), 0)).toBe(true);
});
