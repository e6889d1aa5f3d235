/** May root act on what networks.yaml says? (specification, section 4.5) */
import { posix } from "node:path";
import { identifierProblem } from "../config/names.ts";
import type { NetworksConfig } from "../config/networks.ts";
import { groupOf } from "./commands.ts";
import { checkPath, type Accounts, type FileTree } from "./path-check.ts";
import type { Platform } from "./platform.ts";

/** The first reason why root may not act on the file; undefined: there is none. */
export function validationProblem(
  config: NetworksConfig,
  platform: Platform,
  tree: FileTree,
  accounts: Accounts,
): string | undefined {
  return definitionProblem(config, platform) ?? pathsProblem(config.paths, tree, accounts);
}

/** Step 1: what becomes part of a command line is a plain word. */
export function definitionProblem(config: NetworksConfig, platform: Platform): string | undefined {
  const { networks } = config;
  const found = (what: string, text: string, where = "") => {
    const problem = identifierProblem(text);
    return problem === undefined ? undefined : `networks.yaml: invalid ${what}${where}: ${problem}`;
  };
  const ofNetwork = (name: string) => {
    const { mode, interface: interfaceName = "" } = networks[name]!;
    const where = ` for network ${name}`;
    return (
      found("network name", name) ??
      (mode === "" ? undefined : found("mode", mode, where)) ??
      (interfaceName === "" ? undefined : found("interface", interfaceName, where))
    );
  };
  const problems = [
    found("group", groupOf(config, platform)),
    ...Object.keys(networks).toSorted().map(ofNetwork),
  ];
  return problems.find((problem) => problem !== undefined);
}

/** Step 2: the paths, and whether the program of the networks is there. */
function pathsProblem(
  { socketVMNet, varRun, sudoers }: NetworksConfig["paths"],
  tree: FileTree,
  accounts: Accounts,
): string | undefined {
  const program = checkPath(socketVMNet, "ordinary", tree, accounts);
  // told last: what is wrong with the other paths matters more
  const isMissing = program?.rule === "missing";
  if (program !== undefined && !isMissing) return ofField("socketVMNet", program.message);
  if (varRun === "") return ofField("varRun", "it is empty (name a folder that belongs to root)");
  const folder =
    checkPath(existing(varRun, tree), "varRun", tree, accounts) ??
    // the part that does not exist yet becomes part of command lines as well
    checkPath(varRun, "varRun", { lstat: () => ROOT_FOLDER }, accounts);
  if (folder !== undefined) return ofField("varRun", folder.message);
  const file = checkPath(sudoers, "ordinary", tree, accounts);
  // the file may be yet to be made
  if (file !== undefined && file.rule !== "missing") return ofField("sudoers", file.message);
  if (isMissing)
    return `networks.yaml: ${JSON.stringify(socketVMNet)} (\`paths.socketVMNet\`) has to be installed: a program that takes socket_vmnet's command line, owned by root (docs/privileges.md tells which and how)`;
  return undefined;
}

const ROOT_FOLDER = { kind: "folder", uid: 0, gid: 0, mode: 0o755 } as const;

const ofField = (field: string, message: string): string =>
  `networks.yaml field \`paths.${field}\` error: ${message}`;

/** the path without its last components as far as they do not exist */
function existing(path: string, tree: FileTree): string {
  if (!path.startsWith("/")) return path;
  let found = posix.resolve("/", path);
  while (found !== "/" && tree.lstat(found) === undefined) found = posix.dirname(found);
  return found;
}
