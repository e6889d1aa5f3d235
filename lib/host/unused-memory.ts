/**
 * Memory that nobody needs any more goes back to the system: garbage, and the program's own code and constants, most of which
 * are needed once, while the program starts. Their pages are the file's, and come back from there when they are needed again.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { libc } from "./libc.ts";

/** from the start of a daemon to when it has started, with some room */
const START_MS = 500;
const MADV_DONTNEED = 4;

/** Gives the program's pages back, where Linux' /proc tells of them; those that are in use are there again at once. */
export function releaseProgramPages(): void {
  if (process.platform !== "linux") return;
  let program: string;
  let maps: string;
  try {
    program = readlinkSync("/proc/self/exe");
    maps = readFileSync("/proc/self/maps", "utf8");
  } catch {
    return;
  }
  const parts = [...maps.matchAll(/^(\w+)-(\w+) r(.)(.)p \S+ \S+ \S+ +(.*)$/gm)].filter(
    ([, , , , , path]) => path === program,
  );
  // linkers put what is written once, and protected then, behind the code: only what stands before is as it is in the file
  const last = parts.findLastIndex(([, , , , executable]) => executable === "x");
  for (const [, from, to, writable] of parts.slice(0, last + 1)) {
    if (writable === "w") continue;
    const start = Number.parseInt(from!, 16);
    libc.madvise(start, Number.parseInt(to!, 16) - start, MADV_DONTNEED);
  }
}

/** The same when a daemon that starts now has started. */
export function releaseProgramPagesSoon(): void {
  setTimeout(releaseProgramPages, START_MS).unref();
}

/** The same, and all garbage of this thread's now; takes some tens of milliseconds. */
export function returnUnusedMemory(): void {
  Bun.gc(true);
  releaseProgramPages();
}
