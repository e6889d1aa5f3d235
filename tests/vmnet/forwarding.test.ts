import { expect, test } from "bun:test";
import {
  needsForwarding,
  rememberForwarding,
  restoreForwarding,
} from "../../lib/vmnet/forwarding.ts";

const reader = (settings: Record<string, string>) => (key: string) => settings[key];
const OFF = {
  "ipv4/ip_forward": "0",
  "ipv4/conf/all/forwarding": "0",
  "ipv4/conf/all/accept_redirects": "0",
  "ipv4/conf/eth0/forwarding": "0",
  "ipv4/conf/tun0/forwarding": "1",
  "ipv4/conf/gone0/forwarding": "1",
};

test("what was on before is nobody's to switch off", () => {
  const before = rememberForwarding(["all", "eth0"], reader({ ...OFF, "ipv4/ip_forward": "1" }));
  expect(restoreForwarding(before, reader(OFF))).toEqual([]);
});

test("single interfaces and redirects come back behind ip_forward; an interface that is gone does not", () => {
  const before = rememberForwarding(["all", "eth0", "tun0", "gone0"], reader(OFF));
  const { "ipv4/conf/gone0/forwarding": _, ...now } = OFF;
  expect(restoreForwarding(before, reader(now))).toEqual([
    ["ipv4/ip_forward", "0"],
    ["ipv4/conf/tun0/forwarding", "1"],
    ["ipv4/conf/all/accept_redirects", "0"],
  ]);
});

test.each([
  ["a bridge of containers", { name: "docker0", isVirtual: true, hasAddress: true }, "docker0"],
  ["a network card", { name: "eth1", isVirtual: false, hasAddress: true }, undefined],
  ["a bridge's port", { name: "veth1", isVirtual: true, hasAddress: false }, undefined],
  ["what was there", { name: "tun0", isVirtual: true, hasAddress: true }, undefined],
])("forwarding may be needed by what has come meanwhile: %s", (_what, interface_, name) => {
  const before = rememberForwarding(["all", "eth0", "tun0"], reader(OFF));
  expect(needsForwarding(before, [interface_])).toBe(name);
});
