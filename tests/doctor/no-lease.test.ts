/** What a start says when its guest gets no address on a network of root's. */
import { expect, test } from "bun:test";
import type { Finding } from "../../lib/doctor/finding.ts";
import { noLease } from "../../lib/doctor/no-lease.ts";

const FINDING: Finding = {
  id: "forward-blocked",
  severity: "fault",
  problem: "The network bridged does not carry guests' DHCP: Docker drops them",
  fix: ["first", "second"],
};

test.each([
  [
    "macOS: the two commands of Lima's documentation, whatever the firewall says of itself",
    "darwin",
    [],
    "The guest has got no address on shared within 15 s: macOS' firewall may block bootpd, its DHCP server (sudo /usr/libexec/ApplicationFirewall/socketfilterfw --add /usr/libexec/bootpd && sudo /usr/libexec/ApplicationFirewall/socketfilterfw --unblock /usr/libexec/bootpd)",
  ],
  [
    "Linux: what blocks, with its fixes",
    "linux",
    [FINDING],
    "The guest has got no address on shared within 15 s: The network bridged does not carry guests' DHCP: Docker drops them (first; second)",
  ],
  [
    "Linux: nothing that blocks is known",
    "linux",
    [],
    "The guest has got no address on shared within 15 s: its system may not ask for one on this card (sudo limanet doctor firewall looks at what this host blocks)",
  ],
] as const)("%s", (_, system, blocking, sentence) => {
  expect(noLease("shared", 15, system, blocking)).toBe(sentence);
});
