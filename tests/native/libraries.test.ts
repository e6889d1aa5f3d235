/** The native libraries of other systems, built on this one (scripts/build-native): those for Linux run, those for macOS are read. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { inspect } from "../../scripts/release/code-signature.ts";
import { canMakeNamespaces } from "../support/lab.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const LOAD = new URL("load.c", import.meta.url).pathname;
const folder = mkdtempSync("/tmp/limanet-libraries-");
afterAll(() => rmSync(folder, { recursive: true }));

function run(...words: string[]): string {
  const { stdout, stderr, success } = Bun.spawnSync(words, { cwd: ROOT });
  if (!success) throw new Error(`${words.join(" ")}: ${stderr} ${stdout}`);
  return stdout.toString();
}

const isX64 = process.arch === "x64";
const ARM64 = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"];
test.skipIf(!canMakeNamespaces).each([
  ["glibc", process.arch, "cc", []],
  ...(isX64
    ? ([
        ["musl", "x64", "musl-gcc", []],
        ["glibc on arm64, emulated", "arm64", "aarch64-linux-gnu-gcc", ARM64],
      ] as const)
    : []),
] as const)(
  "library for Linux: a TAP device is made and left with %s",
  (name, arch, compiler, emulator) => {
    const library = run("scripts/build-native", `linux-${arch}`).trim();
    const load = join(folder, `load-${name.replaceAll(/\W+/g, "-")}`);
    run(compiler, "-Wall", "-Wextra", "-Werror", "-Inative", "-o", load, LOAD, "-ldl");
    const lines = run("unshare", "-n", ...emulator, load, library).split("\n");
    expect(lines).toContain("abi=10000");
    expect(lines).toContain("name=vt0");
    expect(lines).toContain("stopped=0");
  },
);

test.each(isX64 ? ["x64", "arm64"] : ["arm64"])(
  "library for Linux on %s: it exports the ABI, and names no library",
  (arch) => {
    const library = run("scripts/build-native", `linux-${arch}`).trim();
    expect(exported("llvm-nm", "-D", library)).toEqual(callsOf("native/vmn.h"));
    expect(run(tool("llvm-readelf"), "-d", library)).not.toContain("NEEDED");
    expect(run(tool("llvm-readelf"), "-V", library)).not.toContain("GLIBC");
  },
);

/** LLVM's tools lie beside clang, and only some of them are in PATH */
const tool = (name: string) => join(dirname(realpathSync(Bun.which("clang")!)), name);

/** names of the functions that a header declares */
const callsOf = (header: string): string[] =>
  [...readFileSync(join(ROOT, header), "utf8").matchAll(/^[^\s/*#].*?\b(\w+)\(/gm)]
    .map(([, name]) => name!)
    .toSorted();

const exported = (nm: string, ...words: string[]): string[] =>
  run(tool(nm), "--defined-only", "--extern-only", "--format=just-symbols", ...words)
    .split("\n")
    .filter((line) => line !== "" && !line.endsWith(":"))
    .map((name) => name.replace(/^_/, ""))
    .toSorted();

const SYSTEM = "/usr/lib/libSystem.B.dylib";
const framework = (name: string, version: string) =>
  `/System/Library/Frameworks/${name}.framework/Versions/${version}/${name}`;

describe.each([
  ["limanet", "native/vmn.h", [SYSTEM, framework("vmnet", "A")]],
  [
    "limanet-vz",
    "native/vz.h",
    [
      SYSTEM,
      "/usr/lib/libobjc.A.dylib",
      framework("Foundation", "C"),
      framework("Virtualization", "A"),
    ],
  ],
])("%s-darwin.dylib", (name, header, libraries) => {
  const universal = join(ROOT, `dist/native/${name}-darwin.dylib`);
  const slice = (arch: string) => join(folder, `${name}-${arch}`);
  beforeAll(() => {
    run("scripts/build-native", "darwin");
    for (const arch of ["arm64", "x86_64"])
      run(tool("llvm-lipo"), universal, "-thin", arch, "-output", slice(arch));
  });

  test("is for both architectures and no other", () => {
    expect(run(tool("llvm-lipo"), "-archs", universal).trim().split(" ").toSorted()).toEqual([
      "arm64",
      "x86_64",
    ]);
  });

  test.each(["arm64", "x86_64"])(
    "%s: wants macOS 13 and these libraries, and no path to look for them",
    (arch) => {
      const text = run(tool("llvm-otool"), "-l", slice(arch));
      const commands = text.split(/^Load command \d+$/m).slice(1);
      const fields = (command: string, field: string) =>
        commands
          .filter((lines) => new RegExp(`^ *cmd ${command}$`, "m").test(lines))
          .map((lines) => new RegExp(`^ *${field} (\\S+)`, "m").exec(lines)![1]);
      expect(fields("LC_BUILD_VERSION", "minos")).toEqual(["13.0"]);
      expect(fields("LC_BUILD_VERSION", "platform")).toEqual(["macos"]);
      expect(fields("LC_ID_DYLIB", "name")).toEqual([`@rpath/${name}-darwin.dylib`]);
      expect(fields("LC_LOAD_DYLIB", "name")).toEqual(libraries);
      expect(text).not.toMatch(/LC_RPATH|LC_LOAD_WEAK_DYLIB|LC_REEXPORT_DYLIB|LC_DYLD_ENVIRONMENT/);
    },
  );

  test.each(["arm64", "x86_64"])(
    "%s: exports what its header declares, and nothing else",
    (arch) => {
      expect(exported("llvm-nm", slice(arch))).toEqual(callsOf(header));
    },
  );

  test.each(["arm64", "x86_64"])("%s: every page is as the linker's signature says", (arch) => {
    const { isAdHoc, pages, wrongPages } = inspect(readFileSync(slice(arch)));
    expect({ isAdHoc, wrongPages }).toEqual({ isAdHoc: true, wrongPages: [] });
    expect(pages).toBeGreaterThan(3);
  });
});
