/** What the host agent does in a guest, by ssh. */
import { hostnameOf } from "../config/names.ts";
import type { InstancePaths } from "../config/paths.ts";
import { sleep } from "../host/clock.ts";
import { exists } from "../host/files.ts";
import { runCommand } from "../host/process.ts";

const STEP_MS = 100;
const SSH_LIMIT_MS = 5000;

export async function waitForSsh(
  paths: InstancePaths,
  name: string,
  over: () => boolean,
): Promise<void> {
  while (!over()) {
    const { code } = await inGuest(paths, name, "true");
    if (code === 0) return;
    await sleep(STEP_MS);
  }
}

/** Waits until a file of the guest holds the id of this boot. */
export async function waitForFile(
  paths: InstancePaths,
  name: string,
  file: string,
  id: string,
  over: () => boolean,
): Promise<void> {
  while (!over()) {
    const { code, stdout } = await inGuest(paths, name, `cat ${file}`);
    if (code === 0 && stdout.trim() === id) return;
    await sleep(STEP_MS);
  }
}

/** Runs a command of the guest. */
export const inGuest = (paths: InstancePaths, name: string, command: string) =>
  runCommand(
    ["ssh", "-F", paths.sshConfig, "-o", "ConnectTimeout=4", hostnameOf(name), command],
    SSH_LIMIT_MS,
  );

/** Ends the connection that all ssh commands share; it would outlive both us and the machine. */
export async function endSshMaster(paths: InstancePaths): Promise<void> {
  if (!exists(paths.sshControl)) return;
  const command = ["ssh", "-F", paths.sshConfig, "-O", "exit", "ignored"];
  await runCommand(command, SSH_LIMIT_MS).catch(() => {});
}
