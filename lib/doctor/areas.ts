/** All checks of `limanet doctor`, by area. */
import { AREA_EXIT_CODES, AREA_NAMES, type Area } from "./area.ts";
import { dnsChecks, type DnsFacts } from "./dns.ts";
import { examine, type Check, type Finding } from "./finding.ts";
import { firewallChecks, type FirewallFacts } from "./firewall.ts";
import { homeChecks, type HomeFacts } from "./home.ts";
import { leftoverChecks, type LeftoverFacts } from "./leftovers.ts";
import { machineChecks, type MachineFacts } from "./machine.ts";
import { networkChecks, type NetworkFacts } from "./network.ts";
import { privilegeChecks, type PrivilegeFacts } from "./privilege.ts";

export interface AreaFacts extends Record<Area, unknown> {
  machine: MachineFacts;
  home: HomeFacts;
  network: NetworkFacts;
  dns: DnsFacts;
  privilege: PrivilegeFacts;
  firewall: FirewallFacts;
  leftovers: LeftoverFacts;
}

export const CHECKS: { [A in Area]: readonly Check<AreaFacts[A]>[] } = {
  machine: machineChecks,
  home: homeChecks,
  network: networkChecks,
  dns: dnsChecks,
  privilege: privilegeChecks,
  firewall: firewallChecks,
  leftovers: leftoverChecks,
};

export interface AreaFinding extends Finding {
  area: Area;
}

export const examineArea = <A extends Area>(area: A, facts: AreaFacts[A]): AreaFinding[] =>
  examine(CHECKS[area], facts).map((finding) => ({ area, ...finding }));

export function exitCodeOf(findings: readonly AreaFinding[]): number {
  const faulty = AREA_NAMES.find((area) =>
    findings.some((finding) => finding.area === area && finding.severity === "fault"),
  );
  return faulty === undefined ? 0 : AREA_EXIT_CODES[faulty];
}
