/** Files and folders. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { orFileFailure } from "./file-failure.ts";

/** undefined when there is no such file */
export function readTextIfThere(path: string): string | undefined {
  return orFileFailure("read", path, () => {
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      const { code = "" } = error as { code?: string };
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw error;
    }
  });
}

/** Writes a file so that a reader, or a crash, sees the old content or the new one and nothing between. */
export function writeFileAtomically(
  path: string,
  content: string | Uint8Array,
  mode = 0o644,
): void {
  const temporary = `${path}.${process.pid}.tmp`;
  const octets = typeof content === "string" ? new TextEncoder().encode(content) : content;
  orFileFailure("write", path, () => {
    try {
      rmSync(temporary, { force: true });
      // made by nobody else: it has no other mode, and leads nowhere
      const fd = openSync(temporary, "wx", mode);
      try {
        for (let at = 0; at < octets.length;) at += writeSync(fd, octets, at);
        fchmodSync(fd, mode);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  });
}

export function makeFolder(path: string, mode = 0o755): void {
  orFileFailure("make the folder", path, () => mkdirSync(path, { recursive: true, mode }));
}

/** Changes which permissions new files of this process are denied. */
export function setUmask(change: (mask: number) => number): void {
  process.umask(change(process.umask()));
}

/** Removes a file or a whole folder; nothing happens when it is not there. */
export function remove(path: string): void {
  orFileFailure("remove", path, () => rmSync(path, { recursive: true, force: true }));
}

/** Gives a file another name, in one step; what had that name is gone. */
export const rename = (from: string, to: string): void => renameSync(from, to);

export const exists = (path: string): boolean => existsSync(path);

export const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

export const isSocket = (path: string): boolean =>
  lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;

/** what is at a path: a unix socket, something else, or nothing that we can see */
export function fileKind(path: string): "socket" | "other" | "none" {
  try {
    return statSync(path).isSocket() ? "socket" : "other";
  } catch {
    return "none";
  }
}

/** may this user change a file, or what is in a folder? */
export function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** whether a file is there; of a symbolic link that leads to nothing, where it leads */
export function linkTarget(path: string): "there" | "absent" | { leadsTo: string } {
  if (existsSync(path)) return "there";
  try {
    return { leadsTo: resolve(dirname(path), readlinkSync(path)) };
  } catch {
    return "absent";
  }
}

/** names in a folder, sorted; empty when it is not there */
export function listFolder(path: string): string[] {
  try {
    return readdirSync(path).toSorted();
  } catch {
    return [];
  }
}

/** names of the folders in a folder, sorted; empty when it is not there */
export function listFolders(path: string): string[] {
  return listFolder(path).filter((name) =>
    statSync(`${path}/${name}`, { throwIfNoEntry: false })?.isDirectory(),
  );
}

/** the path with every symbolic link resolved, as far as it exists */
export function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path
      ? path
      : `${realPath(parent)}${path.slice(parent === "/" ? 0 : parent.length)}`;
  }
}

/** the last lines of a text file, for error messages; empty when there is none */
export function lastLines(path: string, count: number): string {
  const text = readTextIfThere(path)?.trimEnd() ?? "";
  return text.split("\n").slice(-count).join("\n");
}
