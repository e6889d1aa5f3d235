/** What the commands on instances do; each gives the exit code. */
import type { Image } from "../config/images.ts";
import type { InstanceConfig } from "../config/instance.ts";
import { hostnameOf } from "../config/names.ts";
import { instancePaths, type InstancePaths } from "../config/paths.ts";
import { forwardsOf } from "../daemon/forwards/forward-states.ts";
import { endLeftovers } from "../daemon/leftovers.ts";
import { networksOf, reconcile } from "../daemon/reconcile.ts";
import { shellWord } from "../guest/shell-word.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import { exists, lastLines, readTextIfThere } from "../host/files.ts";
import { isLocked, lockHolder, tryLockPidFile, withLock } from "../host/lock.ts";
import { vmTypeProblem } from "../driver/vm-type.ts";
import { hostArchitecture, hostPlatform, limanetHome } from "../host/machine.ts";
import {
  runInTerminal,
  selfCommand,
  signalProcess,
  startProcess,
  type StartedProcess,
} from "../host/process.ts";
import { colours, isTerminal, warn, writeError, writeOut } from "../host/terminal.ts";
import { requestUnixHttp } from "../host/unix-http.ts";
import { diskOf, makeDisk } from "../instance/disk.ts";
import { localFile } from "../instance/image-cache.ts";
import { sshConfigText, sshOptions, sshPublicKey } from "../instance/ssh.ts";
import { loadNetworks } from "../instance/settings.ts";
import {
  inspectInstance,
  instanceNames,
  isOurs,
  loadConfig,
  removeInstance,
  type Instance,
} from "../instance/store.ts";
import { isTemplateLocator, nameOfTemplate } from "../instance/template.ts";
import type { Log } from "../trace/log.ts";
import {
  changeSettings,
  claimInstance,
  makeInstance,
  refuseWhileLimaRuns,
  type CreateOptions,
} from "./instance-settings.ts";
import { StageDisplay } from "./stage-display.ts";
import { table } from "./table.ts";

export interface StartOptions extends CreateOptions {
  slirp: string;
  timeout: number;
  /** stages as JSON lines on standard output */
  json?: true | undefined;
  /** an instance of Lima's may be taken over */
  adopt?: true | undefined;
}

const STEP_MS = 50;
/** how long a host agent may take to answer */
const ANSWER_LIMIT_MS = 2000;
/** how long an instance may take to power off before it is ended */
const STOP_LIMIT_MS = 40_000;

/** What stands between a start and a usable instance, in order, with the usual reason when it does not come. */
const STAGES: Record<string, string> = {
  network: "the network could not be made (see ha.stderr.log)",
  machine: "the virtual machine did not start (see qemu.stderr.log, and ha.stderr.log)",
  address:
    "the guest asked for no address by DHCP: it may not have booted, or has no driver for virtio network cards (see serial.log)",
  ssh: "the guest's ssh server does not answer or refuses the key: cloud-init may not have run (see serial.log)",
  guest: "the guest has not run the boot scripts of its cidata image (plain: true does without)",
  ready: "a provision script is still running",
};

const FIRST_STEPS =
  "limanet start template:demo needs nothing from outside, limanet start template:debian fetches an image; alpine, ubuntu and fedora are there, too, and limanet doctor looks at this machine";

/** What `limanet start` means by itself: the instance default, which is made of the template of that name, as by Lima. */
function defaultInstance(home: string): string {
  if (exists(instancePaths(home, "default").config)) return "default";
  writeError(
    `There is no instance named default yet: it is made of template:default, Debian, whose image is fetched once (${FIRST_STEPS})\n`,
  );
  return "template:default";
}

/** `ended` resolves when somebody wants it to end. */
export async function start(
  given: string | undefined,
  options: StartOptions,
  ended: Promise<unknown>,
  log: Log,
): Promise<number> {
  const home = limanetHome();
  const nameOrTemplate = given ?? defaultInstance(home);
  const display = new StageDisplay(options.json === true);
  const interrupted = new AbortController();
  void ended.then(() => interrupted.abort());
  const isTemplate = isTemplateLocator(nameOrTemplate);
  const known = isTemplate ? (options.name ?? nameOfTemplate(nameOrTemplate)) : nameOrTemplate;
  const isNew = isTemplate && !exists(instancePaths(home, known).config);
  const name = isNew ? await makeInstance(home, nameOrTemplate, options) : known;
  const instance = inspectInstance(home, name);
  const { paths } = instance;
  await claimInstance(instance, options.adopt === true, "start");
  const limitMs = options.timeout * 1000;
  const followOther = () => followRunning(name, paths, limitMs, interrupted.signal, display);
  if (await runs(home, name)) return followOther();
  if (!isNew) changeSettings(home, instance, options);
  const config = loadConfig(home, name, isNew ? () => {} : warn);
  const problem = vmTypeProblem(config, {
    platform: hostPlatform(),
    architecture: hostArchitecture(),
  });
  if (problem !== undefined) {
    if (isNew) removeInstance(paths);
    throw new Error(`Cannot start the instance ${name}: ${problem}`);
  }
  await sshPublicKey(home);
  let image: Image;
  try {
    image = await localImage(instance, config, interrupted.signal);
    // a signal that has come is heard in the event loop's next turn
    await sleep(0);
    interrupted.signal.throwIfAborted();
  } catch (error) {
    // the template may be mended and started again: what has never run must not stand in its way
    if (isNew) removeInstance(paths);
    if (!interrupted.signal.aborted) throw error;
    return saysInterrupted(name);
  }
  // one at a time, and nobody deletes the instance before its host agent has a lock of its own
  const agent = await withLock(paths.dir, async (lock) => {
    if (await runs(home, name)) return undefined;
    if (image.disk !== undefined && diskOf(paths) === undefined)
      await makeDisk(await localFile(image.disk), paths.disk, {
        size: config.disk,
        format: config.vmType === "vz" ? "raw" : "qcow2",
      });
    display.reached("image", image.disk === undefined ? "kernel and initrd, no disk" : "ready");
    loadNetworks(home, warn);
    await reconcile(home, { starting: name, warn, log });
    return startHostAgent(name, paths, options.slirp, lock);
  });
  if (agent === undefined) return followOther();
  const outcome = await follow(paths, agent, limitMs, interrupted.signal, display);
  display.clear();
  if (outcome === undefined) return 0;
  // what was begun is ended: nothing runs after a start that failed
  agent.kill("SIGTERM");
  await agent.exited;
  await reconcile(home, { warn, log });
  if (interrupted.signal.aborted) return saysInterrupted(name);
  throw new Error(
    outcome.startsWith("Cannot ") ? outcome : `Cannot start the instance ${name}: ${outcome}`,
  );
}

/**
 * Does it run? A host agent that answers nothing, or has no machine, has just begun, or is about to end: time will tell.
 */
async function runs(home: string, name: string): Promise<boolean> {
  const limit = monotonicMs() + STOP_LIMIT_MS;
  const { machineLock, hostAgentSocket } = instancePaths(home, name);
  const answers = () =>
    requestUnixHttp(
      hostAgentSocket,
      "GET",
      "/v1/info",
      undefined,
      AbortSignal.timeout(ANSWER_LIMIT_MS),
    ).then(
      () => true,
      () => false,
    );
  while (inspectInstance(home, name).status === "Running") {
    if ((isLocked(machineLock) && (await answers())) || monotonicMs() > limit) return true;
    await sleep(STEP_MS);
  }
  return false;
}

function saysInterrupted(name: string): number {
  writeError(`limanet: the start of ${name} was interrupted; nothing is left running\n`);
  return 1;
}

/** The image for this machine, with all of its files here and checked. */
async function localImage(
  { name, paths }: Instance,
  config: InstanceConfig,
  ended: AbortSignal,
): Promise<Image> {
  const image = config.images.find(({ arch }) => arch === config.arch);
  if (image === undefined)
    throw new Error(`Cannot start the instance ${name}: lima.yaml has no image for ${config.arch}`);
  // a disk that Lima has made needs no image of ours
  const disk = diskOf(paths) === paths.limaDisk ? undefined : image.disk;
  for (const file of [disk, image.kernel, image.initrd])
    if (file !== undefined) await localFile(file, ended);
  return image;
}

/** Starts an instance's host agent and waits until it counts as running, or has ended. */
async function startHostAgent(
  name: string,
  paths: InstancePaths,
  slirp: string,
  lock: number,
): Promise<StartedProcess> {
  const command = [
    ...selfCommand(),
    "hostagent",
    "--pidfile",
    paths.hostAgentPid,
    "--socket",
    paths.hostAgentSocket,
    ...(slirp === "qemu" ? ["--slirp", "qemu"] : []),
    "--handed-lock",
    name,
  ];
  const files = { stdout: paths.hostAgentOut, stderr: paths.hostAgentErr };
  const agent = startProcess(command, files, true, lock);
  let ended = false;
  void agent.exited.then(() => {
    ended = true;
  });
  while (!ended && lockHolder(paths.hostAgentPid) === 0) await sleep(STEP_MS / 5);
  return agent;
}

/**
 * Whoever has started a running instance may have been killed, or does so just now: waits until it is usable, and says
 * that it runs when it is.
 */
async function followRunning(
  name: string,
  paths: InstancePaths,
  limitMs: number,
  interrupted: AbortSignal,
  display: StageDisplay,
): Promise<number> {
  const events = readTextIfThere(paths.hostAgentOut) ?? "";
  if (/"running":true/.test(events))
    throw new Error(`Cannot start the instance ${name}: it runs already`);
  const ended = async () => {
    while (lockHolder(paths.hostAgentPid) !== 0) await sleep(STEP_MS);
    return "an unknown result";
  };
  const outcome = await follow(paths, { exited: ended() }, limitMs, interrupted, display);
  display.clear();
  if (outcome === undefined) return 0;
  throw new Error(`Cannot start the instance ${name}: ${outcome}`);
}

interface AgentLine {
  stage?: string;
  detail?: string;
  status?: { running?: boolean; errors?: string[]; exiting?: boolean };
}

/** Follows the host agent's events until the instance is usable (undefined), or tells why it will not be. */
async function follow(
  paths: InstancePaths,
  agent: { exited: Promise<number | string> },
  limitMs: number,
  interrupted: AbortSignal,
  display: StageDisplay,
): Promise<string | undefined> {
  const all = Object.keys(STAGES);
  const waiting = [...all];
  const limit = monotonicMs() + limitMs;
  let read = 0;
  let exit: number | string | undefined;
  void agent.exited.then((result) => {
    exit = result;
  });
  while (!interrupted.aborted) {
    // read after the end was seen, so that the last lines are not missed
    const exitBefore = exit;
    const lines = (readTextIfThere(paths.hostAgentOut) ?? "").split("\n").slice(0, -1);
    for (const line of lines.slice(read)) {
      const event = JSON.parse(line) as AgentLine;
      if (event.stage !== undefined) {
        display.reached(event.stage, event.detail);
        waiting.splice(0, waiting.indexOf(event.stage) + 1);
      }
      if (event.status?.running === true) {
        display.clear();
        for (const error of event.status.errors ?? []) writeError(`warning: ${error}\n`);
        return undefined;
      }
      if (event.status?.errors !== undefined && event.status.exiting === true)
        return event.status.errors.join("; ");
    }
    read = lines.length;
    if (exitBefore === 0)
      return `the virtual machine has powered off; the last lines of its console:\n${lastLines(paths.serialLog, 3)}`;
    if (exitBefore !== undefined)
      return lastLines(paths.hostAgentErr, 1) || `its host agent ended with ${exitBefore}`;
    if (monotonicMs() > limit) {
      const missing = waiting[0] ?? "ready";
      return `the stage "${missing}" has not come within ${limitMs / 1000} s: ${STAGES[missing]}`;
    }
    display.awaits(waiting[0] ?? "ready", all.length - waiting.length, all.length);
    await sleep(STEP_MS);
  }
  return "interrupted";
}

export async function stop(names: string[], force: boolean, log: Log): Promise<number> {
  const home = limanetHome();
  let failure: unknown;
  try {
    for (const name of names.length === 0 ? ["default"] : names) {
      const instance = inspectInstance(home, name);
      if (!isOurs(instance.paths))
        throw new Error(
          `Cannot stop the instance ${name}: it belongs to Lima (limactl stop ${name})`,
        );
      await refuseWhileLimaRuns(instance, "stop");
      if (instance.status !== "Running" && !force) writeError(`limanet: ${name} does not run\n`);
      await end(home, instance, force);
    }
  } catch (error) {
    failure = error;
  }
  // also after an error: those before it were stopped
  await reconcile(home, { warn, log }).catch((error: Error) => {
    failure ??= error;
  });
  if (failure !== undefined) throw failure;
  return 0;
}

/** Ends an instance's host agent, and what an agent that was killed has left. */
async function end(home: string, instance: Instance, force: boolean): Promise<void> {
  const { paths, hostAgent } = instance;
  if (hostAgent !== 0) {
    signalProcess(hostAgent, force ? "SIGKILL" : "SIGTERM");
    const limit = monotonicMs() + STOP_LIMIT_MS;
    // another one that holds it was started meanwhile, and ours has ended
    while (lockHolder(paths.hostAgentPid) === hostAgent) {
      if (monotonicMs() > limit) signalProcess(hostAgent, "SIGKILL");
      await sleep(STEP_MS);
    }
  }
  // whoever starts it again meanwhile removes what is left himself
  const lock = tryLockPidFile(paths.hostAgentPid);
  if (lock === undefined) return;
  try {
    await endLeftovers(home, instance.name);
  } finally {
    lock.release();
  }
}

export async function deleteInstances(names: string[], force: boolean, log: Log): Promise<number> {
  const home = limanetHome();
  for (const name of names) {
    const left = instancePaths(home, name);
    if (force && !exists(left.dir)) continue;
    if (!exists(left.config) && isOurs(left)) {
      // somebody was killed who made or deleted it
      removeInstance(left);
      continue;
    }
    const instance = inspectInstance(home, name);
    if (!isOurs(instance.paths))
      throw new Error(`Cannot delete the instance ${name}: it belongs to Lima, not to limanet`);
    await refuseWhileLimaRuns(instance, "delete");
    if (instance.status === "Running" && !force) {
      throw new Error(
        `Cannot delete the instance ${name}: it runs (limanet stop ${name}, or limanet delete --force)`,
      );
    }
    await end(home, instance, force);
    await withLock(instance.paths.dir, async () => {
      if (lockHolder(instance.paths.hostAgentPid) !== 0)
        throw new Error(`Cannot delete the instance ${name}: somebody has just started it`);
      removeInstance(instance.paths);
    });
  }
  await reconcile(home, { warn, log });
  return 0;
}

export async function list(
  names: string[],
  options: { json?: true | undefined; quiet?: true | undefined },
): Promise<number> {
  const home = limanetHome();
  const wanted = names.length === 0 ? instanceNames(home) : names;
  const instances = wanted.map((name) => inspectInstance(home, name));
  if (options.quiet) {
    for (const { name } of instances) writeOut(`${name}\n`);
    return 0;
  }
  if (options.json) {
    for (const { name, status, paths, config, sshPort, hostAgent } of instances) {
      const line = {
        name,
        hostname: hostnameOf(name),
        status,
        dir: paths.dir,
        vmType: config?.vmType,
        cpus: config?.cpus,
        memory: config?.memory,
        disk: config?.disk,
        network: config?.networks ?? [],
        sshLocalPort: sshPort,
        sshAddress: "127.0.0.1",
        sshConfigFile: paths.sshConfig,
        hostAgentPID: hostAgent,
        forwards: hostAgent === 0 ? [] : await forwardsOf(paths),
      };
      writeOut(`${JSON.stringify(line)}\n`);
    }
    return 0;
  }
  if (instances.length === 0) {
    writeError(`There are no instances yet (${FIRST_STEPS})\n`);
    return 0;
  }
  const rows = instances.map(({ name, status, config, sshPort, paths }) => [
    name,
    status,
    sshPort === 0 ? "-" : `127.0.0.1:${sshPort}`,
    String(config?.cpus ?? "-"),
    config === undefined ? "-" : `${Math.round(config.memory / 1024 ** 2)}MiB`,
    config === undefined ? "-" : networksOf(config.networks).join(",") || "default",
    paths.dir,
  ]);
  const { bold, green, red } = colours("out");
  const status: Record<string, (text: string) => string> = { Running: green, Broken: red };
  writeOut(
    table(
      [["NAME", "STATUS", "SSH", "CPUS", "MEMORY", "NETWORK", "DIR"], ...rows],
      (cell, row, column) =>
        row === 0 ? bold(cell) : ((column === 1 ? status[cell] : undefined)?.(cell) ?? cell),
    ),
  );
  return 0;
}

export async function shell(
  name: string,
  words: string[],
  options: { workdir?: string | undefined },
): Promise<number> {
  // shell NAME -- COMMAND, as people write it for limactl and ssh
  const command = words[0] === "--" ? words.slice(1) : words;
  const { paths, status } = inspectInstance(limanetHome(), name);
  if (status !== "Running")
    throw new Error(`Cannot open a shell in ${name}: it does not run (limanet start ${name})`);
  const interactive = isTerminal("in") && isTerminal("out");
  const quoted = command.map(quote).join(" ");
  const remote =
    options.workdir === undefined
      ? quoted
      : `cd ${quote(options.workdir)} && ${quoted === "" ? "exec $SHELL -l" : quoted}`;
  return runInTerminal([
    "ssh",
    "-F",
    paths.sshConfig,
    ...(interactive ? ["-t"] : ["-T"]),
    "-q",
    hostnameOf(name),
    ...(remote === "" ? [] : ["--", remote]),
  ]);
}

/** for the guest's shell: each argument arrives as it was given */
function quote(argument: string): string {
  return /^[A-Za-z0-9_./:=@%+-]+$/.test(argument) ? argument : shellWord(argument);
}

export async function showSsh(name: string, format: string): Promise<number> {
  const home = limanetHome();
  const { paths, status } = inspectInstance(home, name);
  if (status !== "Running")
    throw new Error(`Cannot show how to reach ${name}: it does not run (limanet start ${name})`);
  const text = readTextIfThere(paths.sshConfig) ?? "";
  const value = (key: string) => new RegExp(`^\\s*${key} (.*)$`, "m").exec(text)?.[1] ?? "";
  const target = {
    home,
    name,
    user: value("User"),
    port: Number(value("Port")),
    forwardAgent: value("ForwardAgent") === "yes",
    forwardX11: value("ForwardX11") === "yes",
    forwardX11Trusted: value("ForwardX11Trusted") === "yes",
  };
  const args = sshOptions(target).flatMap(([key, setting]) => ["-o", quote(`${key}=${setting}`)]);
  if (format === "config") writeOut(sshConfigText(target));
  else if (format === "options")
    writeOut(
      sshOptions(target)
        .map(([key, setting]) => `${key}=${setting}\n`)
        .join(""),
    );
  else if (format === "args") writeOut(`${args.join(" ")}\n`);
  else writeOut(`ssh -F ${quote(paths.sshConfig)} ${hostnameOf(name)}\n`);
  return 0;
}
