/** The program's code and constants go from memory when they are told to, and come back as they are needed. */
import { expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { releaseProgramPages } from "../../lib/host/unused-memory.ts";

/** KiB of this program that are in memory as they are in its file: its code ("r-xp"), its constants ("r--p") */
function resident(permissions: string): number {
  const program = readlinkSync("/proc/self/exe");
  const maps = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const ofProgram = maps.filter(
    (map) =>
      map.split(" ")[1] === permissions && map.includes(program) && /^Anonymous: +0 kB/m.test(map),
  );
  return ofProgram.reduce((sum, map) => sum + Number(/^Rss: +(\d+)/m.exec(map)![1]), 0);
}

test.skipIf(process.platform !== "linux").each(["r-xp", "r--p"])(
  "what only the start needed goes from memory (%s)",
  (permissions) => {
    const before = resident(permissions);
    releaseProgramPages();
    const after = resident(permissions);
    expect(after).toBeGreaterThan(0);
    expect(after).toBeLessThan(before / 2);
  },
);
