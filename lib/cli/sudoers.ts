/** `limanet sudoers` (specification, section 6.4): what it prints is for root to install; nothing is ever written. */
import { networksFile } from "../config/paths.ts";
import { validateForRoot, verifySudo, wantedSudoers } from "../daemon/sudo-access.ts";
import { limanetHome } from "../host/machine.ts";
import { warn, writeOut } from "../host/terminal.ts";
import { loadNetworks } from "../instance/settings.ts";
import type { Log } from "../trace/log.ts";

export async function sudoers(file: string | undefined, check: boolean, log: Log): Promise<number> {
  const home = limanetHome();
  const networks = loadNetworks(home, warn);
  validateForRoot(home, networks);
  if (!check) {
    if (file !== undefined)
      throw new Error("the file argument can be specified only for --check mode");
    writeOut(wantedSudoers(networks));
    return 0;
  }
  const installed = file ?? networks.paths.sudoers;
  if (installed === "")
    throw new Error(`no sudoers file defined in \`${networksFile(home)}\` (set paths.sudoers)`);
  await verifySudo(networks, installed, log);
  writeOut(`\`${installed}\` is up-to-date (or sudo doesn't require a password)\n`);
  return 0;
}
