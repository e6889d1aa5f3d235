/** The program's code goes from memory when it is told to, and comes back as it is run. */
import { expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { releaseProgramPages } from "../../lib/host/unused-memory.ts";

/** KiB of this program's code that are in memory */
function residentCode(): number {
  const program = readlinkSync("/proc/self/exe");
  const maps = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const ofProgram = maps.filter((map) => /^\S+ r-xp /.test(map) && map.includes(program));
  return ofProgram.reduce((sum, map) => sum + Number(/^Rss: +(\d+)/m.exec(map)![1]), 0);
}

test.skipIf(process.platform !== "linux")("what only the start needed goes from memory", () => {
  const before = residentCode();
  releaseProgramPages();
  const after = residentCode();
  expect(after).toBeGreaterThan(0);
  expect(after).toBeLessThan(before / 2);
});
