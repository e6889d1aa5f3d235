/** Carries out the start of a network's daemon (lib/privilege/daemon-start.ts): processes, files and time. */
import type { NetworksConfig } from "../config/networks.ts";
import { managedPaths } from "../config/paths.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import { lastLines, readTextIfThere, remove } from "../host/files.ts";
import { startProcess, type StartedProcess } from "../host/process.ts";
import { NOT_PERMITTED } from "../privilege/commands.ts";
import { DaemonStart, type Look, type StartTimes } from "../privilege/daemon-start.ts";
import type { Log } from "../trace/log.ts";
import { managedDaemon } from "./managed-daemon.ts";
import { warningsIn } from "./vmnet/blocking.ts";

/** between asking a daemon that came to nothing to end and killing it */
const KILL_AFTER_MS = 2000;

export interface Launch {
  /** whose folder the daemon's socket and pid file are in */
  place: NetworksConfig;
  command: string[];
  /** before each attempt */
  prepare?: () => Promise<void>;
  /** a daemon that says that it is not permitted is no failure */
  mayBeRefused: boolean;
}

/** Waits until a daemon can be connected to; false: it is not permitted. Throws why it does not come. */
export async function startDaemon(
  home: string,
  name: string,
  { place, command, prepare, mayBeRefused }: Launch,
  log: Log,
  times: StartTimes,
): Promise<boolean> {
  const { stdout, stderr } = managedPaths(home, name);
  const machine = new DaemonStart(times);
  let daemon: StartedProcess | undefined;
  let end: number | string | undefined;
  for (let step = machine.begin(); ;) {
    switch (step.do) {
      case "spawn": {
        await sleep(step.afterMs);
        await prepare?.();
        for (const file of [stdout, stderr]) remove(file);
        log.info?.(`running: ${command.join(" ")}`);
        end = undefined;
        const { varRun } = place.paths;
        const child = startProcess(command, { stdout, stderr }, true, undefined, varRun);
        void child.exited.then((code) => {
          if (child === daemon) end = code;
        });
        daemon = child;
        step = machine.onSpawned(monotonicMs());
        break;
      }
      case "look":
        await Promise.race([sleep(step.afterMs), daemon?.exited]);
        if (mayBeRefused && end === NOT_PERMITTED) return false;
        step = machine.onLook(monotonicMs(), await look(place, name, end));
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
        return true;
    }
  }
}

async function look(
  place: NetworksConfig,
  name: string,
  end: number | string | undefined,
): Promise<Look> {
  try {
    const { pid, serves } = await managedDaemon(place, name);
    if (serves) return { sees: "service" };
    if (end !== undefined) return { sees: "end", why: `it ended with ${end}` };
    return { sees: pid === 0 ? "nothing" : "pid" };
  } catch (error) {
    return { sees: "corrupt", why: (error as Error).message };
  }
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
