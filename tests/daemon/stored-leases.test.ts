import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LeaseStore, storedLeases } from "../../lib/daemon/stored-leases.ts";

const lease = (n: number) => ({ ip: `10.0.0.${n}`, mac: `52:55:55:00:00:0${n}`, expiresAt: n });

let folder: string;
let path: string;
let said: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-store-"));
  path = join(folder, "below", "leases");
  said = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = () => {
  const say = (line: string) => void said.push(line);
  return new LeaseStore(path, { error: say, warn: say });
};
const stored = () => storedLeases(path, () => {});

test("put() resolves when the leases are in the file; of several at once the last are", async () => {
  mkdirSync(join(folder, "below"));
  const store = open();
  await Promise.all([store.put([lease(1)]), store.put([lease(1), lease(2)])]);
  expect(stored()).toEqual([lease(1), lease(2)]);
  expect(readFileSync(path, "utf8")).toEndWith("\n");
  expect(said).toEqual([]);
});

test("what cannot be written holds nobody up, is said once, and is written when it can be", async () => {
  const store = open();
  await store.put([lease(1)]);
  await store.put([lease(1), lease(2)]);
  expect(said).toEqual([
    expect.stringMatching(
      /^Cannot write .*leases: .*; the network goes on, and its leases are stored/,
    ),
  ]);
  mkdirSync(join(folder, "below"));
  while (!existsSync(path)) await Bun.sleep(10);
  expect(stored()).toEqual([lease(1), lease(2)]);
  expect(said[1]).toBe(`the leases are stored in ${path} again`);
});

test("close() writes what could not be written before, and nothing afterwards", async () => {
  const store = open();
  await store.put([lease(3)]);
  mkdirSync(join(folder, "below"));
  store.close();
  expect(stored()).toEqual([lease(3)]);
});
