/** What a host agent leaves when it is killed: a machine that runs on, forwards to it, sockets nobody serves. */
import { derivedMac } from "../config/mac-address.ts";
import { instancePaths, networkPaths } from "../config/paths.ts";
import { listFolder, listFolders, remove } from "../host/files.ts";
import { machineId, sha256 } from "../host/machine.ts";
import { isServed, requestUnixHttp } from "../host/unix-http.ts";
import type { Forward } from "./network/engine-protocol.ts";
import { endSshMaster } from "./guest-access.ts";
import { endLeftMachine } from "./qemu-machine.ts";

/**
 * Ends and removes it all; does nothing for an instance that was ended in order. The caller holds the host agent's pid
 * file, so that nobody starts the instance meanwhile.
 */
export async function endLeftovers(home: string, name: string): Promise<void> {
  const paths = instancePaths(home, name);
  await endSshMaster(paths);
  await endLeftMachine(paths);
  await removeForwards(home, derivedMac(sha256, machineId(), paths.dir));
  for (const file of listFolder(paths.dir)) {
    const path = `${paths.dir}/${file}`;
    if (/\.(pid|sock|tmp)$/.test(file) && path !== paths.hostAgentPid) remove(path);
  }
}

/** A user-v2 network's daemon would go on forwarding to a machine that is gone. */
async function removeForwards(home: string, mac: string): Promise<void> {
  for (const network of listFolders(`${home}/_networks`)) {
    const { endpoint } = networkPaths(home, network);
    if (!(await isServed(endpoint))) continue;
    try {
      const ask = async (route: string) =>
        JSON.parse((await requestUnixHttp(endpoint, "GET", route)).body) as unknown;
      const leases = (await ask("/leases")) as Record<string, string>;
      for (const { local, remote, protocol } of (await ask(
        "/services/forwarder/all",
      )) as Forward[]) {
        if (leases[remote.slice(0, remote.lastIndexOf(":"))] !== mac) continue;
        const route = "/services/forwarder/unexpose";
        await requestUnixHttp(endpoint, "POST", route, { local, protocol });
      }
    } catch {
      // a daemon that ends meanwhile takes its forwards along
    }
  }
}
