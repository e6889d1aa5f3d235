/** A home without room, or that cannot be written: what is there stays as it is, a sentence says why, and later all goes on. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chownSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { guestYaml, Home } from "../support/machines.ts";

const LIMIT = 120_000;
const NOBODY = 65_534;
const canMount = process.getuid?.() === 0;
if (!canMount) process.stderr.write("skipped: homes without room (mounting one needs root)\n");

let home: Home;
const must = (...words: string[]) => {
  const { exitCode, stderr } = Bun.spawnSync(words);
  if (exitCode !== 0) throw new Error(`${words.join(" ")}: ${stderr.toString()}`);
};
beforeAll(async () => {
  if (!canMount) return;
  home = new Home(".cache/guest", ["vmlinuz", "initrd"]);
  mkdirSync(home.limanetHome);
  must("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", home.limanetHome);
  chownSync(home.limanetHome, NOBODY, NOBODY);
  await home.must("create", "--name", "vm", home.template("vm", guestYaml(home)));
}, LIMIT);
afterAll(async () => {
  if (!canMount) return;
  await home.limanet("delete", "--force", "vm");
  must("umount", "--lazy", home.limanetHome);
  await home.close();
}, LIMIT);

const filler = () => join(home.limanetHome, "filler");
/** every file of the home, with its text */
const contents = () =>
  readdirSync(home.limanetHome, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== "filler")
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
    .map((path) => [path, readFileSync(path, "latin1")]);

const troubles: [string, () => void, () => void, RegExp][] = [
  [
    "the disk is full",
    () => void Bun.spawnSync(["dd", "if=/dev/zero", `of=${filler()}`, "bs=4k"]),
    () => rmSync(filler()),
    // ssh-keygen has words of its own
    /the disk is full \(free some space and do it again\)|No space left on device/,
  ],
  [
    "the file system is read-only",
    () => must("mount", "-o", "remount,ro", home.limanetHome),
    () => must("mount", "-o", "remount,rw", home.limanetHome),
    /the file system is read-only \(choose another LIMANET_HOME, or mount it writable\)|Read-only file system/,
  ],
];

test.skipIf(!canMount).each(troubles)(
  "when %s no command changes, cuts or loses a file, and each says why",
  async (_name, begin, end, why) => {
    await home.must("network", "list");
    const before = contents();
    begin();
    for (const words of [
      ["edit", "vm", "--cpus", "2"],
      ["network", "create", "more", "--gateway", "10.99.0.1/24"],
      ["create", "--name", "another", home.template("another", guestYaml(home))],
      ["start", "vm"],
    ]) {
      const { code, stderr } = await home.limanet(...words);
      expect([words[0], code, stderr]).toEqual([words[0], 1, expect.stringMatching(why)]);
      expect(contents()).toEqual(before);
    }
    expect((await home.list()).map(({ name, status }) => [name, status])).toEqual([
      ["vm", "Stopped"],
    ]);
    end();
    await home.must("edit", "vm", "--cpus", "2");
    expect(await home.must("list", "--json")).toContain('"cpus":2');
    await home.must("edit", "vm", "--cpus", "1");
  },
  LIMIT,
);

test.skipIf(!canMount)(
  "a machine whose disk becomes full runs on, and is stopped as ever, with nothing left behind",
  async () => {
    await home.must("start", "vm");
    Bun.spawnSync(["dd", "if=/dev/zero", `of=${filler()}`, "bs=4k"]);
    expect(await home.must("shell", "vm", "hostname")).toBe("lima-vm\n");
    await home.must("stop", "vm");
    rmSync(filler());
    expect((await home.list()).map(({ status }) => status)).toEqual(["Stopped"]);
    const left = readdirSync(join(home.limanetHome, "vm"));
    expect(left.filter((name) => /\.(pid|sock|tmp)$/.test(name))).toEqual([]);
  },
  4 * LIMIT,
);
