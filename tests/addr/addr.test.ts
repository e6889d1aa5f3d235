import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatEndpoint, parseEndpoint } from "../../lib/addr/endpoint.ts";
import {
  cidrContains,
  cidrOf,
  formatCidr,
  formatIpv4,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isReserved,
  parseCidr,
  parseIpv4,
  prefixOfNetmask,
} from "../../lib/addr/ipv4.ts";
import { formatMac, isGroupMac, parseMac } from "../../lib/addr/mac.ts";

const address = fc.integer({ min: 0, max: 0xffffffff });

describe("IPv4", () => {
  test.each([
    ["0.0.0.0", 0],
    ["192.168.5.15", 0xc0a8050f],
    ["255.255.255.255", 0xffffffff],
  ])("parseIpv4(%s) is %d", (text, value) => expect(parseIpv4(text)).toBe(value));

  test.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.-4",
    " 1.2.3.4",
    "1.2.3.4 ",
    "0x1.2.3.4",
    "::1",
  ])("parseIpv4(%j) refuses what is no address", (text) => expect(parseIpv4(text)).toBeUndefined());

  test("formatIpv4() and parseIpv4() undo each other", () => {
    fc.assert(fc.property(address, (value) => parseIpv4(formatIpv4(value)) === value));
  });

  test.each([
    ["192.168.104.7/24", "192.168.104.0/24", "192.168.104.255"],
    ["10.1.2.3/8", "10.0.0.0/8", "10.255.255.255"],
    ["1.2.3.4/32", "1.2.3.4/32", "1.2.3.4"],
    ["1.2.3.4/0", "0.0.0.0/0", "255.255.255.255"],
    ["10.0.0.77/26", "10.0.0.64/26", "10.0.0.127"],
  ])("parseCidr(%s) is the subnet %s with broadcast %s", (text, subnet, broadcast) => {
    const cidr = parseCidr(text)!;
    expect(formatCidr(cidr)).toBe(subnet);
    expect(formatIpv4(cidr.broadcast)).toBe(broadcast);
  });

  test.each(["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/-1", "/8"])(
    "parseCidr(%j) refuses what is no subnet",
    (text) => expect(parseCidr(text)).toBeUndefined(),
  );

  test("a subnet contains exactly the addresses from its first to its last", () => {
    fc.assert(
      fc.property(address, address, fc.integer({ min: 0, max: 32 }), (a, b, prefix) => {
        const cidr = cidrOf(a, prefix);
        return cidrContains(cidr, b) === (b >= cidr.network && b <= cidr.broadcast);
      }),
    );
  });

  test("prefixOfNetmask() knows the 33 netmasks and no other", () => {
    for (let prefix = 0; prefix <= 32; prefix++)
      expect(prefixOfNetmask(cidrOf(0, prefix).netmask)).toBe(prefix);
    for (const text of ["255.0.255.0", "0.0.0.255", "255.255.255.1"])
      expect(prefixOfNetmask(parseIpv4(text)!)).toBeUndefined();
  });

  test.each([
    [isLoopback, "127.0.0.0", "127.255.255.255", "128.0.0.0"],
    [isLinkLocal, "169.254.0.0", "169.254.255.255", "169.253.255.255"],
    [isMulticast, "224.0.0.0", "239.255.255.255", "240.0.0.0"],
    [isReserved, "0.0.0.1", "255.255.255.255", "223.255.255.255"],
  ])("%p holds from first to last and not beside", (is, first, last, beside) => {
    expect([first, last, beside].map((text) => is(parseIpv4(text)!))).toEqual([true, true, false]);
  });
});

describe("MAC", () => {
  test.each(["52:55:55:12:34:ab", "52-55-55-12-34-AB", "5255.5512.34ab"])("parseMac(%s)", (text) =>
    expect(parseMac(text)).toBe(0x5255551234ab),
  );
  test.each([
    "",
    "52:55:55:12:34",
    "52:55:55:12:34:ab:cd",
    "52:55:55:12:34:g0",
    "5:55:55:12:34:ab",
  ])("parseMac(%j) refuses what is no address", (text) => expect(parseMac(text)).toBeUndefined());
  test("formatMac() and parseMac() undo each other", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 48 - 1 }),
        (mac) => parseMac(formatMac(mac)) === mac,
      ),
    );
  });
  test("isGroupMac() looks at the first octet's lowest bit", () => {
    expect([0xffffffffffff, 0x01005e000001, 0x525555000001, 0].map(isGroupMac)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe("endpoint", () => {
  test.each([
    ["127.0.0.1:22", "127.0.0.1", 22],
    [":8080", "", 8080],
    ["[::1]:53", "::1", 53],
    ["0.0.0.0:0", "0.0.0.0", 0],
  ])("parseEndpoint(%s), and formatEndpoint() undoes it", (text, host, port) => {
    expect(parseEndpoint(text)).toEqual({ host, port });
    expect(formatEndpoint({ host, port })).toBe(text);
  });
  test.each(["", "127.0.0.1", "::1:53", "host:65536", "host:-1", "[::1]", "a:b"])(
    "parseEndpoint(%j) refuses what has no port",
    (text) => expect(parseEndpoint(text)).toBeUndefined(),
  );
});
