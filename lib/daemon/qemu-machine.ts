/** An instance's QEMU process: started, asked to power down, ended. */
import type { InstancePaths } from "../config/paths.ts";
import { qemuArguments, qemuProgram, reconnects, type QemuFacts } from "../driver/qemu.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import { lastLines, readTextIfThere, remove } from "../host/files.ts";
import { isLocked, tryLockForChild } from "../host/lock.ts";
import { hostArchitecture, machineMonitor } from "../host/machine.ts";
import {
  findProgram,
  runCommand,
  signalProcess,
  startProcess,
  type StartedProcess,
} from "../host/process.ts";
import { connectQmp, type QmpClient } from "../host/qmp-client.ts";
import { diskFormat, diskOf } from "../instance/disk.ts";
import { localFile } from "../instance/image-cache.ts";
import { endSshMaster } from "./guest-access.ts";
import type { Machine, MachineSettings } from "./machine.ts";

/** between asking QEMU to end and killing it */
const QUIT_LIMIT_MS = 2000;
const STEP_MS = 100;
const COMMAND_LIMIT_MS = 5000;

export async function startQemu(settings: MachineSettings): Promise<Machine> {
  const { paths, config, name, nics, log } = settings;
  const { arch } = config;
  const image = config.images.find((candidate) => candidate.arch === arch);
  if (image === undefined)
    throw new Error(`Cannot start the virtual machine: lima.yaml has no image for ${arch}`);
  const program = qemuProgram(arch);
  if (findProgram(program) === undefined) {
    const fix = arch === "x86_64" ? "qemu-system-x86" : "qemu-system-arm";
    throw new Error(
      `Cannot start the virtual machine: ${program} is not installed (on Debian and Ubuntu: apt install ${fix}; on macOS: brew install qemu)`,
    );
  }
  const number = (await qemuVersion(program)) ?? ([0, 0] as const);
  if (number[0] < 7 || (number[0] === 7 && number[1] < 2)) {
    throw new Error(
      `Cannot start the virtual machine: QEMU ${number.join(".")} has no stream network device (7.2 or later is needed)`,
    );
  }
  const disk = image.disk === undefined ? undefined : (diskOf(paths) ?? paths.disk);
  const facts: Omit<QemuFacts, "accelerator"> = {
    arch,
    version: number,
    cpus: config.cpus,
    memory: config.memory,
    name,
    disk: disk === undefined ? undefined : { path: disk, format: await diskFormat(disk) },
    kernel: image.kernel === undefined ? undefined : await localFile(image.kernel),
    cmdline: image.kernel?.cmdline,
    initrd: image.initrd === undefined ? undefined : await localFile(image.initrd),
    cidata: paths.cidata,
    qmp: paths.qmp,
    pidFile: paths.qemuPid,
    serialLog: paths.serialLog,
    nics,
  };
  const accelerator = arch === hostArchitecture() ? machineMonitor() : undefined;
  if (accelerator !== undefined) {
    try {
      return await launch({ ...facts, accelerator }, paths);
    } catch (error) {
      // one that cannot be used after all, as /dev/kvm in some nested machines, is worse than none only in speed
      log.warn(`${(error as Error).message}; it is tried again without ${accelerator}`);
    }
  }
  return launch({ ...facts, accelerator: "tcg" }, paths);
}

/** major and minor number of a QEMU; undefined when it does not tell them */
export async function qemuVersion(program: string): Promise<readonly [number, number] | undefined> {
  const { stdout } = await runCommand([program, "--version"], COMMAND_LIMIT_MS);
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(stdout) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor)];
}

async function launch(facts: QemuFacts, paths: InstancePaths): Promise<Machine> {
  const program = qemuProgram(facts.arch);
  const files = { stdout: `${paths.dir}/qemu.stdout.log`, stderr: `${paths.dir}/qemu.stderr.log` };
  const lock = tryLockForChild(paths.machineLock);
  if (lock === undefined)
    throw new Error(
      `Cannot start the virtual machine: one of this instance runs already (its process holds ${paths.machineLock})`,
    );
  const child = startProcess([program, ...qemuArguments(facts)], files, false, lock.fd);
  lock.close();
  let ended = false;
  void child.exited.then(() => {
    ended = true;
  });
  for (;;) {
    if (ended) remove(paths.qmp);
    if (ended)
      throw new Error(
        `Cannot start the virtual machine: QEMU ended at once: ${lastLines(files.stderr, 3)}`,
      );
    try {
      const qmp = await connectQmp(paths.qmp, () => {});
      return {
        description: `${program} runs as process ${child.pid}`,
        ended: child.exited.then((exit) => (exit === 0 ? "" : machineEnd(exit, paths))),
        monitor: qmp,
        reconnects: reconnects(facts.version),
        pressPowerButton: async () => void (await qmp.execute("system_powerdown")),
        networkReturned: () => {},
        end: () => endQemu(child, qmp, paths),
      };
    } catch {
      await sleep(STEP_MS / 5);
    }
  }
}

/** Ends QEMU if it still runs and removes what it made. */
async function endQemu(child: StartedProcess, qmp: QmpClient, paths: InstancePaths): Promise<void> {
  await endSshMaster(paths);
  qmp.close();
  child.kill("SIGTERM");
  let ended = false;
  void child.exited.then(() => {
    ended = true;
  });
  const limit = monotonicMs() + QUIT_LIMIT_MS;
  while (!ended && monotonicMs() < limit) await sleep(STEP_MS / 5);
  child.kill("SIGKILL");
  await child.exited;
  for (const path of [paths.qmp, paths.qemuPid, paths.sshControl]) remove(path);
}

/** Ends a machine whose host agent was killed; does nothing when none runs. */
export async function endLeftMachine(paths: InstancePaths): Promise<void> {
  const isGone = async (limitMs: number) => {
    const limit = monotonicMs() + limitMs;
    while (isLocked(paths.machineLock)) {
      if (monotonicMs() > limit) return false;
      await sleep(STEP_MS / 5);
    }
    return true;
  };
  if (await isGone(0)) return;
  // asked for, QEMU writes out what it holds of the disk; one that does not listen is killed
  const quit = async () => {
    const qmp = await connectQmp(paths.qmp, () => {});
    await qmp.execute("quit");
  };
  await Promise.race([quit().catch(() => {}), sleep(QUIT_LIMIT_MS)]);
  if (await isGone(QUIT_LIMIT_MS)) return;
  const limit = monotonicMs() + COMMAND_LIMIT_MS;
  while (!(await isGone(STEP_MS))) {
    // the number can be trusted while the lock is held; a machine that has just started has not written it yet
    const pid = Number(readTextIfThere(paths.qemuPid) ?? 0);
    if (pid > 1) signalProcess(pid, "SIGKILL");
    if (monotonicMs() > limit)
      throw new Error(
        `Cannot end the virtual machine that a killed host agent has left: it holds ${paths.machineLock} (find its process with lsof and end it)`,
      );
  }
}

function machineEnd(exit: number | string, paths: InstancePaths): string {
  const stderr = lastLines(`${paths.dir}/qemu.stderr.log`, 2);
  const serial = lastLines(paths.serialLog, 3);
  return `The virtual machine ended unexpectedly (${typeof exit === "number" ? `exit code ${exit}` : exit})${stderr === "" ? "" : `: ${stderr}`}${serial === "" ? "" : `\nlast lines of its console:\n${serial}`}`;
}
