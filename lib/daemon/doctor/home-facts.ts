/** Facts for `limanet doctor`: paths, owners and contents below the home folder. */
import { dirname } from "node:path";
import { instancePaths, longestSocket, networkPaths } from "../../config/paths.ts";
import type { HomeFacts } from "../../doctor/home.ts";
import { hostFiles } from "../../host/file-tree.ts";
import { exists, isWritable } from "../../host/files.ts";
import { hostPlatform, hostUser, userName } from "../../host/machine.ts";
import { isManaged, socketOf } from "../../privilege/commands.ts";
import { placeOf } from "../vmnet-place.ts";
import type { Surroundings } from "./surroundings.ts";

export function homeFacts({ home, networks, instances, unreadable }: Surroundings): HomeFacts {
  const sockets: HomeFacts["sockets"] = [
    { of: "x", path: longestSocket(instancePaths(home, "x")), kind: "any" },
    ...instances.map(({ name, paths }) => ({
      of: name,
      path: longestSocket(paths),
      kind: "instance" as const,
    })),
    ...Object.entries(networks?.networks ?? {}).map(([name, network]) => ({
      of: name,
      path: isManaged(network)
        ? socketOf(placeOf(home, networks!, name), name)
        : networkPaths(home, name).descriptor,
      kind: "network" as const,
    })),
  ];
  const files = [
    ...["", "/_config", "/_config/networks.yaml", "/_config/user", "/_networks"].map(
      (name) => `${home}${name}`,
    ),
    ...instances.flatMap(({ paths }) => [paths.dir, paths.config, paths.disk, paths.limaDisk]),
  ];
  const foreign = files
    .filter((path) => exists(path) && !isWritable(path))
    .map((path) => ({ path, owner: ownerOf(path) }));
  let parent = home;
  while (!exists(parent)) parent = dirname(parent);
  return {
    system: hostPlatform(),
    ...(parent === home || isWritable(parent)
      ? {}
      : { unmakeableIn: { path: parent, owner: ownerOf(parent) } }),
    home,
    user: hostUser().name,
    sockets,
    // what is said of a folder holds for what is in it
    foreign: foreign.filter(
      ({ path }) => !foreign.some((other) => path.startsWith(`${other.path}/`)),
    ),
    unreadable,
  };
}

const ownerOf = (path: string): string => userName(hostFiles.lstat(path)?.uid ?? 0);
