/**
 * Where the daemon of a shared, host or bridged network has its socket and pid file. Mostly that is root's folder of
 * networks.yaml, and sudo starts the daemon there (specification, section 6). Where an ordinary user may make networks
 * (macOS 26 and later; CAP_NET_ADMIN on Linux), limanet's own daemon runs as this user, and its files are in the home folder.
 */
import type { NetworksConfig } from "../config/networks.ts";
import { exists } from "../host/files.ts";
import { pidFileOf } from "../privilege/commands.ts";

/** The networks with the folder of a user who makes them himself. */
export const ownPlace = (home: string, networks: NetworksConfig): NetworksConfig => ({
  ...networks,
  paths: { ...networks.paths, varRun: `${home}/_networks` },
});

/** The networks with the folder in which the daemon of this one runs, or else would be started by root. */
export function placeOf(home: string, networks: NetworksConfig, name: string): NetworksConfig {
  const own = ownPlace(home, networks);
  return exists(pidFileOf(own, name)) ? own : networks;
}
