import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  cidrContains,
  cidrOf,
  formatCidr,
  formatIpv4,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isReserved,
  LIMITED_BROADCAST,
  LOOPBACK,
  parseCidr,
  parseIpv4,
  prefixOfNetmask,
} from "../../lib/addr/ipv4.ts";

const address = fc.nat(0xffffffff);
const ip = (text: string) => parseIpv4(text)!;

describe("addresses", () => {
  test.each([
    ["0.0.0.0", 0],
    ["127.0.0.1", LOOPBACK],
    ["192.168.5.15", 0xc0a8050f],
    ["255.255.255.255", LIMITED_BROADCAST],
  ])("parseIpv4(%s) is %d, and formatIpv4() undoes it", (text, value) => {
    expect(parseIpv4(text)).toBe(value);
    expect(formatIpv4(value)).toBe(text);
  });

  test.each([
    "",
    "1.2.3",
    ".2.3.4",
    "1.2..4",
    "1.2.3.",
    "1.2.3.4.5",
    "1..3.4",
    "256.2.3.4",
    "1.2.3.256",
    "1000.2.3.4",
    "0001.2.3.4",
    "1.0002.3.4",
    "1.2.0003.4",
    "1.2.3.0004",
    "1.2.3.-4",
    "1.2.3.+4",
    " 1.2.3.4",
    "1.2.3.4 ",
    "1.2.3.4\n",
    "1,2,3,4",
    "0x1.2.3.4",
    "16909060",
    "::1",
  ])("parseIpv4(%j) refuses what is no address", (text) => expect(parseIpv4(text)).toBeUndefined());

  test("parseIpv4() takes whatever formatIpv4() makes", () => {
    fc.assert(fc.property(address, (value) => parseIpv4(formatIpv4(value)) === value));
  });

  test("formatIpv4() shows a signed number as the same 32 bits", () => {
    expect(formatIpv4(-1)).toBe("255.255.255.255");
    expect(formatIpv4(0xc0a8050f | 0)).toBe("192.168.5.15");
  });

  test.each<[string, (address: number) => boolean, string, string, string[]]>([
    ["isLoopback()", isLoopback, "127.0.0.0", "127.255.255.255", ["126.255.255.255", "128.0.0.0"]],
    [
      "isLinkLocal()",
      isLinkLocal,
      "169.254.0.0",
      "169.254.255.255",
      ["169.253.255.255", "169.255.0.0"],
    ],
    [
      "isMulticast()",
      isMulticast,
      "224.0.0.0",
      "239.255.255.255",
      ["223.255.255.255", "240.0.0.0"],
    ],
    ["isReserved()", isReserved, "0.0.0.0", "0.255.255.255", ["1.0.0.0"]],
    ["isReserved()", isReserved, "240.0.0.0", "255.255.255.255", ["239.255.255.255"]],
  ])("%s holds from the first of its addresses to the last", (_name, is, first, last, beside) => {
    expect([first, last].map((text) => is(ip(text)))).toEqual([true, true]);
    for (const text of beside) expect(is(ip(text))).toBe(false);
  });
});

describe("subnets", () => {
  test.each([
    ["192.168.104.7/24", "192.168.104.0/24", "255.255.255.0", "192.168.104.255"],
    ["10.1.2.3/8", "10.0.0.0/8", "255.0.0.0", "10.255.255.255"],
    ["10.0.0.77/26", "10.0.0.64/26", "255.255.255.192", "10.0.0.127"],
    ["1.2.3.5/31", "1.2.3.4/31", "255.255.255.254", "1.2.3.5"],
    ["1.2.3.4/32", "1.2.3.4/32", "255.255.255.255", "1.2.3.4"],
    ["200.2.3.4/1", "128.0.0.0/1", "128.0.0.0", "255.255.255.255"],
    ["1.2.3.4/0", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"],
  ])("parseCidr(%s) is %s with netmask %s and broadcast %s", (text, subnet, mask, broadcast) => {
    const cidr = parseCidr(text)!;
    expect(formatCidr(cidr)).toBe(subnet);
    expect(cidr.netmask).toBe(ip(mask));
    expect(cidr.broadcast).toBe(ip(broadcast));
    expect(cidr).toEqual(cidrOf(ip(subnet.slice(0, subnet.indexOf("/"))), cidr.prefix));
  });

  test.each([
    "",
    "/",
    "/8",
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/008",
    "10.0.0.0/-1",
    "10.0.0.0/8 ",
    "10.0.0.0/8/8",
    "10.0.0.0/255.0.0.0",
    "10.0.0/8",
    "256.0.0.0/8",
  ])("parseCidr(%j) refuses what is no subnet", (text) => expect(parseCidr(text)).toBeUndefined());

  test("cidrContains() says yes from the network's address to the broadcast's", () => {
    fc.assert(
      fc.property(address, address, fc.nat(32), fc.nat(3), (a, b, prefix, step) => {
        const cidr = cidrOf(a, prefix);
        expect(cidr.broadcast - cidr.network).toBe(2 ** (32 - prefix) - 1);
        const near = [b, cidr.network + step, cidr.network - step, cidr.broadcast + step, a];
        for (const other of near.filter((n) => n >= 0 && n <= 0xffffffff))
          expect(cidrContains(cidr, other)).toBe(other >= cidr.network && other <= cidr.broadcast);
      }),
    );
  });

  test("prefixOfNetmask() knows the 33 netmasks", () => {
    for (let prefix = 0; prefix <= 32; prefix++)
      expect(prefixOfNetmask(2 ** 32 - 2 ** (32 - prefix))).toBe(prefix);
  });

  test.each(["255.0.255.0", "0.0.0.255", "255.255.255.1", "127.0.0.0", "255.255.253.0"])(
    "prefixOfNetmask(%s) knows no such netmask",
    (text) => expect(prefixOfNetmask(ip(text))).toBeUndefined(),
  );
});
