/** The way to macOS' loader, on this system; the whole way of the executable is in tests/native/executable.test.ts. */
import { afterAll, expect, test } from "bun:test";
import { dlopen } from "bun:ffi";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { fromFolder } from "../../lib/host/shim-library.ts";

const folders = mkdtempSync("/tmp/limanet-folders-");
afterAll(() => rmSync(folders, { recursive: true }));
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

test("fromFolder() gives the loader a file that only this user can touch, and leaves nothing", () => {
  const seen = fromFolder(
    Uint8Array.of(1, 2, 3),
    (path) => ({ folder: mode(dirname(path)), file: mode(path), octets: [...readFileSync(path)] }),
    folders,
  );
  expect(seen).toEqual({ folder: "700", file: "500", octets: [1, 2, 3] });
  expect(readdirSync(folders)).toEqual([]);
});

test("fromFolder() leaves nothing either when what it gives is no library", () => {
  const load = (path: string) => dlopen(path, { vmn_abi: { args: [], returns: "u32" } });
  expect(() => fromFolder(Uint8Array.of(1, 2, 3), load, folders)).toThrow("library");
  expect(readdirSync(folders)).toEqual([]);
});

test.skipIf(process.platform !== "linux")("a library stays loaded when its file is gone", () => {
  const library = new URL(`../../dist/native/limanet-linux-${process.arch}.so`, import.meta.url)
    .pathname;
  const load = (path: string) => dlopen(path, { vmn_abi: { args: [], returns: "u32" } }).symbols;
  const { vmn_abi: abi } = fromFolder(readFileSync(library), load, folders);
  expect(abi()).toBe(0x10000);
});
