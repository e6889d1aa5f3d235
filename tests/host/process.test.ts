import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { livingProcess, runCommand, startProcess } from "../../lib/host/process.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-process-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("runCommand() gives code and output", async () => {
  const { code, stdout, stderr } = await runCommand(
    ["sh", "-c", "echo a; echo b >&2; exit 3"],
    5000,
  );
  expect({ code, stdout, stderr }).toEqual({ code: 3, stdout: "a\n", stderr: "b\n" });
});

test("runCommand() kills a command that takes too long, and gives what it has said", async () => {
  const { code, stdout } = await runCommand(["sh", "-c", "echo a; exec sleep 60"], 300);
  expect({ code, stdout }).toEqual({ code: -1, stdout: "a\n" });
});

test("runCommand() ends in time although a process that the command has left holds its output open", async () => {
  const left = "sleep 60 & echo $!; exec sleep 60";
  const { code, stdout } = await runCommand(["sh", "-c", left], 300);
  expect(code).toBe(-1);
  process.kill(Number(stdout), "SIGKILL");
});

test("startProcess() writes into new files, and leaves those of an earlier process to it", async () => {
  const files = { stdout: join(folder, "out"), stderr: join(folder, "err") };
  const first = startProcess(["sh", "-c", "read nothing; sleep 0.2; echo first"], files, false);
  const second = startProcess(["echo", "second"], files, false);
  expect(await first.exited).toBe(0);
  expect(await second.exited).toBe(0);
  expect(readFileSync(files.stdout, "utf8")).toBe("second\n");
  expect(existsSync(files.stderr)).toBe(true);
});

test.each([
  ["our own", `${process.pid}\n`, process.pid],
  ["nothing", "", 0],
  ["no file", undefined, 0],
  ["no number", "12a", 0],
  ["a group of processes", "-1", 0],
  ["nobody's", "4194999", 0],
])("livingProcess() of %s", (_name, text, pid) => {
  expect(livingProcess(text)).toBe(pid);
});
