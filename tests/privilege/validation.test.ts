/** What keeps root from acting on networks.yaml (specification, section 4.5), and which reason comes first. */
import { expect, test } from "bun:test";
import type { NetworkConfig, NetworksConfig } from "../../lib/config/networks.ts";
import type { FileFacts } from "../../lib/privilege/path-check.ts";
import { platformFacts } from "../../lib/privilege/platform.ts";
import { definitionProblem, validationProblem } from "../../lib/privilege/validation.ts";

const MAC = platformFacts("darwin", "staff");
const FOLDER: FileFacts = { kind: "folder", uid: 0, gid: 0, mode: 0o755 };
const TREE: Record<string, FileFacts> = {
  "/": FOLDER,
  "/opt": FOLDER,
  "/opt/x": { ...FOLDER, kind: "file" },
  "/run": FOLDER,
  "/etc": FOLDER,
  "/home": { ...FOLDER, uid: 501 },
  "/var": { kind: "symlink", uid: 0, gid: 0, mode: 0o777 },
};
const PATHS = { socketVMNet: "/opt/x", varRun: "/run/a/b", sudoers: "/etc/lima" };

const problem = (paths: Partial<NetworksConfig["paths"]>, more: Partial<NetworksConfig> = {}) =>
  validationProblem(
    { paths: { ...PATHS, ...paths }, group: "admin", networks: {}, ...more },
    MAC,
    { lstat: (path) => TREE[path] },
    { rootGroup: { name: "wheel", gid: 0 }, daemonGid: 1 },
  );

const field = (name: string, rest: string) =>
  new RegExp(`^networks\\.yaml field \`paths\\.${name}\` error: ${rest}`);
const NOT_INSTALLED = /^networks\.yaml: "\/opt\/y" \(`paths\.socketVMNet`\) has to be installed: /;

test.each<[Partial<NetworksConfig["paths"]>, RegExp | undefined]>([
  [{}, undefined],
  [{ socketVMNet: "" }, undefined],
  [{ sudoers: "" }, undefined],
  [{ sudoers: "/etc/nowhere/lima" }, undefined],
  [{ varRun: "/run" }, undefined],
  [{ socketVMNet: "x" }, field("socketVMNet", '"x" does not begin with /')],
  [{ socketVMNet: "/home/x", varRun: "y", sudoers: "z" }, field("varRun", '"y" does not begin')],
  [{ socketVMNet: "/home", varRun: "y" }, field("socketVMNet", "folder /home does not belong")],
  [{ varRun: "" }, field("varRun", "it is empty")],
  [{ varRun: "/home/a/b" }, field("varRun", "folder /home does not belong to root")],
  [{ varRun: "/var/run" }, field("varRun", "/var is a symbolic link")],
  [{ varRun: "/run/new *" }, field("varRun", '"/run/new \\*" has a space')],
  [{ varRun: "/run/new*" }, field("varRun", '"/run/new\\*" has ".." or a character')],
  [{ varRun: "/run/a", sudoers: "etc" }, field("sudoers", '"etc" does not begin')],
  [{ sudoers: "/home" }, field("sudoers", "folder /home does not belong")],
  // that it is missing is said after all else
  [{ socketVMNet: "/opt/y" }, NOT_INSTALLED],
  [{ socketVMNet: "/opt/y", varRun: "/home/a" }, field("varRun", "folder /home")],
  [{ socketVMNet: "/opt/y", sudoers: "/home" }, field("sudoers", "folder /home")],
])("paths %j", (paths, pattern) => {
  if (pattern === undefined) expect(problem(paths)).toBeUndefined();
  else expect(problem(paths)).toMatch(pattern);
});

const HOST: NetworkConfig = { mode: "host" };

test.each<[string, Partial<NetworksConfig>, RegExp | undefined]>([
  ["nothing said", { group: "" }, undefined],
  ["no mode", { networks: { a: { mode: "" } } }, undefined],
  ["an empty interface", { networks: { a: { ...HOST, interface: "" } } }, undefined],
  ["an unknown mode", { networks: { a: { mode: "nat" } } }, undefined],
  ["a group", { group: "a b" }, /^networks\.yaml: invalid group: .*"a b"$/],
  ["a name", { networks: { "a b": HOST } }, /invalid network name: .*"a b"$/],
  ["an empty name", { networks: { "": HOST } }, /invalid network name: .*""$/],
  ["a mode", { networks: { a: { mode: "x," } } }, /invalid mode for network a: .*"x,"$/],
  [
    "an interface",
    { networks: { a: { mode: "bridged", interface: "en0,up" } } },
    /invalid interface for network a: .*"en0,up"$/,
  ],
  ["group before name", { group: "-", networks: { "-": HOST } }, /invalid group/],
  [
    "the first network by name, its mode before its interface",
    { networks: { b: { mode: "-" }, a: { mode: "-", interface: "-" } } },
    /invalid mode for network a/,
  ],
])("definitions: %s", (_what, changes, pattern) => {
  const config: NetworksConfig = { paths: PATHS, group: "admin", networks: {}, ...changes };
  const found = definitionProblem(config, MAC);
  if (pattern === undefined) expect(found).toBeUndefined();
  else expect(found).toMatch(pattern);
});

test("definitions are checked before paths", () => {
  expect(problem({ socketVMNet: "x" }, { group: "-" })).toContain("invalid group");
});

test("a primary group that sudo would not take for one is refused, too", () => {
  const config: NetworksConfig = { paths: PATHS, group: "", networks: {} };
  const linux = platformFacts("linux", "domain users");
  expect(definitionProblem(config, linux)).toMatch(/invalid group: .*"domain users"$/);
});
