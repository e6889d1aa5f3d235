/** scripts/install.sh from a folder, over HTTP and from the air-gapped bundle; with tampered files; in a root without anything. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { LIMANET, MUSL_LIBRARIES } from "../support/lab.ts";

const SCRIPT = new URL("../../scripts/install.sh", import.meta.url).pathname;
const EXECUTABLE = `limanet-linux-${process.arch}`;
const MUSL = `${EXECUTABLE}-musl`;
const SHARED = ["man/man1/limanet.1", "bash-completion/completions/limanet"];
const LIMIT = 60_000;
const BUSYBOX = Bun.which("busybox");
const isRoot = process.getuid?.() === 0;

let folder: string;
let release: string;
let prefix: string;

interface Outcome {
  code: number;
  said: string;
}
const run = (...words: string[]): Outcome => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(words, { cwd: folder });
  return { code: exitCode, said: stdout.toString() + stderr.toString() };
};
const must = (...words: string[]) => {
  const { code, said } = run(...words);
  if (code !== 0) throw new Error(`${words.join(" ")}: ${said}`);
  return said;
};
const install = (from: string, ...options: string[]) =>
  run("sh", SCRIPT, "--from", from, "--prefix", prefix, ...options);
const sum = (place: string) =>
  must("sh", "-c", `cd ${place} && sha256sum limanet-* install.sh >SHA256SUMS`);
const installed = () =>
  existsSync(prefix)
    ? readdirSync(prefix, { recursive: true, encoding: "utf8" })
        .filter((name) => statSync(join(prefix, name)).isFile())
        .toSorted()
    : [];
const ALL = [
  "bin/limanet",
  ...SHARED.map((name) => `share/${name}`),
  "share/limanet/installed",
  ...(process.arch === "x64"
    ? ["initrd", "vmlinuz"].map((name) => `share/limanet/guest/${name}`)
    : []),
];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-install-"));
  release = join(folder, "limanet-9.9.9");
  mkdirSync(release);
  copyFileSync(LIMANET, join(release, EXECUTABLE));
  if (process.arch === "x64") copyFileSync(`${LIMANET}-linux-x64-musl`, join(release, MUSL));
  copyFileSync(SCRIPT, join(release, "install.sh"));
  for (const name of SHARED) {
    mkdirSync(join(folder, "share", dirname(name)), { recursive: true });
    writeFileSync(join(folder, "share", name), `${name}\n`);
  }
  must("tar", "-cf", join(release, "limanet-share.tar"), "-C", join(folder, "share"), ".");
  mkdirSync(join(folder, "guest"));
  for (const name of ["vmlinuz", "initrd"]) writeFileSync(join(folder, "guest", name), name);
  must("tar", "-cf", join(release, "limanet-guest.tar"), "-C", folder, "guest");
  sum(release);
  must("tar", "-cf", join(folder, "limanet-9.9.9-airgap.tar"), "-C", folder, "limanet-9.9.9");
}, LIMIT);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  prefix = join(folder, "prefix");
  rmSync(prefix, { recursive: true, force: true });
});

const isAll = ({ code, said }: Outcome) => {
  expect(said).toContain(`is ${prefix}/bin/limanet`);
  expect(code).toBe(0);
  expect(installed()).toEqual(ALL.toSorted());
  expect(statSync(join(prefix, "bin/limanet")).mode & 0o777).toBe(0o755);
  expect(must(join(prefix, "bin/limanet"), "--version")).toMatch(/^\d/);
};

test("from a folder", () => isAll(install(release)), LIMIT);
test(
  "from the air-gapped bundle",
  () => isAll(install(join(folder, "limanet-9.9.9-airgap.tar"))),
  LIMIT,
);
test(
  "from the script's own folder",
  () => isAll(run("sh", join(release, "install.sh"), "--prefix", prefix)),
  LIMIT,
);

test(
  "from an address, and again over what is there and runs",
  async () => {
    using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request) => {
        const file = join(release, new URL(request.url).pathname);
        return existsSync(file) ? new Response(Bun.file(file)) : new Response("", { status: 404 });
      },
    });
    const from = `http://127.0.0.1:${server.port}`;
    const installFrom = async (place: string): Promise<Outcome> => {
      const child = Bun.spawn(["sh", SCRIPT, "--from", place, "--prefix", prefix], {
        stdout: "pipe",
        stderr: "pipe",
      });
      const [out, error] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      return { code: await child.exited, said: out + error };
    };
    isAll(await installFrom(`${from}/`));
    const running = Bun.spawn([
      ...[join(prefix, "bin/limanet"), "dns", "serve", "--listen", "127.0.0.1:0"],
    ]);
    isAll(await installFrom(from));
    running.kill();
    await running.exited;
    const missing = await installFrom(`${from}/nowhere`);
    expect(missing.code).toBe(1);
    expect(missing.said).toMatch(
      /^install: Cannot install from .*: SHA256SUMS is not there \(.*404/,
    );
  },
  LIMIT,
);

test(
  "uninstalling takes away what was installed and nothing else",
  () => {
    install(release);
    writeFileSync(join(prefix, "bin/other"), "");
    const { code, said } = run("sh", SCRIPT, "--uninstall", "--prefix", prefix);
    expect(said).toContain("limanet is gone");
    expect(code).toBe(0);
    expect(installed()).toEqual(["bin/other"]);
    expect(run("sh", SCRIPT, "--uninstall", "--prefix", prefix)).toMatchObject({
      code: 1,
      said: expect.stringContaining("nothing of ours is listed"),
    });
  },
  LIMIT,
);

describe("nothing is installed", () => {
  let copy: string;
  beforeEach(() => {
    copy = join(folder, "copy");
    rmSync(copy, { recursive: true, force: true });
    must("cp", "-R", release, copy);
  });

  test.each<[string, () => void, string]>([
    [
      "when a file is not what SHA256SUMS says",
      () => appendFileSync(join(copy, EXECUTABLE), "x"),
      `Cannot install ${EXECUTABLE}: its SHA-256 is`,
    ],
    [
      "when a file beside the executable is not",
      () => appendFileSync(join(copy, "limanet-share.tar"), "x"),
      "Cannot install limanet-share.tar: its SHA-256 is",
    ],
    [
      "when this machine's executable is not listed",
      () => writeFileSync(join(copy, "SHA256SUMS"), ""),
      "is not there, or not in SHA256SUMS",
    ],
    ["without SHA256SUMS", () => rmSync(join(copy, "SHA256SUMS")), "SHA256SUMS is not there"],
    [
      "when the executable cannot run",
      () => {
        writeFileSync(join(copy, EXECUTABLE), "#!/bin/sh\nexit 3\n");
        sum(copy);
      },
      "Cannot run",
    ],
  ])(
    "%s",
    (_when, change, sentence) => {
      change();
      const { code, said } = install(copy);
      expect(said).toContain(sentence);
      expect(code).toBe(1);
      expect(installed()).toEqual([]);
    },
    LIMIT,
  );

  test("from nowhere, or with options that are not known", () => {
    expect(install(join(folder, "none"))).toMatchObject({
      code: 1,
      said: expect.stringContaining("it is no folder, no .tar and no http address"),
    });
    expect(run("sh", SCRIPT, "--prefix", prefix)).toMatchObject({
      code: 1,
      said: expect.stringContaining("Cannot install from nowhere"),
    });
    expect(run("sh", SCRIPT, "--wrong")).toMatchObject({
      code: 2,
      said: expect.stringContaining("Usage: install.sh"),
    });
  });
});

test(
  "a signature of SHA256SUMS counts when it is of who is trusted, and only then",
  () => {
    const key = (name: string) => join(folder, name);
    for (const name of ["ours", "theirs"])
      must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key(name));
    const sign = (name: string) => {
      rmSync(join(release, "SHA256SUMS.sig"), { force: true });
      must(
        ...["ssh-keygen", "-q", "-Y", "sign", "-f", key(name), "-n", "limanet-release"],
        join(release, "SHA256SUMS"),
      );
    };
    const [kind, octets] = readFileSync(`${key("ours")}.pub`, "utf8").split(" ");
    writeFileSync(key("signers"), `limanet ${kind} ${octets}\n`);
    expect(install(release, "--signers", key("signers"))).toMatchObject({
      code: 1,
      said: expect.stringContaining("SHA256SUMS has no signature there"),
    });
    sign("theirs");
    expect(install(release, "--signers", key("signers"))).toMatchObject({
      code: 1,
      said: expect.stringContaining("its signature is of nobody in"),
    });
    expect(installed()).toEqual([]);
    sign("ours");
    const right = install(release, "--signers", key("signers"));
    expect(right.said).toContain("SHA256SUMS is signed by who is in");
    expect(right.code).toBe(0);
    expect(install(release).said).toContain("the signature was not looked at");
    rmSync(join(release, "SHA256SUMS.sig"));
  },
  LIMIT,
);

test.skipIf(!isRoot)(
  "--vmnet puts a copy of root's where limanet looks for it, and says what to do",
  () => {
    const place = join(folder, "opt/limanet/bin");
    const { exitCode, stdout } = Bun.spawnSync(
      ["sh", SCRIPT, "--from", release, "--prefix", prefix, "--vmnet"],
      { env: { ...process.env, LIMANET_ROOT_FOLDER: place } },
    );
    expect(exitCode).toBe(0);
    expect(stdout.toString()).toContain("limanet sudoers --check");
    expect(statSync(join(place, "socket_vmnet"))).toMatchObject({ uid: 0, gid: 0, mode: 0o100755 });
  },
  LIMIT,
);

test.skipIf(!isRoot)(
  "--vmnet in a folder of somebody else's: it becomes root's first, and what he has put there leads nowhere",
  () => {
    const place = join(folder, "planted/bin");
    const victim = join(folder, "victim");
    mkdirSync(place, { recursive: true });
    chownSync(place, 65_534, 65_534);
    writeFileSync(victim, "somebody else's\n");
    symlinkSync(victim, join(place, "socket_vmnet.new"));
    const { exitCode } = Bun.spawnSync(
      ["sh", SCRIPT, "--from", release, "--prefix", prefix, "--vmnet"],
      { env: { ...process.env, LIMANET_ROOT_FOLDER: place } },
    );
    expect(exitCode).toBe(0);
    expect(readFileSync(victim, "utf8")).toBe("somebody else's\n");
    expect(statSync(place)).toMatchObject({ uid: 0, gid: 0, mode: 0o40755 });
    expect(lstatSync(join(place, "socket_vmnet"))).toMatchObject({ uid: 0, mode: 0o100755 });
  },
  LIMIT,
);

/** files of a root folder that are all that a C library brings: place there → place here */
const glibc = (): [string, string][] =>
  [...must("ldd", LIMANET).matchAll(/\/\S+/g)].map(([path]) => [path, path]);
const musl = (): [string, string][] => [
  ["/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1"],
  ...readdirSync(MUSL_LIBRARIES).map((name): [string, string] => [
    `/usr/lib/${name}`,
    join(MUSL_LIBRARIES, name),
  ]),
];

describe.skipIf(!isRoot || BUSYBOX === null)("a root with nothing but BusyBox and", () => {
  test.each([
    ["glibc", EXECUTABLE, glibc],
    ...(process.arch === "x64" ? [["musl", MUSL, musl] as const] : []),
  ])(
    "%s is enough for the bundle",
    (library, executable, files) => {
      const root = join(folder, library);
      for (const name of ["bin", "tmp", "dev", "proc"])
        mkdirSync(join(root, name), { recursive: true });
      copyFileSync(BUSYBOX!, join(root, "bin/busybox"));
      for (const [there, here] of files()) {
        mkdirSync(join(root, dirname(there)), { recursive: true });
        copyFileSync(here, join(root, there));
      }
      must("chroot", root, "/bin/busybox", "--install", "-s", "/bin");
      must("mknod", join(root, "dev/null"), "c", "1", "3");
      copyFileSync(join(folder, "limanet-9.9.9-airgap.tar"), join(root, "bundle.tar"));
      copyFileSync(SCRIPT, join(root, "install.sh"));
      const inside = (command: string) =>
        must(
          ...["unshare", "--mount", "--pid", "--fork", "sh", "-c"],
          'mount -t proc proc "$1/proc" && exec chroot "$1" /bin/env -i PATH=/bin:/usr/local/bin HOME=/ /bin/sh -c "$2"',
          ...["sh", root, command],
        );
      expect(inside("sh /install.sh --from /bundle.tar && limanet --version")).toContain(
        "is /usr/local/bin/limanet",
      );
      must("cmp", join(root, "usr/local/bin/limanet"), join(release, executable));
      inside("limanet validate --help && limanet network list");
      expect(inside("sh /install.sh --uninstall && ls /usr/local/bin")).not.toContain("limanet\n");
    },
    LIMIT,
  );
});
