/** The rules of specification 3.4 in their order, on each kind of network. */
import { expect, test } from "bun:test";
import { guestNameServers, type DnsFacts } from "../../lib/guest/dns-servers.ts";

const DEFAULT: DnsFacts = {
  configured: [],
  onUsernet: false,
  hostResolver: true,
  gateway: "192.168.5.2",
  networkDns: "192.168.5.3",
  hostDns: [],
};
const USER_V2: DnsFacts = {
  ...DEFAULT,
  onUsernet: true,
  gateway: "192.168.104.2",
  networkDns: "192.168.104.2",
};
const off = { hostResolver: false };
const mac = { hostDns: ["203.0.113.53", "203.0.113.54"] };
const ROWS: [what: string, facts: DnsFacts, expected: string[]][] = [
  ["1: dns as it is written", { ...DEFAULT, ...off, configured: ["203.0.113.1"] }, ["203.0.113.1"]],
  [
    "1: also on user-v2",
    { ...USER_V2, configured: ["203.0.113.1", "203.0.113.2"] },
    ["203.0.113.1", "203.0.113.2"],
  ],
  ["2: the router of user-v2", USER_V2, ["192.168.104.2"]],
  ["2: whatever hostResolver says", { ...USER_V2, ...off, ...mac }, ["192.168.104.2"]],
  [
    "2: the router where vz carries the default network",
    { ...DEFAULT, onUsernet: true },
    ["192.168.5.2"],
  ],
  ["3: the DNS address of the default network", DEFAULT, ["192.168.5.3"]],
  ["3: before the host's own", { ...DEFAULT, ...mac }, ["192.168.5.3"]],
  ["4: the host's own, on macOS", { ...DEFAULT, ...off, ...mac }, ["203.0.113.53", "203.0.113.54"]],
  ["4: none elsewhere: DHCP decides", { ...DEFAULT, ...off }, []],
];
test.each(ROWS)("%s", (_what, facts, expected) => {
  expect(guestNameServers(facts)).toEqual(expected);
});
