/** What a host agent leaves when it is killed: a machine that runs on, sockets nobody serves. */
import { instancePaths, networkPaths } from "../config/paths.ts";
import { sleep } from "../host/clock.ts";
import { exists, readTextIfThere, remove } from "../host/files.ts";
import { connectQmp } from "../host/qmp-client.ts";
import { requestUnixHttp } from "../host/unix-http.ts";
import { inspectInstance } from "../instance/store.ts";
import { networksOf } from "./reconcile.ts";

const STEP_MS = 50;
const STEPS = 100;

/** Ends and removes it all; does nothing for an instance that was ended in order. */
export async function endLeftovers(home: string, name: string): Promise<void> {
  const paths = instancePaths(home, name);
  if (exists(paths.qmp)) {
    const qmp = await connectQmp(paths.qmp, () => {}).catch(() => undefined);
    if (qmp !== undefined) {
      // QEMU ends before it answers
      await qmp.execute("quit").catch(() => {});
      for (let step = 0; step < STEPS && exists(paths.qemuPid); step++) await sleep(STEP_MS);
    }
    await unexposeSsh(home, name);
  }
  const sockets = [
    paths.endpoint,
    paths.guestSocket,
    paths.descriptorSocket,
    paths.dnsSocket,
    paths.hostAgentSocket,
  ];
  for (const path of [...sockets, paths.qmp, paths.qemuPid, paths.sshControl]) remove(path);
}

/** A user-v2 network's daemon would go on forwarding to a machine that is gone. */
async function unexposeSsh(home: string, name: string): Promise<void> {
  const { config, paths } = inspectInstance(home, name);
  const port = /^\s*Port (\d+)$/m.exec(readTextIfThere(paths.sshConfig) ?? "")?.[1] ?? "0";
  for (const network of networksOf(config?.networks ?? [])) {
    const local = `127.0.0.1:${port}`;
    const { endpoint } = networkPaths(home, network);
    // the daemon may be gone as well
    await requestUnixHttp(endpoint, "POST", "/services/forwarder/unexpose", {
      local,
      protocol: "tcp",
    }).catch(() => {});
  }
}
