/** Follows `hostResolver.hosts` of a running instance's lima.yaml: a change counts without a restart. */
import { instancePaths } from "../config/paths.ts";
import { sleep } from "../host/clock.ts";
import { readTextIfThere } from "../host/files.ts";
import { loadConfig } from "../instance/store.ts";
import type { HostTable } from "../service/dns/static-hosts.ts";
import type { Log } from "../trace/log.ts";

const LOOK_EVERY_MS = 1000;

/** Looks until the signal comes; `known` is what the network has already. */
export async function followHosts(
  home: string,
  name: string,
  known: HostTable,
  setHosts: (hosts: HostTable) => Promise<void>,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const { config: path } = instancePaths(home, name);
  let text: string | undefined;
  let set = JSON.stringify(known);
  while (!signal.aborted) {
    try {
      const now = readTextIfThere(path);
      if (now !== text) {
        text = now;
        const { hosts } = loadConfig(home, name).hostResolver;
        if (JSON.stringify(hosts) !== set) {
          await setHosts(hosts);
          set = JSON.stringify(hosts);
          log.info?.(`static hosts changed names=${Object.keys(hosts).length}`);
        }
      }
    } catch (error) {
      // half of a change, or a wrong one: the names are as they were until it is right
      log.warn((error as Error).message);
    }
    await sleep(LOOK_EVERY_MS, signal);
  }
}
