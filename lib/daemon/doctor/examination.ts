/** `limanet doctor`: the facts of each area that is asked for, and what its checks find in them. */
import { AREA_NAMES, type Area } from "../../doctor/area.ts";
import { examineArea, exitCodeOf, type AreaFacts, type AreaFinding } from "../../doctor/areas.ts";
import { hostUser } from "../../host/machine.ts";
import type { Log } from "../../trace/log.ts";
import { dnsFacts } from "./dns-facts.ts";
import { firewallFacts } from "./firewall-facts.ts";
import { homeFacts } from "./home-facts.ts";
import { leftoverFacts } from "./leftover-facts.ts";
import { machineFacts } from "./machine-facts.ts";
import { networkFacts } from "./network-facts.ts";
import { privilegeFacts } from "./privilege-facts.ts";
import { lookAround, type Surroundings } from "./surroundings.ts";

export interface Examination {
  areas: readonly Area[];
  findings: readonly AreaFinding[];
  /** what could not be looked at, and how it can be; sentences */
  unseen: readonly string[];
  exitCode: number;
}

const FACTS: {
  [A in Area]: (surroundings: Surroundings, log: Log) => AreaFacts[A] | Promise<AreaFacts[A]>;
} = {
  machine: machineFacts,
  home: homeFacts,
  network: networkFacts,
  dns: dnsFacts,
  privilege: privilegeFacts,
  firewall: firewallFacts,
  leftovers: leftoverFacts,
};

/** `named`: areas that somebody asks for; none: all, of which some matter only where something uses them */
export async function examineHost(
  home: string,
  named: readonly Area[],
  log: Log,
): Promise<Examination> {
  const areas = named.length === 0 ? AREA_NAMES : named;
  const surroundings = lookAround(home, named.length > 0);
  const unseen: string[] = [];
  const look = async <A extends Area>(area: A, collect: (typeof FACTS)[A]) => {
    const facts = await collect(surroundings, log);
    if (area === "firewall") unseen.push(...unseenRules(facts as AreaFacts["firewall"], home));
    return examineArea(area, facts);
  };
  const findings = (await Promise.all(areas.map((area) => look(area, FACTS[area])))).flat();
  return { areas, findings, unseen, exitCode: exitCodeOf(findings) };
}

function unseenRules(facts: AreaFacts["firewall"], home: string): string[] {
  if (facts.system !== "linux" || facts.ruleset !== undefined || facts.networks.length === 0)
    return [];
  if (facts.missingTools.includes("nft") || hostUser().uid === 0) return [];
  return [
    `the host's nftables and iptables rules, which only root gets to know: sudo LIMANET_HOME=${home} limanet doctor firewall`,
  ];
}
