/** Facts for `limanet doctor`: what root trusts, and what sudo allows. */
import type { PrivilegeFacts } from "../../doctor/privilege.ts";
import { hostAccounts, hostFiles } from "../../host/file-tree.ts";
import { groupId, hostUser, isOwnGroup } from "../../host/machine.ts";
import { findProgram, runCommand, selfCommand } from "../../host/process.ts";
import { platform } from "../../instance/settings.ts";
import { groupOf } from "../../privilege/commands.ts";
import { validationProblem } from "../../privilege/validation.ts";
import type { Log } from "../../trace/log.ts";
import { sudoAllows, verifySudo } from "../sudo-access.ts";
import { STATE_FOLDER } from "../vmnet/host-network.ts";
import type { Surroundings } from "./surroundings.ts";

const CHECK_LIMIT_MS = 10_000;

export async function privilegeFacts(
  { networks, managed }: Surroundings,
  log: Log,
): Promise<PrivilegeFacts> {
  const facts: PrivilegeFacts = {
    isUsed: managed.length > 0 && !(await mayMakeNetworks()),
    hasSudo: findProgram("sudo") !== undefined,
    folders: folders(),
  };
  if (networks === undefined || !facts.isUsed) return facts;
  const system = platform();
  const unsafe = validationProblem(networks, system, hostFiles, hostAccounts(system.rootGroup));
  if (unsafe !== undefined) facts.unsafe = unsafe;
  const { name: user, uid } = hostUser();
  const group = groupOf(networks, system);
  if (uid !== 0 && group !== "everyone" && !isOwnGroup(groupId(group) ?? -1))
    facts.notInGroup = { user, group };
  if (unsafe !== undefined || !facts.hasSudo) return facts;
  const { sudoers: file } = networks.paths;
  try {
    await verifySudo(networks, file, log);
    if (uid !== 0 && facts.notInGroup === undefined && !(await sudoAllows(networks, log)))
      facts.refused = { file, user };
  } catch (error) {
    facts.sudoers = (error as Error).message;
  }
  return facts;
}

/** Without root? Then root's permissions do not matter. */
async function mayMakeNetworks(): Promise<boolean> {
  if (hostUser().uid === 0) return false;
  return (await runCommand([...selfCommand(), "vmnet", "--check"], CHECK_LIMIT_MS)).code === 0;
}

/** the folders of our own daemon that are there, on Linux */
function folders(): PrivilegeFacts["folders"] {
  const parent = STATE_FOLDER.slice(0, STATE_FOLDER.lastIndexOf("/"));
  return [
    { path: parent, isPrivate: false },
    { path: STATE_FOLDER, isPrivate: true },
  ].flatMap(({ path, isPrivate }) => {
    const found = hostFiles.lstat(path);
    if (found === undefined) return [];
    return { path, isPrivate, owner: found.uid, group: found.gid, mode: found.mode };
  });
}
