/** The real files and accounts, as the checks of lib/privilege see them. */
import { lstatSync, readFileSync, type Stats } from "node:fs";
import type { Accounts, FileFacts, FileTree } from "../privilege/path-check.ts";

const OUT_OF_SIGHT = new Set(["ENOENT", "ENOTDIR", "EACCES"]);

export const hostFiles: FileTree = {
  lstat(path) {
    let stats: Stats;
    try {
      stats = lstatSync(path);
    } catch (error) {
      if (OUT_OF_SIGHT.has((error as { code?: string }).code ?? "")) return undefined;
      throw error;
    }
    return { kind: kindOf(stats), uid: stats.uid, gid: stats.gid, mode: stats.mode & 0o7777 };
  },
};

function kindOf(stats: Stats): FileFacts["kind"] {
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isDirectory()) return "folder";
  return stats.isFile() ? "file" : "other";
}

/** `rootGroup`: its name; its number is 0 on macOS and Linux alike */
export function hostAccounts(rootGroup: string): Accounts {
  return { rootGroup: { name: rootGroup, gid: 0 }, daemonGid: primaryGroup("daemon") };
}

/** passwd(5); macOS lists the accounts of the system there too */
function primaryGroup(account: string): number | undefined {
  try {
    const lines = readFileSync("/etc/passwd", "utf8").split("\n");
    const fields = lines.map((line) => line.split(":")).find(([name]) => name === account);
    return fields === undefined ? undefined : Number(fields[3]);
  } catch {
    return undefined;
  }
}
