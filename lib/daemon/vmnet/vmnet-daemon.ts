/** `limanet vmnet`: one shared, host or bridged network, as socket_vmnet is one (specification of vmnet, section 2). */
import { resolve } from "node:path";
import { lockHolder, tryLockPidFile, type Lock } from "../../host/lock.ts";
import { groupId, hostPlatform } from "../../host/machine.ts";
import { shimCapabilities } from "../../host/shim.ts";
import { onStatusSignal, terminationSignal } from "../../host/signals.ts";
import { releaseProgramPagesSoon } from "../../host/unused-memory.ts";
import type { Log } from "../../trace/log.ts";
import { vmnetSettings, type VmnetOptions } from "../../vmnet/settings.ts";
import { giveUpSystemCalls, keepModesExact } from "../confined.ts";
import type { AttachKind } from "../engine/guest-ports.ts";
import { UsageError } from "../usernet.ts";
import { AppleSide } from "./apple-side.ts";
import { cleanUp } from "./host-network.ts";
import { LinuxSide } from "./linux-side.ts";
import { keepNeededPrivileges, verifyNetAdmin } from "./privileges.ts";
import type { RunningSwitch } from "./running-switch.ts";

export interface VmnetDaemonOptions extends VmnetOptions {
  socket: string;
  /** "": guests of this user alone */
  group: string;
  pidFile: string | undefined;
}

/** Runs until a signal; the exit code. */
export async function runVmnet(options: VmnetDaemonOptions, log: Log): Promise<number> {
  const settings = vmnetSettings(options);
  if (typeof settings === "string") throw new UsageError(settings);
  const gid = options.group === "" ? undefined : groupId(options.group);
  if (gid === undefined && options.group !== "")
    throw new UsageError(
      `Cannot let the group ${options.group} attach: there is none of that name (--socket-group=GROUP names another)`,
    );
  const socket = resolve(options.socket);
  const { pidFile } = options;
  const isApple = isOnApple();
  if (!isApple)
    keepNeededPrivileges({
      files: [socket, pidFile ?? socket],
      ...(gid === undefined ? {} : { gid }),
      isServer: settings.mode !== "bridged",
    });
  giveUpSystemCalls(log);
  keepModesExact();
  releaseProgramPagesSoon();
  const ended = terminationSignal();
  if (pidFile !== undefined && lockHolder(pidFile) !== 0) throw pidFileInUse(pidFile);
  const host = isApple ? new AppleSide(settings) : await LinuxSide.open(socket, settings, log);
  let network: RunningSwitch | undefined;
  let lock: Lock | undefined;
  try {
    const running = await host.start(log);
    network = running;
    if (settings.isIsolated) await network.request({ type: "isolate" });
    for (const [kind, path] of Object.entries(socketsAt(socket)))
      await network.request({ type: "listen", kind: kind as AttachKind, path, gid });
    if (pidFile !== undefined) {
      lock = tryLockPidFile(pidFile);
      if (lock === undefined) throw pidFileInUse(pidFile);
    }
    onStatusSignal(() => void tellStatistics(running, log));
    log.info?.(`network ready ${host.describe(network)} socket=${socket}`);
    log.info?.(`network ends signal=${await Promise.race([ended, network.failed])}`);
    return 0;
  } finally {
    await network?.close();
    await host.close();
    // last: whoever waits for the end waits for this file
    lock?.release();
  }
}

/** asked, not told by the system's name: tests run macOS' side on an imitation */
const isOnApple = (): boolean => shimCapabilities().get("backend") === "vmnet";

/** Throws NotPermittedError when this user may not make networks, which macOS only tells when one is made; the exit code. */
export async function checkVmnet(log: Log): Promise<number> {
  if (isOnApple()) {
    const side = new AppleSide({ mode: "host", dhcp: true, isIsolated: false });
    await (await side.start(log)).close();
  } else verifyNetAdmin();
  log.info?.("this user may make networks");
  return 0;
}

const pidFileInUse = (path: string): Error =>
  new Error(`Cannot start the network: process ${lockHolder(path)} holds the pid file ${path}`);

/** Datagram guests have sockets of their own beside the stream guests'. */
const socketsAt = (socket: string): Partial<Record<AttachKind, string>> => ({
  stream: socket,
  datagrams: `${socket}.datagram`,
  descriptor: `${socket}.descriptor`,
});

async function tellStatistics(network: RunningSwitch, log: Log): Promise<void> {
  // a network that ends meanwhile has nothing to tell
  const stats = (await network.request({ type: "stats" }).catch(() => ({}))) as object;
  const words = Object.entries(stats).map(([name, count]) => `${name}=${count}`);
  log.info?.(["statistics", ...words].join(" "));
}

/** Undoes what networks whose daemons were killed have left; the exit code. */
export async function cleanUpVmnet(log: Log): Promise<number> {
  // vmnet.framework undoes by itself what it has made
  if (hostPlatform() !== "linux") return 0;
  keepNeededPrivileges({ files: [], isServer: false });
  const count = await cleanUp(log);
  log.info?.(`cleaned up networks=${count}`);
  return 0;
}
