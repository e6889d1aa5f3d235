/**
 * Networks of mode shared, host and bridged: a daemon of root's serves each, started and stopped through sudo with
 * exactly the commands of the sudoers file (specification, sections 6 and 7).
 *
 * Its pid file is root's, so that no lock can be asked for. A pid counts as the daemon's only when somebody serves the
 * socket besides, or when the process has the pid file's name on its command line; the number of a daemon that is gone
 * may be anybody's by now, and root is never asked to end that one.
 *
 * limanet ends the daemons that it has started itself and no others: the same network may be in use by Lima, or by
 * another home folder.
 */
import type { NetworksConfig } from "../config/networks.ts";
import { managedPaths, networksFile } from "../config/paths.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import {
  exists,
  lastLines,
  makeFolder,
  readTextIfThere,
  remove,
  writeFileAtomically,
} from "../host/files.ts";
import { hostAccounts, hostFiles } from "../host/file-tree.ts";
import { withLock } from "../host/lock.ts";
import { commandLineOf, isAlive, startProcess, type StartedProcess } from "../host/process.ts";
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
  stopCommand,
} from "../privilege/commands.ts";
import { unwritableByDaemon } from "../privilege/path-check.ts";
import { DaemonStart, START_TIMES, type Look, type StartTimes } from "../privilege/daemon-start.ts";
import type { Log } from "../trace/log.ts";
import { warningsIn } from "./vmnet/blocking.ts";
import { isInstalled, runAsRoot, validateForRoot, verifySudo } from "./sudo-access.ts";

const STOP_LIMIT_MS = 5000;
/** between asking a daemon that came to nothing to end and killing it */
const KILL_AFTER_MS = 2000;

export interface ManagedDaemon {
  /** 0: there is none */
  pid: number;
  /** somebody accepts connections on its socket, as far as we may try */
  serves: boolean;
}

/** What is known of a network's daemon; throws when its pid file holds something else than a pid. */
export async function managedDaemon(
  networks: NetworksConfig,
  name: string,
): Promise<ManagedDaemon> {
  const pidFile = pidFileOf(networks, name);
  const text = readTextIfThere(pidFile)?.trim();
  if (text === undefined || text === "") return { pid: 0, serves: false };
  if (!/^\d+$/.test(text))
    throw new Error(
      `Cannot tell whether the network ${name} runs: ${pidFile} holds ${JSON.stringify(text)}, which is no process id (sudo rm ${pidFile})`,
    );
  const pid = Number(text);
  if (!isAlive(pid)) return { pid: 0, serves: false };
  const attempt = await tryUnixSocket(socketOf(networks, name));
  if (attempt === "served") return { pid, serves: true };
  const isDaemon = commandLineOf(pid).includes(`--pidfile=${pidFile}`);
  return { pid: isDaemon ? pid : 0, serves: isDaemon && attempt === "denied" };
}

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
  await verifyOnce(home, networks, log);
  if (!isInstalled(networks))
    throw cannotUse(
      name,
      `daemon \`socket_vmnet\` needs to be installed: paths.socketVMNet in ${networksFile(home)} names no program (docs/privileges.md tells which and how)`,
    );
  const { folder, started } = managedPaths(home, name);
  makeFolder(folder);
  await withLock(folder, async () => {
    if ((await managedDaemon(networks, name)).pid === 0) {
      // noted before it is started: whoever comes after a crash in between knows whose daemon it is
      writeFileAtomically(started, "starting\n");
      await start(home, name, networks, log, times);
      writeFileAtomically(started, `${(await managedDaemon(networks, name)).pid}\n`);
    }
  });
  if ((await tryUnixSocket(socketOf(networks, name))) === "denied")
    throw cannotUse(
      name,
      `only members of the group ${groupOf(networks, platform())} may connect to ${socketOf(networks, name)} (join it: on Linux sudo usermod -aG, then log in anew; or name a group of yours in ${networksFile(home)})`,
    );
}

async function start(
  home: string,
  name: string,
  networks: NetworksConfig,
  log: Log,
  times: StartTimes,
): Promise<void> {
  const { stdout, stderr } = managedPaths(home, name);
  const machine = new DaemonStart(times);
  let daemon: StartedProcess | undefined;
  let end: string | undefined;
  for (let step = machine.begin(); ;) {
    switch (step.do) {
      case "spawn": {
        await sleep(step.afterMs);
        await prepareFolder(networks, log);
        for (const file of [stdout, stderr]) remove(file);
        const command = asRoot(startCommand(networks, name, platform()), platform());
        log.info?.(`running: ${command.join(" ")}`);
        end = undefined;
        const { varRun } = networks.paths;
        const child = startProcess(command, { stdout, stderr }, true, undefined, varRun);
        void child.exited.then((code) => {
          if (child === daemon) end = `it ended with ${code}`;
        });
        daemon = child;
        step = machine.onSpawned(monotonicMs());
        break;
      }
      case "look":
        await Promise.race([sleep(step.afterMs), daemon?.exited]);
        step = machine.onLook(monotonicMs(), await look(networks, name, end));
        break;
      case "fail": {
        const left = step.kill && daemon !== undefined ? await kill(daemon) : "";
        const said = lastLines(stderr, 3);
        throw new Error(
          `Cannot start the network ${name}: ${step.why}${said === "" ? "" : `: ${said}`}${left} (its log is ${stderr})`,
        );
      }
      case "finish":
        for (const warning of warningsIn(readTextIfThere(stderr) ?? "")) log.warn(warning);
        return;
    }
  }
}

async function look(
  networks: NetworksConfig,
  name: string,
  end: string | undefined,
): Promise<Look> {
  try {
    const { pid, serves } = await managedDaemon(networks, name);
    if (serves) return { sees: "service" };
    if (end !== undefined) return { sees: "end", why: end };
    return { sees: pid === 0 ? "nothing" : "pid" };
  } catch (error) {
    return { sees: "corrupt", why: (error as Error).message };
  }
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

/** Ends a daemon that came to nothing; what is left of it, as the end of a sentence. */
async function kill(daemon: StartedProcess): Promise<string> {
  // sudo hands this on to the daemon; an ordinary user may not end root's processes otherwise
  daemon.kill("SIGTERM");
  const ended = await Promise.race([daemon.exited, sleep(KILL_AFTER_MS)]);
  if (ended !== undefined) return "";
  daemon.kill("SIGKILL");
  return `; it may run on below process ${daemon.pid}`;
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
    const { pid } = await managedDaemon(networks, name);
    if (pid !== 0 && (note === String(pid) || note === "starting") && isInstalled(networks)) {
      await verifyOnce(home, networks, log);
      await runAsRoot(networks, stopCommand(networks, name), log);
      const limit = monotonicMs() + STOP_LIMIT_MS;
      while ((await managedDaemon(networks, name)).pid !== 0) {
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
