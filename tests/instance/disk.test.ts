/** Disks made by the real qemu-img. */
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { diskFormat, makeDisk } from "../../lib/instance/disk.ts";

const folder = mkdtempSync(`${tmpdir()}/disk-`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => `${folder}/${name}`;
const MIB = 1024 ** 2;

const content = Buffer.alloc(2 * MIB, "what the image holds ");
writeFileSync(at("image.raw"), content);
const convert = ["qemu-img", "convert", "-O", "qcow2", at("image.raw"), at("image.qcow2")];
expect(Bun.spawnSync(convert).exitCode).toBe(0);
const info = (path: string) =>
  Bun.spawnSync(["qemu-img", "info", "--output=json", path]).stdout.toString();

test.each(["image.raw", "image.qcow2"])(
  "makeDisk() makes a raw disk of %s, larger",
  async (image) => {
    const disk = at(`${image}.disk`);
    await makeDisk(at(image), disk, { size: 64 * MIB, format: "raw" });
    expect(await diskFormat(disk)).toBe("raw");
    expect(statSync(disk).size).toBe(64 * MIB);
    expect(readFileSync(disk).subarray(0, content.length).equals(content)).toBe(true);
    // what is zero takes no room
    expect(statSync(disk).blocks * 512).toBeLessThan(16 * MIB);
  },
);

test.each(["image.raw", "image.qcow2"])("makeDisk() makes a qcow2 disk over %s", async (image) => {
  const disk = at(`${image}.over`);
  await makeDisk(at(image), disk, { size: 64 * MIB, format: "qcow2" });
  expect(await diskFormat(disk)).toBe("qcow2");
  expect(JSON.parse(info(disk))).toMatchObject({
    "virtual-size": 64 * MIB,
    "backing-filename": at(image),
  });
});

test.each(["raw", "qcow2"] as const)(
  "makeDisk() makes no %s disk smaller than its image",
  async (format) => {
    const disk = at(`small.${format}`);
    await makeDisk(at("image.qcow2"), disk, { size: 1, format });
    expect(JSON.parse(info(disk))).toMatchObject({ "virtual-size": content.length });
  },
);

test.each(["raw", "qcow2"] as const)(
  "makeDisk() of a %s disk that fails leaves nothing",
  async (format) => {
    writeFileSync(at("damaged"), "QFI\xfb and no more of it", "latin1");
    const made = makeDisk(at("damaged"), at("none"), { size: MIB, format });
    await expect(made).rejects.toThrow(`Cannot use the image ${at("damaged")}`);
    const nowhere = makeDisk(at("image.qcow2"), at("no/such/folder"), { size: MIB, format });
    await expect(nowhere).rejects.toThrow(/^Cannot make the disk/);
    expect(existsSync(at("none.tmp"))).toBe(false);
  },
);
