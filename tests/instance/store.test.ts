/** What an instance's folder tells of it. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { instancePaths } from "../../lib/config/paths.ts";
import { diskFormat, diskOf } from "../../lib/instance/disk.ts";
import { isOurs, lastingSshPort, markAsAdopted, removeInstance } from "../../lib/instance/store.ts";
import { LimaHome } from "../support/lima-home.ts";

let home: LimaHome;
beforeEach(() => {
  home = new LimaHome({});
});
afterEach(() => home.close());

test.each([
  ["default", "1.0.4", 60_022],
  ["default", "v0.23.2", 60_022],
  ["default", "2.0.0", undefined],
  ["default", "2.2.0-153-g183a60d7", undefined],
  ["default", "limanet 0.1.0", undefined],
  ["default", "", undefined],
  ["other", "1.0.4", undefined],
])("lastingSshPort() of %s by Lima %s is %s (specification 3.6)", (name, version, port) => {
  home.write(`${name}/lima-version`, version);
  expect(lastingSshPort(instancePaths(home.folder, name), name)).toBe(port!);
});

test("isOurs() goes by who made it, or has taken it over", () => {
  const paths = instancePaths(home.folder, "vm");
  home.write("vm/lima.yaml", "");
  expect(isOurs(paths)).toBe(false);
  home.write("vm/lima-version", "2.0.1");
  expect(isOurs(paths)).toBe(false);
  markAsAdopted(paths, "0.1.0");
  expect(isOurs(paths)).toBe(true);
  expect(home.read("vm/lima-version")).toBe("2.0.1");
  removeInstance(paths);
  expect(existsSync(paths.dir)).toBe(false);
  home.write("vm/lima-version", "limanet 0.1.0\n");
  expect(isOurs(paths)).toBe(true);
});

test("the disk is ours or Lima's, by its own format", async () => {
  const paths = instancePaths(home.folder, "vm");
  expect(diskOf(paths)).toBeUndefined();
  home.write("vm/diffdisk", "QFI\u00fb");
  expect(diskOf(paths)).toBe(paths.limaDisk);
  expect(await diskFormat(home.write("vm/raw", "no magic"))).toBe("raw");
  await Bun.write(home.path("vm/disk"), new Uint8Array([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]));
  expect(diskOf(paths)).toBe(paths.disk);
  expect(await diskFormat(paths.disk)).toBe("qcow2");
});
