import { expect, test } from "bun:test";
import { canonicalIp, isLoopbackIp, isWildcardIp } from "../../lib/addr/ip-text.ts";

test.each([
  ["127.0.0.1", "127.0.0.1"],
  ["127.000.0.01", "127.0.0.1"],
  ["0.0.0.0", "0.0.0.0"],
  ["::", "::"],
  ["0:0:0:0:0:0:0:1", "::1"],
  ["FE80::0001", "fe80::1"],
  ["::ffff:127.0.0.1", "::ffff:7f00:1"],
  ["", undefined],
  ["localhost", undefined],
  ["256.0.0.1", undefined],
  ["1.2.3", undefined],
  [":", undefined],
  ["::1]/@[::2", undefined],
  ["fe80::1%eth0", undefined],
  ["1:2", undefined],
])("canonicalIp(%j) is %j", (text, canonical) => {
  expect(canonicalIp(text)).toBe(canonical!);
});

test.each([
  ["0.0.0.0", true, false],
  ["::", true, false],
  ["127.0.0.1", false, true],
  ["127.8.8.8", false, true],
  ["::1", false, true],
  ["192.168.5.15", false, false],
])("%s is a wildcard: %p, a loopback address: %p", (ip, wildcard, loopback) => {
  expect([isWildcardIp(ip), isLoopbackIp(ip)]).toEqual([wildcard, loopback]);
});
