import { expect, test } from "bun:test";
import { rememberForwarding, restoreForwarding } from "../../lib/vmnet/forwarding.ts";

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
