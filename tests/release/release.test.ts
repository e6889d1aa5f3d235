/** What scripts/release/make has put into dist/release: it is all there, it is what it says, and it runs where it can here. */
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MUSL_LIBRARIES } from "../support/lab.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const RELEASE = join(ROOT, "dist/release");
const URL_BASE = "https://releases.limanet.test/download";
const LIMIT = 180_000;
const read = (name: string) => readFileSync(join(RELEASE, name), "utf8");
const must = (...words: string[]) => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(words, { cwd: ROOT });
  if (exitCode !== 0) throw new Error(`${words.join(" ")}: ${stdout}${stderr}`);
  return stdout.toString();
};
const { version, dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  version: string;
  dependencies: Record<string, string>;
};

beforeAll(() => {
  must("env", `LIMANET_RELEASE_URL=${URL_BASE}`, "scripts/release/make");
}, LIMIT);

test(
  "SHA256SUMS lists every file that is fetched, and each is what it says",
  () => {
    const listed = must("sh", "-c", `cd ${RELEASE} && sha256sum -c SHA256SUMS`);
    expect(listed.trim().split("\n").toSorted()).toEqual(
      [
        "install.sh",
        `limanet-${version}.spdx.json`,
        ...["linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl"].map(
          (t) => `limanet-${t}`,
        ),
        ...["limanet-darwin-arm64", "limanet-darwin-x64", "limanet-share.tar", "limanet-guest.tar"],
        ...["shared", "bridged"].map((mode) => `limanet-io.limanet.vmnet.${mode}.plist`),
        ...["amd64", "arm64"].map((architecture) => `limanet_${version}_${architecture}.deb`),
      ]
        .map((name) => `${name}: OK`)
        .toSorted(),
    );
  },
  LIMIT,
);

describe("executables", () => {
  const arm = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"];
  const armMusl = [
    ...["qemu-aarch64", "-L", `${MUSL_LIBRARIES}-arm64`, "-E", "LD_LIBRARY_PATH=/usr/lib"],
    ...["-E", "LD_PRELOAD=/usr/lib/missing-from-musl.so"],
  ];
  const place = (target: string) => join(RELEASE, `limanet-${target}`);
  test.skipIf(process.arch !== "x64").each<[string, string[]]>([
    ["linux-x64", []],
    ["linux-x64-musl", ["env", `LD_LIBRARY_PATH=${MUSL_LIBRARIES}`]],
    ["linux-arm64", arm],
    ["linux-arm64-musl", armMusl],
  ])(
    "%s says its version, commit and native library, and answers DNS",
    (target, runner) => {
      const run = (...words: string[]) => must(...runner, place(target), ...words);
      const head = must("git", "rev-parse", "HEAD").trim();
      const told = JSON.parse(run("version", "--json")) as Record<string, unknown>;
      expect(told).toMatchObject({ version, license: "Apache-2.0" });
      expect(told["commit"]).toMatch(new RegExp(`^${head}(\\+changes)?$`));
      expect(told["native"]).toMatchObject({
        capabilities: { backend: "tap" },
        sha256: expect.stringMatching(/^\w{64}$/),
        abi: expect.any(String),
      });
      expect(run("version", "--licences")).toContain("commander");
      expect(run("dns", "query", "localhost")).toContain("127.0.0.1");
    },
    LIMIT,
  );

  test.each([
    ["linux-x64", 62, "/lib64/ld-linux-x86-64.so.2"],
    ["linux-arm64", 183, "/lib/ld-linux-aarch64.so.1"],
    ["linux-x64-musl", 62, "/lib/ld-musl-x86_64.so.1"],
    ["linux-arm64-musl", 183, "/lib/ld-musl-aarch64.so.1"],
  ])("%s is an ELF file for its processor and C library", (target, machine, loader) => {
    const head = readFileSync(place(target)).subarray(0, 4096);
    expect(head.subarray(0, 4).toString("latin1")).toBe("\x7fELF");
    expect(head.readUInt16LE(18)).toBe(machine);
    expect(head.toString("latin1")).toContain(`${loader}\0`);
  });

  test("for macOS are signed, every page of them, and hold the native library", () => {
    for (const target of ["darwin-arm64", "darwin-x64"]) {
      const said = must("bun", "scripts/release/sign.ts", "--check", place(target));
      expect(said).toContain(": right; identifier io.limanet; ad hoc, hardened runtime;");
      expect(said).toContain("com.apple.security.virtualization");
      const library = readFileSync(join(ROOT, "dist/native/limanet-darwin.dylib"));
      expect(readFileSync(place(target)).includes(library)).toBe(true);
    }
  });

  test(
    "are the same octets when they are made again",
    () => {
      must("scripts/build", "linux-x64");
      must("cmp", "dist/limanet-linux-x64", place("linux-x64"));
      rmSync(join(ROOT, "dist/limanet-linux-x64"));
    },
    LIMIT,
  );
});

test.skipIf(Bun.which("ruby") === null)(
  "the Homebrew formula is Ruby, and leads to these files",
  () => {
    must("ruby", "-c", join(RELEASE, "limanet.rb"));
    const formula = read("limanet.rb");
    const sums = new Map(
      read("SHA256SUMS")
        .trim()
        .split("\n")
        .map((line) => line.split(/ [ *]/).toReversed() as [string, string]),
    );
    const found = [...formula.matchAll(/url "(.+)\/([^/"]+)"\n\s+sha256 "(\w+)"/g)];
    expect(found.map(([, , name]) => name!)).toEqual([
      ...["limanet-darwin-arm64", "limanet-darwin-x64", "limanet-linux-arm64", "limanet-linux-x64"],
      "limanet-share.tar",
    ]);
    for (const [, base, name, sum] of found) {
      expect(base).toBe(URL_BASE);
      expect(sum).toBe(sums.get(name!)!);
    }
  },
);

test(
  "the Debian package has the executable, pages, completions, licences, and a unit that systemd takes",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "limanet-deb-"));
    const deb = join(RELEASE, `limanet_${version}_amd64.deb`);
    expect(must("dpkg-deb", "--field", deb, "Package", "Version", "Architecture")).toBe(
      `Package: limanet\nVersion: ${version}\nArchitecture: amd64\n`,
    );
    must("dpkg-deb", "-x", deb, folder);
    must("cmp", join(folder, "usr/bin/limanet"), join(RELEASE, "limanet-linux-x64"));
    for (const name of [
      "usr/share/man/man1/limanet.1.gz",
      "usr/share/bash-completion/completions/limanet",
      "usr/share/zsh/site-functions/_limanet",
      "usr/share/fish/vendor_completions.d/limanet.fish",
      "usr/share/doc/limanet/copyright",
      "opt/limanet/bin/socket_vmnet",
    ])
      expect(Bun.file(join(folder, name)).size).toBeGreaterThan(100);
    if (Bun.which("systemd-analyze") !== null) {
      // systemd looks whether the program is there
      const unit = join(folder, "usr/lib/systemd/system/limanet-vmnet@.service");
      const text = readFileSync(unit, "utf8").replaceAll("/usr/bin/", `${folder}/usr/bin/`);
      const here = join(folder, "limanet-vmnet@.service");
      writeFileSync(here, text);
      expect(must("systemd-analyze", "--man=no", "verify", here)).toBe("");
    }
    rmSync(folder, { recursive: true });
  },
  LIMIT,
);

test("launchd's property lists are lists that start the program that only root can replace", () => {
  const script = `import plistlib, sys
for path in sys.argv[1:]:
    job = plistlib.load(open(path, "rb"))
    assert job["ProgramArguments"][0] == job["Program"] == "/opt/limanet/bin/socket_vmnet", path
    assert job["Label"] in path, path`;
  const lists = ["shared", "bridged"].map((mode) =>
    join(RELEASE, `limanet-io.limanet.vmnet.${mode}.plist`),
  );
  must("python3", "-c", script, ...lists);
});

test("the bill of materials has everything that is in the executable, once", () => {
  const { packages, spdxVersion, relationships } = JSON.parse(
    read(`limanet-${version}.spdx.json`),
  ) as {
    spdxVersion: string;
    packages: { name: string; versionInfo: string; SPDXID: string }[];
    relationships: { relatedSpdxElement: string }[];
  };
  expect(spdxVersion).toBe("SPDX-2.3");
  const versions = new Map(packages.map(({ name, versionInfo }) => [name, versionInfo]));
  expect(versions.size).toBe(packages.length);
  for (const [name, wanted] of Object.entries(dependencies))
    expect(versions.get(name)).toBe(wanted);
  expect([...versions.keys()]).toEqual(expect.arrayContaining(["limanet", "bun", "string-width"]));
  expect(new Set(relationships.map((one) => one.relatedSpdxElement)).size).toBe(packages.length);
  expect(packages.every(({ SPDXID }) => /^SPDXRef-[\w.-]+$/.test(SPDXID))).toBe(true);
});

test("the air-gapped bundle holds all of it in one folder", () => {
  const names = must("tar", "-tf", join(RELEASE, `limanet-${version}-airgap.tar`))
    .trim()
    .split("\n");
  const listed = read("SHA256SUMS").match(/\S+$/gm)!;
  expect(names).toEqual(
    expect.arrayContaining([...listed, "SHA256SUMS"].map((name) => `limanet-${version}/${name}`)),
  );
  expect(names.every((name) => name.startsWith(`limanet-${version}/`))).toBe(true);
});

test("notarizing says what it would do, and does nothing without a certificate", () => {
  const said = must("scripts/notarize", "--dry-run");
  expect(said.match(/^\+ (codesign --force|rcodesign sign) .*limanet-darwin-/gm)).toHaveLength(2);
  expect(said).toContain("nothing was signed or sent");
  const { exitCode, stderr } = Bun.spawnSync(["scripts/notarize"], { cwd: ROOT });
  expect(exitCode).toBe(1);
  expect(stderr.toString()).toStartWith("notarize: Cannot sign: ");
});
