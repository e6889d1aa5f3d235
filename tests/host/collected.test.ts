/**
 * What the C library is given must live until it has read it. Here the collector of memory runs at every third allocation, and
 * code is compiled at once: what is kept only by a variable that nobody reads any more is gone when the call is made.
 */
import { expect, test } from "bun:test";

const OPTIONS = {
  BUN_JSC_slowPathAllocsBetweenGCs: "3",
  BUN_JSC_useConcurrentJIT: "0",
  BUN_JSC_thresholdForJITAfterWarmUp: "5",
  BUN_JSC_thresholdForOptimizeAfterWarmUp: "20",
  BUN_JSC_thresholdForOptimizeAfterLongWarmUp: "20",
  BUN_JSC_thresholdForOptimizeSoon: "5",
};

test.each(["vz", "datagram-pair", "datagram-sockets", "descriptor-passing", "stream-sockets"])(
  "nothing is collected while the C library has it: %s",
  async (name) => {
    const child = Bun.spawn([process.execPath, "test", `${import.meta.dir}/${name}.test.ts`], {
      env: { ...process.env, ...OPTIONS },
      stdout: "ignore",
      stderr: "pipe",
    });
    const said = await new Response(child.stderr).text();
    expect([await child.exited, said]).toEqual([0, said]);
  },
);
