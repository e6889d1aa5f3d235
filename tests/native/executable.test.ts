/** The native library inside of the compiled executable (scripts/build): checked, and loaded without a file. */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { canMakeNamespaces, LIMANET, MUSL_LIBRARIES } from "../support/lab.ts";

const LIBRARY = new URL(`../../dist/native/limanet-linux-${process.arch}.so`, import.meta.url)
  .pathname;
const folder = mkdtempSync("/var/tmp/limanet-executable-");
afterAll(() => rmSync(folder, { recursive: true }));
chmodSync(folder, 0o755);

/** where neither a /tmp of the tests' hides it nor an ordinary user is kept away */
const executable = `${folder}/limanet`;
cpSync(LIMANET, executable);

const library = readFileSync(LIBRARY);
const sha256 = new Bun.CryptoHasher("sha256").update(library).digest("hex");

function versionOf(program: string, ...before: string[]) {
  const { stdout, stderr } = Bun.spawnSync([...before, program, "version", "--json"]);
  expect(stderr.toString()).toBe("");
  return JSON.parse(stdout.toString());
}

test("executable: its native library is that of dist/native", () => {
  expect(versionOf(LIMANET)).toMatchObject({
    native: {
      place: `limanet-linux-${process.arch}.so of the executable`,
      sha256,
      abi: "1.0",
    },
  });
});

const MUSL = `${LIMANET}-linux-x64-musl`;
const hasMusl = process.arch === "x64" && existsSync(MUSL);
if (!hasMusl) process.stderr.write(`skipped: the executable for musl (${MUSL} is not built)\n`);
test.skipIf(!hasMusl)("executable for musl: it loads the same library", () => {
  const libraries = `LD_LIBRARY_PATH=${MUSL_LIBRARIES}`;
  expect(versionOf(MUSL, "env", libraries).native).toMatchObject({ abi: "1.0", sha256 });
});

test.skipIf(!canMakeNamespaces)("executable: an ordinary user's process loads the library", () => {
  const { native } = versionOf(
    executable,
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
  );
  expect(native).toMatchObject({ sha256, abi: "1.0", capabilities: { backend: "tap" } });
});

test.skipIf(!canMakeNamespaces).each([
  ["a read-only /tmp", "mount -t tmpfs -o ro none /tmp"],
  ["a /tmp without execution", "mount -t tmpfs -o noexec none /tmp"],
  [
    "another user's TMPDIR",
    `export TMPDIR=${folder}/foreign BUN_TMPDIR=${folder}/foreign; mkdir -p "$TMPDIR"; chown 65534 "$TMPDIR"`,
  ],
])(
  "executable: root's process loads the library with %s, and writes nothing there",
  (_, setting) => {
    const script = `${setting} && exec "$0" "$@"`;
    expect(versionOf(executable, "unshare", "-m", "sh", "-c", script).native).toMatchObject({
      sha256,
      abi: "1.0",
    });
    expect(
      readdirSync(folder, { recursive: true }).filter((name) => String(name).includes(".bun")),
    ).toEqual([]);
  },
);

test("executable: a library that was changed is not loaded", () => {
  const octets = readFileSync(LIMANET);
  const at = octets.indexOf(library);
  expect(at).toBeGreaterThan(0);
  octets[at + library.length - 1]! ^= 1;
  writeFileSync(`${folder}/tampered`, octets, { mode: 0o755 });
  expect(versionOf(`${folder}/tampered`).native.error).toMatch(
    "Cannot load the native library limanet-linux-",
  );
  expect(versionOf(`${folder}/tampered`).native.error).toContain(`not ${sha256} with which`);
});
