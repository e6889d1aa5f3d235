import { expect, test } from "bun:test";
import {
  allowsPort,
  formatHostAccess,
  isWithin,
  parseHostAccess,
  type HostAccess,
} from "../../lib/config/host-access.ts";

test.each<[string, HostAccess | undefined]>([
  ["all", "all"],
  ["none", "none"],
  ["22", [22]],
  ["1,65535", [1, 65_535]],
  ["", undefined],
  ["0", undefined],
  ["65536", undefined],
  ["22,", undefined],
  ["22, 23", undefined],
  ["-1", undefined],
  ["1e3", undefined],
  ["ALL", undefined],
])("parseHostAccess(%j) is %j, and is written as it was read", (text, access) => {
  expect(parseHostAccess(text)).toEqual(access);
  if (access !== undefined) expect(formatHostAccess(access)).toBe(text);
});

test("formatHostAccess() of no port at all is none", () => {
  expect(formatHostAccess([])).toBe("none");
});

test.each<[HostAccess, number, boolean]>([
  ["all", 22, true],
  ["none", 22, false],
  [[22, 80], 80, true],
  [[22, 80], 81, false],
  [[], 22, false],
])("allowsPort(%j, %d) is %p", (access, port, allowed) => {
  expect(allowsPort(access, port)).toBe(allowed);
});

test.each<[HostAccess, HostAccess, boolean]>([
  ["all", "all", true],
  ["none", "all", true],
  [[22], "all", true],
  ["all", [22], false],
  ["all", "none", false],
  ["none", "none", true],
  [[22], [22, 80], true],
  [[22, 80], [22], false],
  [[22], "none", false],
  [[], "none", true],
])("isWithin(%j, %j) is %p", (access, other, within) => {
  expect(isWithin(access, other)).toBe(within);
});
