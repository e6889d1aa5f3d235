import type { Target } from "./dice.ts";
import { DescriptorTarget } from "./descriptor-target.ts";
import { linkTargets } from "./link-targets.ts";
import { NetworkTarget } from "./network-target.ts";
import { serviceTargets } from "./service-targets.ts";
import { StreamTarget } from "./stream-target.ts";
import { ControlApiTarget, YAML_TARGETS } from "./text-targets.ts";
import { WIRE_TARGETS } from "./wire-targets.ts";

/** all that is fuzzed in this process, or in one that is ours alone */
export const targets = (): Target[] => [
  ...WIRE_TARGETS,
  ...YAML_TARGETS,
  ...linkTargets(),
  ...serviceTargets(),
  new StreamTarget(),
  new DescriptorTarget(),
  new NetworkTarget(),
  new ControlApiTarget(),
];
