/** How an instance is reached by ssh (specification, section 19). */
import { hostnameOf } from "../config/names.ts";
import { configFolder, identityFile, instancePaths } from "../config/paths.ts";
import { exists, listFolder, makeFolder, readTextIfThere, remove, rename } from "../host/files.ts";
import { withLock } from "../host/lock.ts";
import { findProgram, runCommand } from "../host/process.ts";

/** Makes the key pair of this home folder if there is none; the public key. */
export async function sshPublicKey(home: string): Promise<string> {
  const identity = identityFile(home);
  if (!exists(identity)) {
    makeFolder(configFolder(home), 0o700);
    // instances that start together need one key
    await withLock(configFolder(home), async () => {
      if (!exists(identity)) await makeKeyPair(identity);
    });
  }
  return (readTextIfThere(`${identity}.pub`) ?? "").trim();
}

async function makeKeyPair(identity: string): Promise<void> {
  if (findProgram("ssh-keygen") === undefined) {
    throw new Error(
      "Cannot make an ssh key: ssh-keygen is not installed (on Debian and Ubuntu: apt install openssh-client)",
    );
  }
  // somebody may be killed at any step: the key that counts comes last, and then its public half is there
  const draft = `${identity}.tmp`;
  for (const path of [draft, `${draft}.pub`]) remove(path);
  const made = await runCommand(
    ["ssh-keygen", "-t", "ed25519", "-q", "-N", "", "-C", "lima", "-f", draft],
    30_000,
  );
  if (made.code !== 0) throw new Error(`Cannot make an ssh key: ${made.stderr.trim()}`);
  rename(`${draft}.pub`, `${identity}.pub`);
  rename(draft, identity);
}

/** further keys of the user, for ssh.loadDotSSHPubKeys */
export function userPublicKeys(userHome: string): string[] {
  return listFolder(`${userHome}/.ssh`)
    .filter((name) => name.endsWith(".pub"))
    .map((name) => (readTextIfThere(`${userHome}/.ssh/${name}`) ?? "").trim())
    .filter((key) => key !== "");
}

export interface SshTarget {
  home: string;
  name: string;
  user: string;
  port: number;
  forwardAgent: boolean;
  forwardX11: boolean;
  forwardX11Trusted: boolean;
}

const yes = (key: string, isOn: boolean): [string, string][] => (isOn ? [[key, "yes"]] : []);

/** options as they stand in ssh_config(5) */
export function sshOptions({
  home,
  name,
  user,
  port,
  forwardAgent,
  forwardX11,
  forwardX11Trusted,
}: SshTarget): [string, string][] {
  const control = instancePaths(home, name).sshControl;
  return [
    ["IdentityFile", `"${identityFile(home)}"`],
    ["StrictHostKeyChecking", "no"],
    ["UserKnownHostsFile", "/dev/null"],
    ["NoHostAuthenticationForLocalhost", "yes"],
    ["PreferredAuthentications", "publickey"],
    ["Compression", "no"],
    ["BatchMode", "yes"],
    ["IdentitiesOnly", "yes"],
    ["LogLevel", "ERROR"],
    ["User", user],
    ["ControlMaster", "auto"],
    ["ControlPath", `"${control}"`],
    ["ControlPersist", "yes"],
    ...yes("ForwardAgent", forwardAgent),
    ...yes("ForwardX11", forwardX11),
    ...yes("ForwardX11Trusted", forwardX11Trusted),
    ["Hostname", "127.0.0.1"],
    ["Port", String(port)],
  ];
}

/** the ssh.config file of an instance */
export function sshConfigText(target: SshTarget): string {
  const lines = sshOptions(target).map(([key, value]) => `  ${key} ${value}\n`);
  return `# written by limanet at every start\nHost ${hostnameOf(target.name)}\n${lines.join("")}`;
}
