/** An instance's disk, made of its image by qemu-img: a qcow2 overlay for QEMU, a raw copy for Virtualization.framework. */
import { firstOctets } from "../host/download.ts";
import type { InstancePaths } from "../config/paths.ts";
import { exists, remove, rename } from "../host/files.ts";
import { findProgram, runCommand } from "../host/process.ts";

const QCOW2_MAGIC = [0x51, 0x46, 0x49, 0xfb];
/** a raw disk is a copy of the whole image */
const TIMEOUT_MS = 300_000;

/** The disk that an instance has; undefined: none yet. Newer Limas call it as we do, older ones diffdisk. */
export const diskOf = (paths: InstancePaths): string | undefined =>
  [paths.disk, paths.limaDisk].find(exists);

export async function diskFormat(path: string): Promise<"qcow2" | "raw"> {
  const magic = await firstOctets(path, QCOW2_MAGIC.length);
  return QCOW2_MAGIC.every((octet, i) => magic[i] === octet) ? "qcow2" : "raw";
}

/** Makes `path` of `base`, at least `size` octets large: over it (qcow2), or with holes for what is zero (raw). */
export async function makeDisk(
  base: string,
  path: string,
  { size, format: wanted }: { size: number; format: "qcow2" | "raw" },
): Promise<void> {
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
  const octets = String(Math.max(size, baseSize));
  const steps =
    wanted === "raw"
      ? [
          ["convert", "-f", format, "-O", "raw", base, temporary],
          ["resize", "-q", "-f", "raw", temporary, octets],
        ]
      : [["create", "-q", "-f", "qcow2", "-b", base, "-F", format, temporary, octets]];
  for (const step of steps) {
    const made = await runCommand(["qemu-img", ...step], TIMEOUT_MS);
    if (made.code === 0) continue;
    remove(temporary);
    throw new Error(`Cannot make the disk ${path}: ${made.stderr.trim()} (is there space left?)`);
  }
  rename(temporary, path);
}
