/** Which networks' daemons run: those that a running instance needs (specification, sections 7 and 8.2). */
import { cidrOf, formatCidr, parseIpv4, prefixOfNetmask } from "../addr/ipv4.ts";
import type { NetworkConfig, NetworksConfig } from "../config/networks.ts";
import { networkPaths } from "../config/paths.ts";
import { sleep } from "../host/clock.ts";
import { exists, lastLines, listFolder, makeFolder, writeFileAtomically } from "../host/files.ts";
import { lockHolder, withLock } from "../host/lock.ts";
import { monotonicMs } from "../host/clock.ts";
import { selfCommand, signalProcess, startProcess } from "../host/process.ts";
import { isServed, requestUnixHttp } from "../host/unix-http.ts";
import { inspectInstance, instanceNames } from "../instance/store.ts";

const START_LIMIT_MS = 15_000;
const STOP_LIMIT_MS = 5000;
const STEP_MS = 20;

/** the user-v2 network of that name; throws what is wrong with it */
export function userV2Network(
  networks: NetworksConfig,
  name: string,
): NetworkConfig & { subnet: string } {
  const network = networks.networks[name];
  if (network === undefined) {
    throw new Error(
      `Cannot attach to the network ${name}: it is not defined (networks.yaml has ${Object.keys(networks.networks).join(", ")})`,
    );
  }
  if (network.mode !== "user-v2") {
    throw new Error(
      `Cannot attach to the network ${name}: its mode ${network.mode} is not built yet (use a network of mode user-v2)`,
    );
  }
  const gateway = parseIpv4(network.gateway ?? "");
  const prefix = prefixOfNetmask(parseIpv4(network.netmask ?? "255.255.255.0") ?? 0);
  if (gateway === undefined || prefix === undefined) {
    throw new Error(
      `Cannot attach to the network ${name}: gateway and netmask in networks.yaml do not make a subnet`,
    );
  }
  return { ...network, subnet: formatCidr(cidrOf(gateway, prefix)) };
}

/** Starts the daemon of a user-v2 network unless it runs, and waits until it takes guests. */
export async function startNetwork(
  home: string,
  name: string,
  networks: NetworksConfig,
): Promise<void> {
  const { subnet, mtu } = userV2Network(networks, name);
  const paths = networkPaths(home, name);
  makeFolder(paths.dir);
  await withLock(paths.dir, async () => {
    if (lockHolder(paths.pid) !== 0 && (await isServed(paths.endpoint))) return;
    const command = [
      ...selfCommand(),
      "usernet",
      `--pidfile=${paths.pid}`,
      `--endpoint=${paths.endpoint}`,
      `--listen-qemu=${paths.qemu}`,
      `--listen=${paths.descriptor}`,
      `--subnet=${subnet}`,
      `--mtu=${mtu ?? 1500}`,
      `--lease-file=${paths.ownLeases}`,
    ];
    const daemon = startProcess(command, { stdout: paths.stdout, stderr: paths.stderr }, true);
    let code: number | string | undefined;
    void daemon.exited.then((result) => {
      code = result;
    });
    const limit = monotonicMs() + START_LIMIT_MS;
    while (!(exists(paths.endpoint) && (await isServed(paths.endpoint)))) {
      if (code !== undefined || monotonicMs() > limit) {
        daemon.kill("SIGKILL");
        throw new Error(
          `Cannot start the network ${name}: ${lastLines(paths.stderr, 1) || `its daemon ended with ${code}`} (its log is ${paths.stderr})`,
        );
      }
      await sleep(STEP_MS);
    }
  });
}

/** Stops the daemon of a network and keeps its leases as Lima does; not when `isUsed` says so once nobody can start it. */
export async function stopNetwork(
  home: string,
  name: string,
  isUsed: () => boolean = () => false,
): Promise<void> {
  const paths = networkPaths(home, name);
  if (lockHolder(paths.pid) === 0) return;
  await withLock(paths.dir, async () => {
    const pid = lockHolder(paths.pid);
    if (pid === 0 || isUsed()) return;
    try {
      const { status, body } = await requestUnixHttp(paths.endpoint, "GET", "/leases");
      if (status === 200) writeFileAtomically(paths.leases, `${body.trim()}\n`);
    } catch {
      // a daemon that does not answer is ended all the same; its own lease file is up to date
    }
    signalProcess(pid, "SIGINT");
    const limit = monotonicMs() + STOP_LIMIT_MS;
    while (lockHolder(paths.pid) !== 0) {
      if (monotonicMs() > limit) signalProcess(pid, "SIGKILL");
      await sleep(STEP_MS);
    }
  });
}

/** names of the user-v2 networks an instance is attached to */
export function networksOf(networks: readonly { lima?: string }[]): string[] {
  return [...new Set(networks.flatMap(({ lima }) => (lima === undefined ? [] : [lima])))];
}

/** Stops every network that no running instance uses; `ending` counts as not running any more. */
export async function stopUnusedNetworks(home: string, ending?: string): Promise<void> {
  for (const name of listFolder(`${home}/_networks`)) {
    await stopNetwork(home, name, () => isUsedByAny(home, name, ending));
  }
}

function isUsedByAny(home: string, network: string, ending: string | undefined): boolean {
  return instanceNames(home).some((name) => {
    if (name === ending) return false;
    const { status, config } = inspectInstance(home, name);
    // an instance whose configuration cannot be read may use any network
    return (
      status === "Broken" ||
      (status === "Running" && networksOf(config?.networks ?? []).includes(network))
    );
  });
}
