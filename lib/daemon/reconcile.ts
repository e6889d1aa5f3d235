/** Which networks' daemons run: those that a running instance needs (specification, sections 7 and 8.2). */
import { cidrOf, formatCidr, parseIpv4, prefixOfNetmask } from "../addr/ipv4.ts";
import {
  networkProblem,
  type NetworkConfig,
  type NetworksConfig,
  type NetworksDns,
} from "../config/networks.ts";
import { formatHostAccess } from "../config/host-access.ts";
import { networkPaths, type NetworkPaths } from "../config/paths.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import {
  exists,
  isSocket,
  lastLines,
  listFolder,
  listFolders,
  makeFolder,
  remove,
} from "../host/files.ts";
import { lockHolder, withLock } from "../host/lock.ts";
import { hostPlatform } from "../host/machine.ts";
import { selfCommand, signalProcess, startProcess } from "../host/process.ts";
import { isServed, requestUnixHttp } from "../host/unix-http.ts";
import { loadNetworks } from "../instance/settings.ts";
import { inspectInstance, instanceNames } from "../instance/store.ts";
import { isManaged } from "../privilege/commands.ts";
import { SILENT, type Log } from "../trace/log.ts";
import { takeOverLimaLeases, writeLimaLeases } from "./lease-files.ts";
import { startManagedNetwork, stopUnusedManagedNetworks } from "./managed-network.ts";

type Warn = (sentence: string) => void;

const START_LIMIT_MS = 15_000;
/** how long a daemon may take to answer */
const ANSWER_LIMIT_MS = 2000;
const STOP_LIMIT_MS = 5000;
const STEP_MS = 20;

/** the network of that name; throws why an instance cannot be attached to it */
export function usableNetwork(networks: NetworksConfig, name: string): NetworkConfig {
  const network = Object.hasOwn(networks.networks, name) ? networks.networks[name] : undefined;
  if (network === undefined) {
    throw new Error(
      `Cannot attach to the network ${name}: it is not defined (networks.yaml has ${Object.keys(networks.networks).join(", ")})`,
    );
  }
  const problem = networkProblem(name, network);
  if (problem !== undefined)
    throw new Error(`Cannot attach to the network ${name}: ${problem.why} (networks.yaml)`);
  return network;
}

/** the user-v2 network of that name; throws what is wrong with it */
export function userV2Network(
  networks: NetworksConfig,
  name: string,
): NetworkConfig & { subnet: string } {
  const network = usableNetwork(networks, name);
  if (isManaged(network)) {
    throw new Error(
      `Cannot use the network ${name} as a user-mode network: its mode is ${network.mode}`,
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

/** `limanet usernet`'s options for what networks.yaml says of DNS */
function dnsFlags({ ipv6, publicFallback, emptyOnOutage }: NetworksDns): string[] {
  return [
    ...(ipv6 === true ? ["--dns-ipv6"] : []),
    ...(publicFallback === false ? ["--no-public-dns"] : []),
    ...(emptyOnOutage === true ? ["--dns-empty-on-outage"] : []),
  ];
}

/** Starts the daemon of a network unless it runs, and waits until it takes guests. */
export async function startNetwork(
  home: string,
  name: string,
  networks: NetworksConfig,
  warn: Warn = () => {},
  log: Log = SILENT,
): Promise<void> {
  if (isManaged(usableNetwork(networks, name)))
    return startManagedNetwork(home, name, networks, log);
  const { subnet, mtu, hostAccess, linkLocalAccess } = userV2Network(networks, name);
  const paths = networkPaths(home, name);
  makeFolder(paths.dir, 0o700);
  await withLock(paths.dir, async (lock) => {
    const limit = monotonicMs() + START_LIMIT_MS;
    // one that runs and does not answer yet was started by somebody who has been killed since
    while (lockHolder(paths.pid) !== 0) {
      if (await answers(paths)) return;
      if (monotonicMs() > limit) throw unanswering(name, lockHolder(paths.pid));
      await sleep(STEP_MS);
    }
    if (await isServedByLima(name, paths)) {
      if (hostAccess === undefined || hostAccess === "all") return;
      throw new Error(
        `Cannot start the network ${name}: Lima's own daemon serves it, which lets guests reach every port of this computer's loopback, and its hostAccess in networks.yaml says otherwise (stop Lima's instances on it first)`,
      );
    }
    await removeLeftovers(paths);
    takeOverLimaLeases(paths, warn);
    const command = [
      ...selfCommand(),
      "usernet",
      `--pidfile=${paths.pid}`,
      `--endpoint=${paths.endpoint}`,
      `--listen-qemu=${paths.qemu}`,
      ...(hostPlatform() === "linux" ? [`--listen-vhost-user=${paths.vhostUser}`] : []),
      `--listen=${paths.descriptor}`,
      `--subnet=${subnet}`,
      ...dnsFlags(networks.dns ?? {}),
      `--mtu=${mtu ?? 1500}`,
      `--host-access=${formatHostAccess(hostAccess ?? "all")}`,
      ...(linkLocalAccess === true ? ["--link-local-access"] : []),
      `--lease-file=${paths.ownLeases}`,
      "--handed-lock",
    ];
    const files = { stdout: paths.stdout, stderr: paths.stderr };
    const daemon = startProcess(command, files, true, lock);
    let code: number | string | undefined;
    void daemon.exited.then((result) => {
      code = result;
    });
    while (!(exists(paths.endpoint) && (await answers(paths)))) {
      if (code !== undefined || monotonicMs() > limit) {
        daemon.kill("SIGKILL");
        await daemon.exited;
        await removeLeftovers(paths);
        throw new Error(
          `Cannot start the network ${name}: ${failure(code, paths)} (its log is ${paths.stderr})`,
        );
      }
      await sleep(STEP_MS);
    }
  });
}

/** A process that is being killed holds its lock and its sockets for a moment more, but it answers nothing. */
const answers = async ({ endpoint }: NetworkPaths): Promise<boolean> =>
  (await leasesInForce(endpoint)) !== undefined;

/** the daemon's table of leases as JSON; undefined when it does not answer */
async function leasesInForce(endpoint: string): Promise<string | undefined> {
  const limit = AbortSignal.timeout(ANSWER_LIMIT_MS);
  const answer = await requestUnixHttp(endpoint, "GET", "/leases", undefined, limit).catch(
    () => undefined,
  );
  return answer?.status === 200 ? answer.body : undefined;
}

/** `code`: how a daemon ended that did not come up; undefined: it did not end either */
function failure(code: number | string | undefined, paths: NetworkPaths): string {
  if (code === undefined) return `its daemon does not answer within ${START_LIMIT_MS / 1000} s`;
  const said = typeof code === "number" ? lastLines(paths.stderr, 1) : "";
  return said === "" ? `its daemon ended with ${code}` : said;
}

const unanswering = (name: string, pid: number): Error =>
  new Error(
    `Cannot use the network ${name}: its daemon runs as process ${pid} and does not answer (end it: kill -9 ${pid})`,
  );

/**
 * Lima's own daemon holds no lock of ours, but serves the same sockets and the same API, so its network is as good as
 * ours. It is Lima's to end, and its files are never touched.
 */
async function isServedByLima(name: string, paths: NetworkPaths): Promise<boolean> {
  if (!(await isServed(paths.endpoint))) return false;
  if ((await answers(paths)) && (await isServed(paths.qemu))) return true;
  throw new Error(
    `Cannot use the network ${name}: another program serves ${paths.endpoint} and takes no guests of QEMU on ${paths.qemu} (end that program first)`,
  );
}

/** What a daemon leaves that was killed: the caller has the lock, and no daemon of ours runs. */
async function removeLeftovers(paths: NetworkPaths): Promise<void> {
  for (const file of listFolder(paths.dir)) {
    const path = `${paths.dir}/${file}`;
    if (/\.(pid|tmp)$/.test(file)) remove(path);
    // a file that is no socket is somebody's, and the daemon says so
    if (file.endsWith(".sock") && isSocket(path) && !(await isServed(path))) remove(path);
  }
}

/** Stops the daemon of a network and keeps its leases as Lima does; not when `isUsed` says so once nobody can start it. */
export async function stopNetwork(
  home: string,
  name: string,
  isUsed: () => boolean = () => false,
  warn: Warn = () => {},
): Promise<void> {
  const paths = networkPaths(home, name);
  if (!exists(paths.dir)) return;
  await withLock(paths.dir, async () => {
    if (!isUsed()) await endDaemon(name, paths, warn);
  });
}

/** Stops the daemon of a network and forgets everything about it. */
export async function removeNetwork(home: string, name: string): Promise<void> {
  const paths = networkPaths(home, name);
  if (!exists(paths.dir)) return;
  await withLock(paths.dir, async () => {
    await endDaemon(name, paths, () => {});
    remove(paths.dir);
  });
}

async function endDaemon(name: string, paths: NetworkPaths, warn: Warn): Promise<void> {
  const pid = lockHolder(paths.pid);
  if (pid !== 0) {
    try {
      // one that does not answer is ended all the same; its own lease file is up to date
      writeLimaLeases(paths, (await leasesInForce(paths.endpoint)) ?? "{}");
    } catch (error) {
      warn(`Cannot keep the leases of ${name} for Lima: ${(error as Error).message}`);
    }
    signalProcess(pid, "SIGINT");
    const limit = monotonicMs() + STOP_LIMIT_MS;
    while (lockHolder(paths.pid) !== 0) {
      if (monotonicMs() > limit) signalProcess(pid, "SIGKILL");
      await sleep(STEP_MS);
    }
  }
  // Lima's own daemon is left alone
  if (!(await isServed(paths.endpoint))) await removeLeftovers(paths);
}

/** names of the networks of networks.yaml that an instance is attached to */
export function networksOf(networks: readonly { lima?: string }[]): string[] {
  return [...new Set(networks.flatMap(({ lima }) => (lima === undefined ? [] : [lima])))];
}

export interface ReconcileOptions {
  /** counts as running: it is about to */
  starting?: string;
  /** counts as not running any more */
  ending?: string;
  warn: Warn;
  /** is told what root is asked to do */
  log?: Log;
}

/**
 * Starts the daemons of all networks that running instances are attached to, and stops all others, also those that
 * networks.yaml does not have any more. Each network is seen to; then the first failure is thrown.
 */
export async function reconcile(home: string, options: ReconcileOptions): Promise<void> {
  const { warn, log = SILENT } = options;
  const networks = loadNetworks(home);
  const used = networksInUse(home, options);
  const failures: Error[] = [];
  const attempt = async (work: Promise<void>) =>
    work.catch((error: Error) => void failures.push(error));
  for (const name of used.networks) {
    if (Object.hasOwn(networks.networks, name))
      await attempt(startNetwork(home, name, networks, warn, log));
    else warn(`The network ${name} of a running instance is not defined in networks.yaml`);
  }
  // looked at once more under the network's lock: an instance may have begun to use it
  const isUsed = (name: string) => {
    const now = networksInUse(home, { ...options, warn: () => {} });
    return !now.isComplete || now.networks.has(name);
  };
  // beside them lie the files of networks that are not user-v2
  for (const name of listFolders(`${home}/_networks`))
    if (!used.networks.has(name)) await attempt(stopNetwork(home, name, () => isUsed(name), warn));
  await attempt(stopUnusedManagedNetworks(home, networks, isUsed, log));
  if (failures[0] !== undefined) throw failures[0];
}

/** `isComplete`: all instances could be read; one that could not may use any network, so none is stopped then. */
function networksInUse(
  home: string,
  { starting, ending, warn }: ReconcileOptions,
): { networks: Set<string>; isComplete: boolean } {
  const networks = new Set<string>();
  let isComplete = true;
  for (const name of instanceNames(home)) {
    if (name === ending) continue;
    try {
      const { status, config } = inspectInstance(home, name);
      if (config === undefined) throw new Error("its lima.yaml is not right");
      if (status === "Running" || name === starting)
        for (const network of networksOf(config.networks)) networks.add(network);
    } catch (error) {
      isComplete = false;
      warn(
        `Networks that nobody uses are left running, since ${name} may use them: ${(error as Error).message}`,
      );
    }
  }
  return { networks, isComplete };
}
