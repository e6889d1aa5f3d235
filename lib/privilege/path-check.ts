/**
 * May root trust a path? Nobody but root may be able to change what it leads to, at any step from the file up to `/`
 * (specification, section 4.5, step 2). The order of the rules is Lima's; the first that fails is told.
 *
 * Beyond Lima, a path must be plain: characters that mean something in a sudoers file, and `..`, are refused, since
 * the command lines of that file would then not mean what they say.
 */
import { posix } from "node:path";

export interface FileFacts {
  kind: "file" | "folder" | "symlink" | "other";
  uid: number;
  gid: number;
  /** permission bits, the sticky bit among them */
  mode: number;
}

/** how the files look from here; undefined: there is none, or it cannot be seen */
export interface FileTree {
  lstat(path: string): FileFacts | undefined;
}

/** the accounts that count besides root's uid, which is 0 */
export interface Accounts {
  rootGroup: { name: string; gid: number };
  /** primary group of the account `daemon`; undefined where there is no such account */
  daemonGid: number | undefined;
}

export type PathRule =
  | "absolute"
  | "blank"
  | "plain"
  | "missing"
  | "symlink"
  | "owner"
  | "group"
  | "closed"
  | "others";

export interface PathProblem {
  rule: PathRule;
  /** the file or folder that is at fault */
  path: string;
  /** what is wrong with it and what to do */
  message: string;
}

/** an ordinary path, or the folder of the daemons' sockets and pid files */
export type PathUse = "ordinary" | "varRun";

const PLAIN = /^[\p{L}\p{N}/._@%+-]+$/u;
const GROUP_WRITES = 0o020;
const OTHERS_WRITE = 0o002;
const STICKY = 0o1000;

/** The first rule that a path breaks; an empty path breaks none. */
export function checkPath(
  path: string,
  use: PathUse,
  tree: FileTree,
  accounts: Accounts,
): PathProblem | undefined {
  if (path === "") return undefined;
  return checkForm(path) ?? checkSteps(posix.resolve("/", path), use, tree, accounts);
}

function checkForm(path: string): PathProblem | undefined {
  const problem = (rule: PathRule, message: string): PathProblem => ({ rule, path, message });
  if (!path.startsWith("/"))
    return problem(
      "absolute",
      `${JSON.stringify(path)} does not begin with / (write the whole path)`,
    );
  if (path.includes(" "))
    return problem("blank", `${JSON.stringify(path)} has a space in it (choose a path without)`);
  if (!PLAIN.test(path) || path.split("/").includes(".."))
    return problem(
      "plain",
      `${JSON.stringify(path)} has ".." or a character in it that sudoers files give a meaning (choose a path of letters, digits and . _ @ % + -)`,
    );
  return undefined;
}

function checkSteps(
  leaf: string,
  use: PathUse,
  tree: FileTree,
  accounts: Accounts,
): PathProblem | undefined {
  for (let path = leaf; ; path = posix.dirname(path)) {
    const problem = checkStep(path, use, tree.lstat(path), accounts);
    if (problem !== undefined) return { path, ...problem };
    if (path === "/") return undefined;
  }
}

function checkStep(
  path: string,
  use: PathUse,
  facts: FileFacts | undefined,
  { rootGroup, daemonGid }: Accounts,
): { rule: PathRule; message: string } | undefined {
  if (facts === undefined)
    return { rule: "missing", message: `${path} does not exist (choose a path that does)` };
  const { kind, uid, gid, mode } = facts;
  const isFolder = kind === "folder";
  const what = `${isFolder ? "folder" : kind === "file" ? "file" : "entry"} ${path}`;
  const state = `owner ${uid}, group ${gid}, mode ${mode.toString(8).padStart(4, "0")}`;
  if (kind === "symlink")
    return {
      rule: "symlink",
      message: `${path} is a symbolic link, which could be changed to lead elsewhere (write the path it leads to: readlink -f ${path})`,
    };
  if (uid !== 0)
    return {
      rule: "owner",
      message: `${what} does not belong to root (${state}): sudo chown root ${path}, or choose a path where all belongs to root`,
    };
  const groupMayWrite =
    gid === rootGroup.gid || (use === "varRun" && daemonGid !== undefined && gid === daemonGid);
  if ((mode & GROUP_WRITES) !== 0 && !groupMayWrite)
    return {
      rule: "group",
      message: `${what} can be written by a group other than ${rootGroup.name} (${state}): sudo chmod g-w ${path}`,
    };
  if (use === "varRun" && isFolder && (mode & 0o001) === 0) {
    const daemonEnters = (mode & 0o010) !== 0 && daemonGid !== undefined && gid === daemonGid;
    if (!daemonEnters)
      return {
        rule: "closed",
        message: `${what} cannot be entered by the networks' users (${state}): sudo chmod o+x ${path}`,
      };
  }
  if ((mode & OTHERS_WRITE) !== 0)
    return {
      rule: "others",
      // a folder such as /tmp has to stay as it is
      message: `${what} can be written by everybody (${state}): ${(mode & STICKY) === 0 ? `sudo chmod go-w ${path}` : "choose a path elsewhere"}`,
    };
  return undefined;
}

/** Why the daemons' group could not write to their folder once it is made (specification, section 7); undefined: it could. */
export function unwritableByDaemon(
  varRun: string,
  tree: FileTree,
  { daemonGid }: Accounts,
): string | undefined {
  const folder = tree.lstat(varRun);
  if (folder !== undefined && (folder.mode & GROUP_WRITES) !== 0 && folder.gid === daemonGid)
    return undefined;
  return `${varRun} doesn't seem to be writable by the daemon (sudo chgrp daemon ${varRun} && sudo chmod g+w ${varRun})`;
}
