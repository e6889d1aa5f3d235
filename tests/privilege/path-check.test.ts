/** Path checks (specification, section 4.5) on a file tree in memory: each rule, its border, and the order of the rules. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  checkPath,
  unwritableByDaemon,
  type Accounts,
  type FileFacts,
  type FileTree,
  type PathRule,
  type PathUse,
} from "../../lib/privilege/path-check.ts";

const WHEEL = 0;
const DAEMON = 1;
const STAFF = 20;
const ACCOUNTS: Accounts = { rootGroup: { name: "wheel", gid: WHEEL }, daemonGid: DAEMON };

const folder = (mode = 0o755, uid = 0, gid = WHEEL): FileFacts => ({
  kind: "folder",
  uid,
  gid,
  mode,
});
const file = (mode = 0o755, uid = 0, gid = WHEEL): FileFacts => ({ kind: "file", uid, gid, mode });
const link: FileFacts = { kind: "symlink", uid: 0, gid: 0, mode: 0o777 };

const treeOf = (entries: Record<string, FileFacts>): FileTree => ({
  lstat: (path) => entries[path],
});
const GOOD = { "/": folder(), "/opt": folder(), "/opt/bin": folder(), "/opt/bin/x": file() };
const PATH = "/opt/bin/x";

test.each<[string, PathUse, Record<string, FileFacts>, PathRule | undefined, string, RegExp?]>([
  ["all in order", "ordinary", {}, undefined, ""],
  ["read-only file", "ordinary", { [PATH]: file(0o444) }, undefined, ""],
  [
    "file of a user",
    "ordinary",
    { [PATH]: file(0o755, 501) },
    "owner",
    PATH,
    /owner 501, group 0, mode 0755.*sudo chown root \/opt\/bin\/x/,
  ],
  [
    "folder of a user",
    "ordinary",
    { "/opt": folder(0o755, 501) },
    "owner",
    "/opt",
    /folder \/opt does not belong to root.*sudo chown root \/opt,/,
  ],
  ["/ of a user", "ordinary", { "/": folder(0o755, 501) }, "owner", "/"],
  [
    "file that is a link",
    "ordinary",
    { [PATH]: link },
    "symlink",
    PATH,
    /readlink -f \/opt\/bin\/x/,
  ],
  ["folder that is a link", "ordinary", { "/opt/bin": link }, "symlink", "/opt/bin"],
  ["group of root writes", "ordinary", { "/opt": folder(0o775) }, undefined, ""],
  [
    "other group writes",
    "ordinary",
    { "/opt": folder(0o775, 0, STAFF) },
    "group",
    "/opt",
    /group other than wheel \(owner 0, group 20, mode 0775\): sudo chmod g-w \/opt$/,
  ],
  ["group daemon writes", "ordinary", { "/opt": folder(0o775, 0, DAEMON) }, "group", "/opt"],
  ["group daemon writes", "varRun", { "/opt": folder(0o775, 0, DAEMON) }, undefined, ""],
  ["group of root writes", "varRun", { "/opt": folder(0o775) }, undefined, ""],
  ["other group writes", "varRun", { "/opt": folder(0o775, 0, STAFF) }, "group", "/opt"],
  ["other group only reads", "varRun", { "/opt": folder(0o755, 0, STAFF) }, undefined, ""],
  ["folder closed to others", "ordinary", { "/opt": folder(0o750) }, undefined, ""],
  [
    "folder closed to others",
    "varRun",
    { "/opt": folder(0o750) },
    "closed",
    "/opt",
    /sudo chmod o\+x \/opt$/,
  ],
  [
    "folder closed to others but daemon's group",
    "varRun",
    { "/opt": folder(0o750, 0, DAEMON) },
    undefined,
    "",
  ],
  [
    "folder closed to daemon's group too",
    "varRun",
    { "/opt": folder(0o740, 0, DAEMON) },
    "closed",
    "/opt",
  ],
  ["file that is not executable", "varRun", { [PATH]: file(0o600) }, undefined, ""],
  [
    "others write",
    "ordinary",
    { "/opt": folder(0o757) },
    "others",
    "/opt",
    /written by everybody.*: sudo chmod go-w \/opt$/,
  ],
  [
    "others write to a sticky folder",
    "ordinary",
    { "/opt": folder(0o1777) },
    "others",
    "/opt",
    /mode 1777\): choose a path elsewhere$/,
  ],
  ["others write", "varRun", { "/opt": folder(0o777) }, "others", "/opt"],
])("%s, as %s", (_what, use, changes, rule, where, message = /./) => {
  const problem = checkPath(PATH, use, treeOf({ ...GOOD, ...changes }), ACCOUNTS);
  expect(problem?.rule).toBe(rule as never);
  if (rule === undefined) return;
  expect(problem!.path).toBe(where);
  expect(problem!.message).toMatch(message);
  expect(problem!.message).toContain(where);
});

test.each<[string, PathRule | undefined]>([
  ["", undefined],
  ["/", undefined],
  ["//opt//bin/x/", undefined],
  ["opt/bin/x", "absolute"],
  [" /opt/bin/x", "absolute"],
  ["/opt/b in/x", "blank"],
  ["/opt/b\tin/x", "plain"],
  ["/opt/x\n%everyone\tALL=(ALL)\tNOPASSWD:ALL", "plain"],
  ["/opt/*", "plain"],
  ["/opt/a,b", "plain"],
  ["/opt/a:b", "plain"],
  ["/opt/a=b", "plain"],
  ["/opt/a\\b", "plain"],
  ["/opt/bin/../bin/x", "plain"],
  ["/opt/bin/y", "missing"],
  ["/nowhere/x", "missing"],
])("checkPath(%j) is refused by the rule %p", (path, rule) => {
  expect(checkPath(path, "ordinary", treeOf(GOOD), ACCOUNTS)?.rule).toBe(rule as never);
});

test("without an account daemon no other group than root's may hold varRun", () => {
  const tree = treeOf({ ...GOOD, "/opt": folder(0o775, 0, DAEMON) });
  const accounts = { ...ACCOUNTS, daemonGid: undefined };
  expect(checkPath(PATH, "varRun", tree, accounts)?.rule).toBe("group");
});

test.each<[FileFacts | undefined, boolean]>([
  [folder(0o775, 0, DAEMON), true],
  [folder(0o755, 0, DAEMON), false],
  [folder(0o775, 0, WHEEL), false],
  [undefined, false],
])("unwritableByDaemon() of %j", (facts, isWritable) => {
  const problem = unwritableByDaemon("/run/lima", { lstat: () => facts }, ACCOUNTS);
  if (isWritable) expect(problem).toBeUndefined();
  else
    expect(problem).toBe(
      "/run/lima doesn't seem to be writable by the daemon (sudo chgrp daemon /run/lima && sudo chmod g+w /run/lima)",
    );
});

/** the specification's list, in its order, as a naive model: one predicate a rule */
const MODEL: [PathRule, (facts: FileFacts, use: PathUse) => boolean][] = [
  ["symlink", ({ kind }) => kind === "symlink"],
  ["owner", ({ uid }) => uid !== 0],
  [
    "group",
    ({ mode, gid }, use) =>
      (mode & 0o20) !== 0 && gid !== WHEEL && !(use === "varRun" && gid === DAEMON),
  ],
  [
    "closed",
    ({ kind, mode, gid }, use) =>
      use === "varRun" &&
      kind === "folder" &&
      (mode & 1) === 0 &&
      !((mode & 0o10) !== 0 && gid === DAEMON),
  ],
  ["others", ({ mode }) => (mode & 2) !== 0],
];

const anyFacts = fc.record({
  kind: fc.constantFrom<FileFacts["kind"]>("file", "folder", "symlink", "other"),
  uid: fc.constantFrom(0, 0, 0, 501),
  gid: fc.constantFrom(WHEEL, DAEMON, STAFF),
  mode: fc.integer({ min: 0, max: 0o1777 }),
});

test("the first rule that fails, from the leaf to /, is the one that is told", () => {
  fc.assert(
    fc.property(
      fc.array(fc.option(anyFacts, { nil: undefined, freq: 8 }), { minLength: 1, maxLength: 4 }),
      fc.constantFrom<PathUse>("ordinary", "varRun"),
      (steps, use) => {
        // steps[0] is /, the last is the leaf
        const pathAt = (depth: number) => `/${["a", "b", "c"].slice(0, depth).join("/")}`;
        const tree: FileTree = {
          lstat: (path) => steps[path === "/" ? 0 : path.split("/").length - 1],
        };
        let expected: { rule: PathRule; path: string } | undefined;
        for (let depth = steps.length - 1; depth >= 0 && expected === undefined; depth--) {
          const facts = steps[depth];
          const rule =
            facts === undefined ? "missing" : MODEL.find(([, breaks]) => breaks(facts, use))?.[0];
          if (rule !== undefined) expected = { rule, path: pathAt(depth) };
        }
        const found = checkPath(pathAt(steps.length - 1), use, tree, ACCOUNTS);
        expect(found && { rule: found.rule, path: found.path }).toEqual(expected as never);
      },
    ),
    { numRuns: 2000 },
  );
});
