/**
 * Networks of mode shared, host and bridged: a daemon serves each. First this user starts it, and where that is not
 * permitted root does, who starts and stops it through sudo with exactly the commands of the sudoers file (specification,
 * sections 6 and 7). Whether it is permitted is asked by starting: no version tells it.
 *
 * limanet ends the daemons that it has started itself and no others: the same network may be in use by Lima, or by
 * another home folder.
 */
import type { NetworksConfig } from "../config/networks.ts";
import { managedPaths, networksFile } from "../config/paths.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import { exists, makeFolder, readTextIfThere, remove, writeFileAtomically } from "../host/files.ts";
import { hostAccounts, hostFiles } from "../host/file-tree.ts";
import { withLock } from "../host/lock.ts";
import { hostUser } from "../host/machine.ts";
import { selfCommand, signalProcess } from "../host/process.ts";
import { tryUnixSocket } from "../host/unix-http.ts";
import { platform } from "../instance/settings.ts";
import {
  asRoot,
  groupOf,
  makeFolderCommand,
  managedNames,
  pidFileOf,
  socketOf,
  startCommand,
  startWords,
  stopCommand,
} from "../privilege/commands.ts";
import { unwritableByDaemon } from "../privilege/path-check.ts";
import { START_TIMES, type StartTimes } from "../privilege/daemon-start.ts";
import type { Log } from "../trace/log.ts";
import { managedDaemon } from "./managed-daemon.ts";
import { startDaemon } from "./managed-start.ts";
import { isInstalled, runAsRoot, validateForRoot, verifySudo } from "./sudo-access.ts";
import { ownPlace, placeOf } from "./vmnet-place.ts";

const STOP_LIMIT_MS = 5000;

const cannotUse = (name: string, why: string): Error =>
  new Error(`Cannot attach to the network ${name}: ${why}`);

/** homes whose networks.yaml and sudoers file this process has found in order */
const verified = new Set<string>();

async function verifyOnce(home: string, networks: NetworksConfig, log: Log): Promise<void> {
  if (verified.has(home)) return;
  validateForRoot(home, networks);
  await verifySudo(networks, networks.paths.sudoers, log);
  verified.add(home);
}

/** Starts the daemon of a network unless it runs, and waits until it can be connected to. */
export async function startManagedNetwork(
  home: string,
  name: string,
  networks: NetworksConfig,
  log: Log,
  times: StartTimes = START_TIMES,
): Promise<void> {
  const { folder } = managedPaths(home, name);
  makeFolder(folder);
  if (await withLock(folder, async () => startOwn(home, name, networks, log, times))) return;
  await verifyOnce(home, networks, log);
  if (!isInstalled(networks))
    throw cannotUse(
      name,
      `daemon \`socket_vmnet\` needs to be installed: paths.socketVMNet in ${networksFile(home)} names no program (docs/privileges.md tells which and how)`,
    );
  await withLock(folder, async () => {
    if (await runs(networks, name)) return;
    const facts = platform();
    await noted(home, name, networks, async () =>
      startDaemon(
        home,
        name,
        {
          place: networks,
          command: asRoot(startCommand(networks, name, facts), facts),
          prepare: async () => prepareFolder(networks, log),
          mayBeRefused: false,
        },
        log,
        times,
      ),
    );
  });
  if ((await tryUnixSocket(socketOf(networks, name))) === "denied")
    throw cannotUse(
      name,
      `only members of the group ${groupOf(networks, platform())} may connect to ${socketOf(networks, name)} (join it: on Linux sudo usermod -aG, then log in anew; or name a group of yours in ${networksFile(home)})`,
    );
}

const runs = async (place: NetworksConfig, name: string): Promise<boolean> =>
  (await managedDaemon(place, name)).pid !== 0;

/** Starts it as this user; false: that is not permitted, or root serves it already. */
async function startOwn(
  home: string,
  name: string,
  networks: NetworksConfig,
  log: Log,
  times: StartTimes,
): Promise<boolean> {
  // root's daemons are for all users, and have one place
  if (hostUser().uid === 0 || (await runs(networks, name))) return false;
  const place = ownPlace(home, networks);
  if (await runs(place, name)) return true;
  // one that was killed has left it
  remove(pidFileOf(place, name));
  const isUp = await noted(home, name, place, async () =>
    startDaemon(
      home,
      name,
      {
        place,
        command: [...selfCommand(), "vmnet", ...startWords(place, name, "")],
        mayBeRefused: true,
      },
      log,
      times,
    ),
  );
  if (!isUp) log.info?.(`this user may not make the network ${name}: root is asked`);
  return isUp;
}

/** Keeps note of the daemon that is started: whoever comes after a crash in between knows whose it is. */
async function noted(
  home: string,
  name: string,
  place: NetworksConfig,
  start: () => Promise<boolean>,
): Promise<boolean> {
  const { started } = managedPaths(home, name);
  writeFileAtomically(started, "starting\n");
  const isUp = await start();
  if (isUp) writeFileAtomically(started, `${(await managedDaemon(place, name)).pid}\n`);
  else remove(started);
  return isUp;
}

/** Makes the folder of sockets and pid files, which is gone after each boot of some systems. */
async function prepareFolder(networks: NetworksConfig, log: Log): Promise<void> {
  await runAsRoot(networks, makeFolderCommand(networks), log);
  const facts = platform();
  if (!facts.daemonWritesByGroup) return;
  const problem = unwritableByDaemon(
    networks.paths.varRun,
    hostFiles,
    hostAccounts(facts.rootGroup),
  );
  if (problem !== undefined)
    throw new Error(`Cannot start shared, host or bridged networks: ${problem}`);
}

/** Ends the daemon of a network if limanet has started it; not when `isUsed` says so once nobody can start it. */
export async function stopManagedNetwork(
  home: string,
  name: string,
  networks: NetworksConfig,
  isUsed: () => boolean,
  log: Log,
): Promise<void> {
  const { folder, started } = managedPaths(home, name);
  if (!exists(started)) return;
  await withLock(folder, async () => {
    const note = readTextIfThere(started)?.trim();
    if (note === undefined || isUsed()) return;
    const place = placeOf(home, networks, name);
    const isOwn = place !== networks;
    const { pid } = await managedDaemon(place, name);
    const isStarted = pid !== 0 && (note === String(pid) || note === "starting");
    if (isStarted && (isOwn || isInstalled(networks))) {
      if (isOwn) signalProcess(pid, "SIGTERM");
      else {
        await verifyOnce(home, networks, log);
        await runAsRoot(networks, stopCommand(networks, name), log);
      }
      const limit = monotonicMs() + STOP_LIMIT_MS;
      while (await runs(place, name)) {
        if (monotonicMs() > limit) {
          log.warn(`the daemon of the network ${name} (process ${pid}) has not ended yet`);
          return;
        }
        await sleep(START_TIMES.pollMs / 5);
      }
    }
    remove(started);
  });
}

/** Ends the daemons that nobody uses any more. */
export async function stopUnusedManagedNetworks(
  home: string,
  networks: NetworksConfig,
  isUsed: (name: string) => boolean,
  log: Log,
): Promise<void> {
  for (const name of managedNames(networks))
    await stopManagedNetwork(home, name, networks, () => isUsed(name), log);
}
