import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostAccounts, hostFiles } from "../../lib/host/file-tree.ts";
import { commandLineOf, findProgram, isAlive, isProgram } from "../../lib/host/process.ts";
import { tryUnixSocket } from "../../lib/host/unix-http.ts";
import { checkPath } from "../../lib/privilege/path-check.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-files-"));
  mkdirSync(join(folder, "sub"));
  writeFileSync(join(folder, "sub/file"), "#!/bin/sh\n");
  chmodSync(join(folder, "sub"), 0o1777);
  chmodSync(join(folder, "sub/file"), 0o640);
  symlinkSync("nowhere", join(folder, "link"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["sub", "folder", 0o1777],
  ["sub/file", "file", 0o640],
])("hostFiles.lstat() of %s", (name, kind, mode) => {
  expect(hostFiles.lstat(join(folder, name))).toEqual({
    kind: kind as "file",
    mode,
    uid: process.getuid!(),
    gid: process.getgid!(),
  });
});

test("hostFiles.lstat() does not follow links, and knows nothing of what is not there", () => {
  expect(hostFiles.lstat(join(folder, "link"))?.kind).toBe("symlink");
  expect(hostFiles.lstat(join(folder, "nowhere"))).toBeUndefined();
  expect(hostFiles.lstat(join(folder, "sub/file/x"))).toBeUndefined();
  expect(hostFiles.lstat("/dev/null")?.kind).toBe("other");
});

test("the real /bin/mkdir leads through the link /bin where there is one; a temporary file is never root's alone", () => {
  const accounts = hostAccounts("root");
  expect(accounts.rootGroup).toEqual({ name: "root", gid: 0 });
  const bin = hostFiles.lstat("/bin")!.kind;
  const found = checkPath("/bin/mkdir", "ordinary", hostFiles, accounts);
  expect(found?.rule).toBe(bin === "symlink" ? "symlink" : (undefined as never));
  expect(checkPath("/usr/bin/env", "ordinary", hostFiles, accounts)).toBeUndefined();
  expect(checkPath(join(folder, "sub/file"), "ordinary", hostFiles, accounts)).toBeDefined();
});

test("findProgram() finds by PATH and by path, and executable files only", () => {
  expect(findProgram("sh")).toMatch(/\/sh$/);
  expect(findProgram("/bin/sh")).toBe("/bin/sh");
  expect(findProgram(join(folder, "sub/file"))).toBeUndefined();
  expect(findProgram("no-such-program-anywhere")).toBeUndefined();
  expect(isProgram(folder)).toBe(false);
});

test("isAlive() and commandLineOf() tell of processes", async () => {
  const child = Bun.spawn(["sleep", "600"]);
  expect(isAlive(child.pid)).toBe(true);
  expect(isAlive(1)).toBe(true);
  while (!commandLineOf(child.pid).includes("sleep")) await Bun.sleep(1);
  expect(commandLineOf(child.pid)).toBe("sleep 600");
  child.kill("SIGKILL");
  await child.exited;
  expect(isAlive(child.pid)).toBe(false);
  expect(commandLineOf(child.pid)).toBe("");
});

test("tryUnixSocket() tells a server from what is left of one", async () => {
  const path = join(folder, "socket");
  expect(await tryUnixSocket(path)).toBe("dead");
  const server = createServer().listen(path);
  await new Promise((resolve) => server.once("listening", resolve));
  expect(await tryUnixSocket(path)).toBe("served");
  await new Promise((resolve) => server.close(resolve));
  writeFileSync(path, "");
  expect(await tryUnixSocket(path)).toBe("dead");
});
