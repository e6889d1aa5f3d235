/** Facts for `limanet doctor`: what nobody holds a lock on any more. */
import type { LeftoverFacts } from "../../doctor/leftovers.ts";
import { exists, isWritable, listFolder, readTextIfThere } from "../../host/files.ts";
import { isLocked, lockHolder } from "../../host/lock.ts";
import { hostPlatform } from "../../host/machine.ts";
import { networkNamespace, settingInterfaces } from "../../host/network-tools.ts";
import { isOurs } from "../../instance/store.ts";
import { STATE_FOLDER } from "../vmnet/host-network.ts";
import type { Surroundings } from "./surroundings.ts";

export function leftoverFacts({ instances }: Surroundings): LeftoverFacts {
  const machines = instances
    .filter(
      ({ paths, hostAgent }) => isOurs(paths) && hostAgent === 0 && isLocked(paths.machineLock),
    )
    .map(({ name }) => name);
  if (hostPlatform() === "darwin") return { journals: [], bridges: [], machines };
  const interfaces = settingInterfaces();
  const bridges = interfaces.filter(
    (name) => name.startsWith("lm-") && !interfaces.includes(name.replace("lm-", "lt-")),
  );
  return { journals: abandonedJournals(), bridges, machines };
}

/** journals of this network namespace whose daemon is gone */
function abandonedJournals(): string[] | undefined {
  // root's alone
  if (exists(STATE_FOLDER) && !isWritable(STATE_FOLDER)) return undefined;
  return listFolder(STATE_FOLDER).flatMap((file) => {
    const path = `${STATE_FOLDER}/${file}`;
    if (!file.endsWith(".json") || lockHolder(path.replace(/json$/, "pid")) !== 0) return [];
    const { namespace } = JSON.parse(readTextIfThere(path) ?? "{}") as { namespace?: string };
    return namespace === networkNamespace() ? file.slice(0, -".json".length) : [];
  });
}
