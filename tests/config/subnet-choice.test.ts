import { expect, test } from "bun:test";
import fc from "fast-check";
import { cidrContains, cidrOf, parseCidr } from "../../lib/addr/ipv4.ts";
import { freeGateway, overlaps, ownerOf } from "../../lib/config/subnet-choice.ts";

const taken = (...list: string[]) =>
  list.map((text) => ({ subnet: parseCidr(text)!, owner: `the interface of ${text}` }));

test("overlaps() holds when and only when some address is in both", () => {
  const cidr = fc
    .tuple(fc.nat(0xffffffff), fc.integer({ min: 1, max: 32 }))
    .map(([address, prefix]) => cidrOf(address, prefix));
  fc.assert(
    fc.property(cidr, cidr, (a, b) => {
      // of two subnets, one is inside of the other or they are apart
      expect(overlaps(a, b)).toBe(cidrContains(a, b.network) || cidrContains(b, a.network));
    }),
  );
});

test.each([
  [[], "192.168.104.1/24"],
  [["192.168.104.0/24"], "192.168.105.1/24"],
  [["192.168.104.0/22"], "192.168.108.1/24"],
  [["192.168.104.7/32", "192.168.105.0/25"], "192.168.106.1/24"],
  [["192.168.0.0/16"], "172.16.104.1/24"],
  [["192.168.0.0/16", "172.16.104.0/21"], "172.16.112.1/24"],
  [["192.168.0.0/16", "172.16.0.0/15"], "172.18.104.1/24"],
  [["192.168.0.0/16", "172.16.0.0/12"], "10.0.104.1/24"],
  [["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/9"], "10.128.104.1/24"],
  [["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8"], undefined],
])("freeGateway() beside %j is %s", (list, gateway) => {
  expect(freeGateway(taken(...list))).toBe(gateway!);
});

test("ownerOf() names who has the subnet", () => {
  expect(ownerOf(parseCidr("10.1.0.0/16")!, taken("10.0.0.0/16", "10.1.2.0/24"))).toBe(
    "the interface of 10.1.2.0/24",
  );
  expect(ownerOf(parseCidr("10.2.0.0/16")!, taken("10.0.0.0/16"))).toBeUndefined();
});
