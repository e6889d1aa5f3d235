/** What a vmnet network's daemon keeps of root's privileges on Linux (docs/privileges.md). */
import { dirname } from "node:path";
import { hasCapability, keepCapabilities, type Capability } from "../../host/capabilities.ts";
import { hostFiles } from "../../host/file-tree.ts";
import { realPath } from "../../host/files.ts";
import { hostPlatform, isOwnGroup } from "../../host/machine.ts";

/** This user may not make a network; root may. */
export class NotPermittedError extends Error {
  override readonly name = "NotPermittedError";
}

export interface Needs {
  /** files that are made and removed */
  files: readonly string[];
  /** the group that files are given to */
  gid?: number;
  /** a port below 1024 is served */
  isServer: boolean;
}

/** Gives away what is not needed, which starts the program anew; throws when the network cannot be made at all. */
export function keepNeededPrivileges({ files, gid, isServer }: Needs): void {
  if (hostPlatform() !== "linux") return;
  verifyNetAdmin();
  const isForeign = files.some((file) => !isRoots(realPath(dirname(file))));
  const wanted: [Capability, boolean][] = [
    ["NET_ADMIN", true],
    ["NET_BIND_SERVICE", isServer],
    ["CHOWN", gid !== undefined && !isOwnGroup(gid)],
    ["DAC_OVERRIDE", isForeign],
  ];
  keepCapabilities(wanted.flatMap(([name, isNeeded]) => (isNeeded ? [name] : [])));
}

/** Throws when this user may not make networks on Linux. */
export function verifyNetAdmin(): void {
  if (!hasCapability("NET_ADMIN"))
    throw new NotPermittedError(
      "Cannot make the network: only root may do that, or who has CAP_NET_ADMIN (run it by sudo)",
    );
}

/** Can root write into the folder as its owner, or as anybody can? */
function isRoots(folder: string): boolean {
  const facts = hostFiles.lstat(folder);
  return (
    facts === undefined ||
    (facts.uid === 0 && (facts.mode & 0o200) !== 0) ||
    (facts.gid === 0 && (facts.mode & 0o020) !== 0) ||
    (facts.mode & 0o002) !== 0
  );
}
