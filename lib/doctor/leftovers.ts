/** What killed daemons have left. All of it goes with the next start; until then it may be in somebody's way. */
import type { Check } from "./finding.ts";

export interface LeftoverFacts {
  /** networks whose journal in the daemons' folder has no daemon; undefined for those who may not look */
  journals: readonly string[] | undefined;
  /** bridges of limanet's to which no daemon's TAP device belongs: the device goes with its process, the bridge does not */
  bridges: readonly string[];
  /** instances whose machine runs on without its host agent */
  machines: readonly string[];
}

export const leftoverChecks: readonly Check<LeftoverFacts>[] = [
  {
    id: "network-left",
    severity: "fault",
    find: ({ journals, bridges }) =>
      [...new Set([...(journals ?? []), ...bridges])].toSorted().map((name) => ({
        problem: `The host still has the bridge, addresses and rules of ${name}, whose daemon was killed`,
        fix:
          journals === undefined || journals.includes(name)
            ? ["sudo limanet vmnet --cleanup (the network's next start does it, too)"]
            : // nothing tells what else belonged to it
              [`sudo ip link del ${name}`],
      })),
  },
  {
    id: "machine-left",
    severity: "fault",
    find: ({ machines }) =>
      machines.map((name) => ({
        problem: `The machine of the instance ${name} runs on without its host agent, which was killed`,
        fix: [`limanet stop ${name} (limanet start ${name} does it, too)`],
      })),
  },
];
