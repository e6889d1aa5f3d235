/** What several areas of `limanet doctor` need to know of the home folder; nothing is written, and nothing throws. */
import { formatDiagnostic } from "../../config/document.ts";
import type { NetworksConfig } from "../../config/networks.ts";
import { fileKind, readTextIfThere } from "../../host/files.ts";
import { readNetworks, readSettings } from "../../instance/settings.ts";
import { inspectInstance, instanceNames, type Instance } from "../../instance/store.ts";
import { isManaged, managedNames } from "../../privilege/commands.ts";
import { networksOf } from "../reconcile.ts";
import { isInstalled } from "../sudo-access.ts";
import { networksFile } from "../../config/paths.ts";

export interface Surroundings {
  home: string;
  /** undefined when networks.yaml cannot be used */
  networks: NetworksConfig | undefined;
  instances: readonly Instance[];
  /** files that cannot be used, and why */
  unreadable: readonly { file: string; why: string }[];
  /** shared, host and bridged networks that matter here: those of instances, else all if anybody can use them */
  managed: readonly string[];
}

/** `isNamed`: somebody wants to know about shared, host and bridged networks although nothing here uses them yet */
export function lookAround(home: string, isNamed: boolean): Surroundings {
  const unreadable: { file: string; why: string }[] = [];
  const orNothing = <T>(file: string, look: () => T): T | undefined => {
    try {
      return look();
    } catch (error) {
      unreadable.push({ file, why: (error as Error).message });
      return undefined;
    }
  };
  const file = networksFile(home);
  const networks = orNothing(file, () => readNetworks(home));
  const instances = instanceNames(home).flatMap((name) => {
    const config = `${home}/${name}/lima.yaml`;
    return (
      orNothing(config, () => {
        const instance = inspectInstance(home, name);
        const outside =
          networks === undefined ? {} : { networks: Object.keys(networks.networks), fileKind };
        const read = readSettings(home, readTextIfThere(config) ?? "", config, outside);
        if (read.config === undefined)
          unreadable.push({ file: config, why: read.diagnostics.map(formatDiagnostic).join("; ") });
        return instance;
      }) ?? []
    );
  });
  return { home, networks, instances, unreadable, managed: relevant(networks, instances, isNamed) };
}

function relevant(
  networks: NetworksConfig | undefined,
  instances: readonly Instance[],
  isNamed: boolean,
): string[] {
  if (networks === undefined) return [];
  const used = [
    ...new Set(instances.flatMap(({ config }) => networksOf(config?.networks ?? []))),
  ].filter((name) => {
    const network = networks.networks[name];
    return network !== undefined && isManaged(network);
  });
  if (used.length > 0) return used.toSorted();
  return isNamed || isInstalled(networks) ? managedNames(networks) : [];
}
