/** A short run of what scripts/faults does: kill -9 of daemons and guests under load, then everything as before. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { canMakeNamespaces } from "../support/lab.ts";

const ROUNDS = 3;

test.skipIf(!canMakeNamespaces)(
  `${ROUNDS} rounds of kill -9 under load: no lease is lost, no octet changed, and nothing is to be done by hand`,
  async () => {
    const script = join(import.meta.dir, "../faults/kills.ts");
    const child = Bun.spawn([process.execPath, script, String(ROUNDS)], { stderr: "pipe" });
    const [said, complaints] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect([await child.exited, complaints]).toEqual([0, ""]);
    expect(said).toContain(`${ROUNDS} rounds survived, seed `);
  },
  240_000,
);
