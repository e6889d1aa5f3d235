/** The house rules as tests: who may import whom, who may touch the machine, and that the map is the territory. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const ROOT = new URL("..", import.meta.url).pathname;
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const files = (folder: string, pattern: RegExp) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => pattern.test(name))
    .map((name) => join(folder, name))
    .toSorted();
const SOURCES = files("lib", /\.ts$/);
const folderOf = (path: string) => path.split("/")[1]!;

/** rows of ARCHITECTURE.md's folder table: name → folders it may import, in the order of the table */
const TABLE = new Map<string, string>(
  [...read("ARCHITECTURE.md").matchAll(/^\| `lib\/(\w+)` \|[^|]*\| ([^|]*) \|$/gm)].map(
    ([, name, may]) => [name!, may!.trim()] as const,
  ),
);

function mayImport(folder: string): Set<string> {
  const names = [...TABLE.keys()];
  const may = TABLE.get(folder)!;
  if (may === "nothing") return new Set();
  if (may === "all of the above") return new Set(names.slice(0, names.indexOf(folder)));
  return new Set(may.split(" "));
}

const importsOf = (path: string) =>
  [...read(path).matchAll(/(?:from|import\(|import) ?"([^"]+)"/g)].map(([, name]) => name!);

test("ARCHITECTURE.md lists the folders of lib, all and no other", () => {
  expect([...TABLE.keys()].toSorted()).toEqual(readdirSync(join(ROOT, "lib")).toSorted());
});

test("every folder of lib imports only what ARCHITECTURE.md lets it", () => {
  const wrong = SOURCES.flatMap((path) => {
    const allowed = mayImport(folderOf(path));
    return importsOf(path)
      .filter((name) => name.startsWith("."))
      .map((name) => relative(ROOT, join(ROOT, dirname(path), name)))
      .filter((target) => folderOf(target) !== folderOf(path) && !allowed.has(folderOf(target)))
      .map((target) => `${path} imports ${target}`);
  });
  expect(wrong).toEqual([]);
});

/** Libraries and the one folder, or file, that has each: what can be swapped is in one place. */
const LIBRARIES: Record<string, string[]> = {
  yaml: ["lib/config/", "lib/guest/", "lib/instance/template.ts"],
  "dns-packet": ["lib/service/dns/"],
  "@commander-js/extra-typings": ["lib/cli/program.ts"],
  "cli-progress": ["lib/host/download.ts"],
};
/** modules of Node that only compute; Deno has them too */
const PURE_MODULES = new Set(["node:path", "node:buffer"]);

test("a library is imported only where it is at home", () => {
  const isAtHome = (path: string, name: string) => {
    if (name.startsWith(".") || PURE_MODULES.has(name)) return true;
    if (/^(node|bun)(:|$)/.test(name)) return folderOf(path) === "host";
    return LIBRARIES[name]?.some((place) => path.startsWith(place)) ?? false;
  };
  const wrong = SOURCES.flatMap((path) =>
    importsOf(path)
      .filter((name) => !isAtHome(path, name))
      .map((name) => `${path} imports ${name}`),
  );
  expect(wrong).toEqual([]);
});

test("every library of package.json is one the rules know", () => {
  const { dependencies } = JSON.parse(read("package.json")) as { dependencies: object };
  const known = new Set([...Object.keys(LIBRARIES), "commander"]);
  expect(Object.keys(dependencies).filter((name) => !known.has(name))).toEqual([]);
});

/** what reaches the machine: the runtime, clocks, timers, randomness, network, standard output */
const AMBIENT =
  /(?<![./])\b(?:Bun|process|Deno)\.\w|\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bMath\.random\b|\bcrypto\.\w|\b(?:setTimeout|setInterval|fetch|queueMicrotask)\(|\bconsole\.|\bnew (?:Worker|WebSocket)\b/;
const withoutComments = (text: string) =>
  text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");

test("only lib/host touches the machine", () => {
  const wrong = SOURCES.filter((path) => folderOf(path) !== "host").flatMap((path) =>
    withoutComments(read(path))
      .split("\n")
      .filter((line) => AMBIENT.test(line))
      .map((line) => `${path}: ${line.trim()}`),
  );
  expect(wrong).toEqual([]);
});

test("only lib/host calls the C library", () => {
  const wrong = SOURCES.filter((path) => folderOf(path) !== "host").filter((path) =>
    importsOf(path).some((name) => /\/host\/(libc|pinned)\.ts$/.test(name)),
  );
  expect(wrong).toEqual([]);
});

test("only lib/host/pinned.ts takes an address, and says for how long it is one", () => {
  const wrong = SOURCES.filter((path) => /import .*\bptr\b.* from "bun:ffi"/.test(read(path)));
  expect(wrong).toEqual(["lib/host/pinned.ts"]);
});

test("every file of lib/wire begins with the standard it follows", () => {
  const wrong = files("lib/wire", /\.ts$/).filter(
    (path) => !/^\/\*\* .*\b(RFC \d+|IEEE 802)/.test(read(path)),
  );
  expect(wrong).toEqual([]);
});

test("there is no default export, no enum, no namespace, and no drawer", () => {
  const wrong = SOURCES.filter(
    (path) =>
      /^export default|^(export )?(const )?enum |^(export )?namespace /m.test(read(path)) ||
      /\/(utils?|helpers?|common|misc)(\.ts|\/)/.test(path),
  );
  expect(wrong).toEqual([]);
});

test("nothing committed names a place of one machine", () => {
  const listed = Bun.spawnSync(["git", "ls-files", "-z"], { cwd: ROOT });
  const paths = listed.stdout
    .toString()
    .split("\0")
    .filter((path) => /\.(ts|md|json|sh|py|c|yaml|scn)$|^scripts\//.test(path));
  const wrong = paths.filter(
    (path) =>
      path !== "tests/tidy.test.ts" && /(?<![\w.])\/work\/|\/tmp\/bash_jobs/.test(read(path)),
  );
  expect(wrong).toEqual([]);
});

test("CHANGELOG.md has the shape of Keep a Changelog", () => {
  const text = read("CHANGELOG.md");
  expect(text).toMatch(/^# Changelog\n/);
  expect(text).toMatch(/^## \[Unreleased\]$/m);
  const kinds = [...text.matchAll(/^### (.*)$/gm)].map(([, kind]) => kind);
  expect(
    kinds.filter((kind) => !/^(Added|Changed|Deprecated|Removed|Fixed|Security)$/.test(kind!)),
  ).toEqual([]);
});

test("every link from one document to a file leads somewhere", () => {
  const documents = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", ...files("docs", /\.md$/)];
  const dead = documents.flatMap((document) =>
    [...read(document).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => join(dirname(document), target!))
      .filter((target) => !Bun.spawnSync(["test", "-e", join(ROOT, target)]).success)
      .map((target) => `${document}: ${target}`),
  );
  expect(dead).toEqual([]);
});
