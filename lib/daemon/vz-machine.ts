/**
 * An instance's machine of Virtualization.framework (specification, section 14). The framework binds a machine to the
 * process that made it, so it lives in the host agent itself: who kills the host agent pulls the machine's plug, and nothing
 * is left to be ended. A process of its own would gain nothing: without a host agent a machine has no default network and no
 * forwards, and the next start ends it anyway (leftovers.ts).
 */
import type { InstancePaths } from "../config/paths.ts";
import { STANDARD_MTU, vzConfiguration } from "../driver/vz.ts";
import { sleep } from "../host/clock.ts";
import { lastLines, remove } from "../host/files.ts";
import { closeDescriptor } from "../host/descriptors.ts";
import { tryLockForChild, tryLockPidFile } from "../host/lock.ts";
import { openNew } from "../host/process.ts";
import { canVirtualize, VzMachine } from "../host/vz.ts";
import { vzLibrary } from "../host/vz-library.ts";
import { diskFormat, diskOf } from "../instance/disk.ts";
import { localFile } from "../instance/image-cache.ts";
import { endSshMaster } from "./guest-access.ts";
import type { Machine, MachineSettings } from "./machine.ts";
import { StreamRelay } from "./relay/stream-relay.ts";
import { VzCard } from "./vz-card.ts";

/** how long pulling the plug may take */
const STOP_LIMIT_MS = 5000;

export async function startVz({ paths, config, nics, log }: MachineSettings): Promise<Machine> {
  const image = config.images.find(({ arch }) => arch === config.arch);
  if (image === undefined)
    throw new Error(`Cannot start the virtual machine: lima.yaml has no image for ${config.arch}`);
  const disk = image.disk === undefined ? undefined : (diskOf(paths) ?? paths.disk);
  if (disk !== undefined && (await diskFormat(disk)) !== "raw")
    throw new Error(
      `Cannot start the virtual machine: vmType vz needs a raw disk, and ${disk} is qcow2 (qemu-img convert -O raw ${disk} ${disk}.raw && mv ${disk}.raw ${disk})`,
    );
  const library = vzLibrary();
  if (!canVirtualize(library))
    throw new Error(
      "Cannot start the virtual machine: Virtualization.framework can have none here (it needs a Mac whose processor it supports, and no virtual machine around limanet; set vmType: qemu)",
    );
  const undo: (() => Promise<void> | void)[] = [];
  const undoAll = async () => {
    for (const each of undo.splice(0).toReversed()) await each();
  };
  try {
    holdLocks(paths, undo);
    const serial = openNew(paths.serialLog);
    undo.push(() => closeDescriptor(serial));
    const kernel = image.kernel === undefined ? undefined : await localFile(image.kernel);
    const initrd = image.initrd === undefined ? undefined : await localFile(image.initrd);
    let vz: VzMachine | undefined;
    const relay = new StreamRelay(log);
    undo.push(() => relay.close());
    const cards: (VzCard | undefined)[] = [];
    for (const [i, { backend, mtu = STANDARD_MTU }] of nics.entries()) {
      if (backend.kind === "nat") continue;
      if (backend.kind === "slirp")
        throw new Error("QEMU's own network (--slirp=qemu) needs vmType: qemu");
      const attach = (fd: number) => vz?.attach(i, { attachment: fd, mtu });
      const card = await VzCard.join(backend, { attach, relay }, log);
      undo.push(() => card.close());
      cards[i] = card;
    }
    const configuration = vzConfiguration({
      cpus: config.cpus,
      memory: config.memory,
      kernel,
      cmdline: image.kernel?.cmdline,
      initrd,
      efiVariables: paths.vzEfi,
      machineIdentifier: paths.vzIdentifier,
      disk,
      cidata: paths.cidata,
      serial,
      nics: nics.map(({ mac, mtu = STANDARD_MTU }, i) => ({
        mac,
        mtu,
        attachment: cards[i]?.fd ?? "nat",
      })),
    });
    const made = new VzMachine(library, configuration, (i, why) => void cards[i]?.rejoin(why));
    vz = made;
    undo.push(() => made.close());
    await made.start();
    return {
      description: "runs in the host agent, by Virtualization.framework",
      ended: made.ended.then((why) => (why === "" ? "" : machineEnd(why, paths))),
      reconnects: true,
      connectVsock: (port) => made.connect(port),
      pressPowerButton: async () => made.pressPowerButton(),
      networkReturned: (network) => {
        for (const card of cards)
          if (card?.backend.absence === "told" && card.backend.network === network)
            void card.rejoin("its network was away");
      },
      end: async () => {
        await endSshMaster(paths);
        await Promise.race([made.stop().catch(() => {}), sleep(STOP_LIMIT_MS)]);
        await undoAll();
        remove(paths.sshControl);
      },
    };
  } catch (error) {
    await undoAll();
    const { message } = error as Error;
    throw message.startsWith("Cannot ")
      ? error
      : new Error(`Cannot start the virtual machine: ${message}`, { cause: error });
  }
}

/** What tells others that the instance has a machine; both end with this process at the latest. */
function holdLocks(paths: InstancePaths, undo: (() => void)[]): void {
  const lock = tryLockForChild(paths.machineLock);
  const pidFile = lock === undefined ? undefined : tryLockPidFile(paths.vzPid);
  if (lock === undefined || pidFile === undefined)
    throw new Error(
      `Cannot start the virtual machine: one of this instance runs already (its process holds ${paths.machineLock})`,
    );
  undo.push(
    () => lock.close(),
    () => pidFile.release(),
  );
}

function machineEnd(why: string, paths: InstancePaths): string {
  const serial = lastLines(paths.serialLog, 3);
  return `The virtual machine ended unexpectedly: ${why}${serial === "" ? "" : `\nlast lines of its console:\n${serial}`}`;
}
