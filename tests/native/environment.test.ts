/** The compiled executable in an environment of somebody else's: no code of his runs, and no door is opened (scripts/release/seal.ts). */
import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LIMANET } from "../support/lab.ts";

const make = () => mkdtempSync(join(tmpdir(), "limanet-environment-"));
let folder = make();
beforeEach(() => {
  rmSync(folder, { recursive: true });
  folder = make();
});
afterAll(() => rmSync(folder, { recursive: true }));

/** a file whose code, when it runs, leaves a mark */
function marking(name: string): { file: string; mark: string } {
  const file = join(folder, name);
  const mark = join(folder, "mark");
  writeFileSync(file, `require("node:fs").writeFileSync(${JSON.stringify(mark)}, "")`);
  return { file, mark };
}

async function version(environment: Record<string, string>) {
  const child = Bun.spawn([LIMANET, "--version"], {
    cwd: folder,
    env: environment,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, stdout, stderr };
}

/** what is said when nobody interferes */
const PLAIN = await version({});

test.each<[string, (file: string) => Record<string, string>]>([
  ["BUN_OPTIONS, --preload", (file) => ({ BUN_OPTIONS: `--preload ${file}` })],
  ["BUN_OPTIONS, --require", (file) => ({ BUN_OPTIONS: `--require ${file}` })],
  ["BUN_BE_BUN", () => ({ BUN_BE_BUN: "1" })],
  ["BUN_INSPECT_PRELOAD", (file) => ({ BUN_INSPECT_PRELOAD: file, BUN_INSPECT: "127.0.0.1:0" })],
  ["NODE_OPTIONS", (file) => ({ NODE_OPTIONS: `--require ${file}` })],
])("no code of somebody else's runs by %s", async (_name, environment) => {
  const { file, mark } = marking("mark.cjs");
  expect(await version(environment(file))).toEqual(PLAIN);
  expect(existsSync(mark)).toBe(false);
});

test.each(["bunfig.toml", ".env"])("%s of the current folder is not read", async (name) => {
  const { file, mark } = marking("mark.cjs");
  writeFileSync(
    join(folder, name),
    name === ".env" ? `BUN_OPTIONS="--preload ${file}"\n` : `preload = [${JSON.stringify(file)}]\n`,
  );
  expect(await version({})).toEqual(PLAIN);
  expect(existsSync(mark)).toBe(false);
});

test("a debugger is not served", async () => {
  const socket = join(folder, "debugger");
  expect(await version({ BUN_INSPECT: `ws+unix://${socket}` })).toEqual(PLAIN);
  expect(existsSync(socket)).toBe(false);
});

test("a debugger is not called", async () => {
  const socket = join(folder, "debugger");
  let calls = 0;
  const listener = Bun.listen({
    unix: socket,
    socket: {
      open: () => {
        calls++;
      },
      data() {},
    },
  });
  expect(await version({ BUN_INSPECT_CONNECT_TO: `unix://${socket}` })).toEqual(PLAIN);
  // another call comes through
  await Bun.connect({ unix: socket, socket: { data() {} } });
  while (calls === 0) await Bun.sleep(1);
  expect(calls).toBe(1);
  listener.stop(true);
});

test("functions of the program get no other bodies from a file", async () => {
  const file = join(folder, "overrides");
  writeFileSync(file, "not in that file's language\n");
  const { code, stdout, stderr } = await version({ BUN_JSC_functionOverrides: file });
  expect(stdout + stderr).not.toContain("functionOverrides SYNTAX ERROR");
  expect(stderr).toContain("error: invalid JSC environment variable");
  expect(code).toBe(1);
});

test("no file is written by BUN_BYTECODE_ORDER_OUT and its like", async () => {
  const names = ["ORDER_OUT", "ORDER_NAMES_OUT", "DIGEST_OUT"];
  const files = names.map((name) => [`BUN_BYTECODE_${name}`, join(folder, name)]);
  expect(await version(Object.fromEntries(files))).toEqual(PLAIN);
  expect(readdirSync(folder)).toEqual([]);
});

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("skipped: setuid executables, and their like (they need root)\n");
test.skipIf(!isRoot).each(["4755", "2755", "6711"])(
  "with mode %s, for another user than its owner, the executable refuses",
  (mode) => {
    chmodSync(folder, 0o755);
    const copy = join(folder, "limanet");
    copyFileSync(LIMANET, copy);
    Bun.spawnSync(["chmod", mode, copy]);
    const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const { exitCode, stdout, stderr } = Bun.spawnSync([...user, copy, "version"], { env: {} });
    expect(stderr.toString()).toStartWith("limanet: Cannot run: the executable is setuid or");
    expect({ exitCode, stdout: stdout.toString() }).toEqual({ exitCode: 1, stdout: "" });
  },
);
