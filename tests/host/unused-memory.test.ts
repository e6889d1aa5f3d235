/** The program's code and constants go from memory when they are told to, and come back as they are needed. */
import { expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { releaseProgramPages } from "../../lib/host/unused-memory.ts";

const ofProgram = (): string[] => {
  const program = readlinkSync("/proc/self/exe");
  const maps = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return maps.filter((map) => map.includes(program));
};
/** KiB of some parts of this program */
const sum = (parts: string[], what: string): number =>
  parts.reduce((all, map) => all + Number(new RegExp(`^${what}: +(\\d+)`, "m").exec(map)![1]), 0);

/** KiB of this program that are in memory as they are in its file: its code ("r-xp"), its constants ("r--p") */
const resident = (permissions: string): number =>
  sum(
    ofProgram().filter(
      (map) => map.split(" ")[1] === permissions && /^Anonymous: +0 kB/m.test(map),
    ),
    "Rss",
  );

test.skipIf(process.platform !== "linux")("what was written stays as it is", () => {
  const before = sum(ofProgram(), "Anonymous");
  releaseProgramPages();
  expect(before).toBeGreaterThan(0);
  expect(sum(ofProgram(), "Anonymous")).toBeGreaterThanOrEqual(before);
});

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
