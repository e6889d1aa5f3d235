import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
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
import { join } from "node:path";
import { orFileFailure } from "../../lib/host/file-failure.ts";
import {
  isSocket,
  makeFolder,
  readTextIfThere,
  remove,
  writeFileAtomically,
} from "../../lib/host/files.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("writeFileAtomically() replaces a file with the mode that is asked for, and leaves no other", () => {
  const path = join(folder, "a");
  writeFileSync(path, "old", { mode: 0o644 });
  writeFileAtomically(path, "new", 0o600);
  expect(readFileSync(path, "utf8")).toBe("new");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["a"]);
});

test("writeFileAtomically() says what it could not write, and leaves nothing of it", () => {
  mkdirSync(join(folder, "a"));
  expect(() => writeFileAtomically(join(folder, "a"), "new")).toThrow(`Cannot write ${folder}/a: `);
  expect(readdirSync(folder)).toEqual(["a"]);
});

test("readTextIfThere() gives a file's text, and undefined where nothing is", () => {
  writeFileSync(join(folder, "a"), "text");
  expect(readTextIfThere(join(folder, "a"))).toBe("text");
  expect(readTextIfThere(join(folder, "none"))).toBeUndefined();
  expect(readTextIfThere(join(folder, "a/below"))).toBeUndefined();
});

test.each([
  ["a folder", "", "it is a folder, and a file is needed"],
  ["a circle of links", "/circle", "symbolic links lead in a circle"],
  ["a name of 300 letters", `/${"n".repeat(300)}`, "the name is too long"],
])("readTextIfThere() says why it cannot read %s", (_what, name, why) => {
  symlinkSync("circle", join(folder, "circle"));
  expect(() => readTextIfThere(folder + name)).toThrow(`Cannot read ${folder}${name}: ${why}`);
});

const FULL = "the disk is full (free some space and do it again)";

// both are everywhere on Linux: a device that is always full, and a file system nobody can write to
test.skipIf(!existsSync("/dev/full")).each([
  [
    "file",
    () => orFileFailure("write", "/dev/full", () => writeFileSync("/dev/full", "a")),
    `Cannot write /dev/full: ${FULL}`,
  ],
  [
    "write",
    () => writeFileAtomically("/sys/a", "b"),
    /^Cannot write \/sys\/a: (the file system is read-only|permission denied)/,
  ],
  [
    "folder",
    () => makeFolder("/sys/a"),
    /^Cannot make the folder \/sys\/a: (the file system is read-only|permission denied)/,
  ],
] as const)("a full disk and a read-only one are told as such: %s", (_name, work, message) => {
  expect(work).toThrow(message);
});

test("isSocket() is false for files, folders and nothing", () => {
  writeFileSync(join(folder, "a"), "");
  for (const path of [join(folder, "a"), folder, join(folder, "none")])
    expect(isSocket(path)).toBe(false);
  remove(join(folder, "none"));
});
