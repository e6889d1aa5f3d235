import { expect, test } from "bun:test";
import fc from "fast-check";
import { BROADCAST_MAC, formatMac, isGroupMac, parseMac } from "../../lib/addr/mac.ts";

test.each([
  ["52:55:55:12:34:ab", 0x5255551234ab],
  ["52-55-55-12-34-AB", 0x5255551234ab],
  ["5255.5512.34aB", 0x5255551234ab],
  ["0050.0900.00ab", 0x0050090000ab],
  ["00:00:00:00:00:01", 1],
  ["ff:ff:ff:ff:ff:ff", BROADCAST_MAC],
])("parseMac(%s) is %d", (text, mac) => expect(parseMac(text)).toBe(mac));

test.each([
  "",
  "52:55:55:12:34",
  "52:55:55:12:34:ab:cd",
  "52:55:55:12:34:g0",
  "5:55:55:12:34:ab",
  "52:55:55:12:34:ab ",
  "52:55:55:12:34:ab\n",
  "52:55:55-12-34-ab",
  "52:55:55:12:34-ab",
  "5255551234ab",
  "52.55.55.12.34.ab",
  "5255.551234ab",
  "5255:5512:34ab",
])("parseMac(%j) refuses what is no address", (text) => expect(parseMac(text)).toBeUndefined());

test.each([
  [0, "00:00:00:00:00:00"],
  [0x0a0b0c0d0e0f, "0a:0b:0c:0d:0e:0f"],
  [BROADCAST_MAC, "ff:ff:ff:ff:ff:ff"],
])("formatMac(%d) is %s", (mac, text) => expect(formatMac(mac)).toBe(text));

test("parseMac() takes whatever formatMac() makes", () => {
  fc.assert(fc.property(fc.nat(BROADCAST_MAC), (mac) => parseMac(formatMac(mac)) === mac));
});

test.each([
  ["ff:ff:ff:ff:ff:ff", true],
  ["01:00:5e:00:00:01", true],
  ["01:00:00:00:00:00", true],
  ["52:55:55:00:00:01", false],
  ["fe:ff:ff:ff:ff:ff", false],
  ["00:01:01:01:01:01", false],
])("isGroupMac(%s) is %p, by the lowest bit of the first octet", (text, group) =>
  expect(isGroupMac(parseMac(text)!)).toBe(group),
);
