/** May this user have root run what networks.yaml says, and does root's own file say the same? (specification, sections 4.5 and 6.4) */
import type { NetworksConfig } from "../config/networks.ts";
import { networksFile } from "../config/paths.ts";
import { readTextIfThere } from "../host/files.ts";
import { hostAccounts, hostFiles } from "../host/file-tree.ts";
import { findProgram, isProgram, runCommand, type Finished } from "../host/process.ts";
import { platform } from "../instance/settings.ts";
import { asRoot, groupOf } from "../privilege/commands.ts";
import { allowedCommands, installHint, shortDiff, sudoersText } from "../privilege/sudoers.ts";
import { validationProblem } from "../privilege/validation.ts";
import type { Log } from "../trace/log.ts";

/** for a command that ends by itself */
const COMMAND_LIMIT_MS = 30_000;

/** is the program that serves shared, host and bridged networks there? */
export const isInstalled = ({ paths }: NetworksConfig): boolean =>
  paths.socketVMNet !== "" && isProgram(paths.socketVMNet);

/** the text that belongs into the sudoers file */
export const wantedSudoers = (networks: NetworksConfig): string =>
  sudoersText(networks, platform(), isInstalled(networks));

/** Throws why root may not act on networks.yaml. */
export function validateForRoot(home: string, networks: NetworksConfig): void {
  const facts = platform();
  const problem = validationProblem(networks, facts, hostFiles, hostAccounts(facts.rootGroup));
  if (problem !== undefined)
    throw new Error(
      `Cannot use shared, host or bridged networks: ${problem} (the file is ${networksFile(home)})`,
    );
}

/** Runs a command of sudo; each one is logged. */
export async function runSudo(command: readonly string[], log: Log): Promise<Finished> {
  if (findProgram("sudo") === undefined)
    throw new Error(
      "Cannot ask root: sudo is not installed (on Debian and Ubuntu: apt install sudo)",
    );
  log.info?.(`running: ${command.join(" ")}`);
  return runCommand(command, COMMAND_LIMIT_MS);
}

/** Has root run a command of networks.yaml; throws what it says when that fails. */
export async function runAsRoot(
  networks: NetworksConfig,
  command: readonly string[],
  log: Log,
): Promise<void> {
  const facts = platform();
  const { code, stderr } = await runSudo(asRoot(command, facts), log);
  if (code !== 0)
    throw new Error(
      `Cannot run \`${command.join(" ")}\` as root: ${stderr.trim() || `it ended with ${code}`} (the sudoers file lets members of the group ${groupOf(networks, facts)} do it; limanet sudoers --check tells more)`,
    );
}

/** Throws when root would not run the commands of networks.yaml without a password; "" for `file`: only sudo is asked. */
export async function verifySudo(networks: NetworksConfig, file: string, log: Log): Promise<void> {
  if (file === "") {
    if (await needsNoPassword(networks, log)) return;
    throw new Error(
      "Cannot ask root: sudo wants a password (set paths.sudoers in networks.yaml, then run limanet sudoers)",
    );
  }
  let text: string | undefined;
  try {
    text = readTextIfThere(file);
  } catch (error) {
    // ordinary users may not look into this folder on many systems; sudo knows all the same
    if (await sudoAllows(networks, log)) return;
    throw cannotRead(file, (error as Error).message);
  }
  if (text === undefined) {
    if (await needsNoPassword(networks, log)) return;
    throw cannotRead(file, "there is no such file");
  }
  const wanted = wantedSudoers(networks);
  if (text !== wanted)
    throw new Error(
      `sudoers file \`${file}\` is out of sync and must be regenerated ${installHint(file)}:\n${shortDiff(text, wanted)}`,
    );
}

const cannotRead = (file: string, why: string): Error =>
  new Error(`can't read \`${file}\`: ${why} ${installHint(file)}`);

/** Does sudo run anything without a password? Passwords that it remembers are forgotten first. */
async function needsNoPassword(networks: NetworksConfig, log: Log): Promise<boolean> {
  const forget = await runSudo(["sudo", "-k"], log);
  if (forget.code !== 0) return false;
  if (!isInstalled(networks)) return true;
  return (await runSudo(asRoot(["true"], platform()), log)).code === 0;
}

/** Does sudo say that it would run every command of the file? */
export async function sudoAllows(networks: NetworksConfig, log: Log): Promise<boolean> {
  if (await needsNoPassword(networks, log)) return true;
  const facts = platform();
  for (const command of allowedCommands(networks, facts)) {
    const [sudo = "", ...words] = asRoot(command, facts);
    if ((await runSudo([sudo, "--list", ...words], log)).code !== 0) return false;
  }
  return true;
}
