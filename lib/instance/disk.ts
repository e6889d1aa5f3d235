/** An instance's disk: a qcow2 overlay over its image, made by qemu-img. */
import { firstOctets } from "../host/download.ts";
import type { InstancePaths } from "../config/paths.ts";
import { exists, remove, rename } from "../host/files.ts";
import { findProgram, runCommand } from "../host/process.ts";

const QCOW2_MAGIC = [0x51, 0x46, 0x49, 0xfb];
const TIMEOUT_MS = 60_000;

/** The disk that an instance has; undefined: none yet. Newer Limas call it as we do, older ones diffdisk. */
export const diskOf = (paths: InstancePaths): string | undefined =>
  [paths.disk, paths.limaDisk].find(exists);

export async function diskFormat(path: string): Promise<"qcow2" | "raw"> {
  const magic = await firstOctets(path, QCOW2_MAGIC.length);
  return QCOW2_MAGIC.every((octet, i) => magic[i] === octet) ? "qcow2" : "raw";
}

/** Makes `path` over `base`, at least `size` octets large. */
export async function makeDisk(base: string, path: string, size: number): Promise<void> {
  if (findProgram("qemu-img") === undefined) {
    throw new Error(
      "Cannot make the disk: qemu-img is not installed (on Debian and Ubuntu: apt install qemu-utils; on macOS: brew install qemu)",
    );
  }
  const format = await diskFormat(base);
  const info = await runCommand(
    ["qemu-img", "info", "--output=json", "-f", format, base],
    TIMEOUT_MS,
  );
  if (info.code !== 0)
    throw new Error(`Cannot use the image ${base}: qemu-img cannot read it: ${info.stderr.trim()}`);
  const baseSize = (JSON.parse(info.stdout) as { "virtual-size": number })["virtual-size"];
  // it appears only when it is whole, although we or qemu-img may be killed
  const temporary = `${path}.tmp`;
  const command = [
    "qemu-img",
    "create",
    "-q",
    "-f",
    "qcow2",
    "-b",
    base,
    "-F",
    format,
    temporary,
    String(Math.max(size, baseSize)),
  ];
  const made = await runCommand(command, TIMEOUT_MS);
  if (made.code !== 0) {
    remove(temporary);
    throw new Error(`Cannot make the disk ${path}: ${made.stderr.trim()} (is there space left?)`);
  }
  rename(temporary, path);
}
