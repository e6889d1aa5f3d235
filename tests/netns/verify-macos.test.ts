/** scripts/verify-macos as far as it runs on Linux: the executable, networks with their start, a guest, and their end. */
import { expect, test } from "bun:test";
import { canMakeNamespaces, LIMANET } from "../support/lab.ts";

const SCRIPT = new URL("../../scripts/verify-macos", import.meta.url).pathname;
const OWN_RUN =
  'mkdir -p /run/limanet && mount -t tmpfs -o mode=755 none /run/limanet && exec "$0" "$@"';

test.skipIf(!canMakeNamespaces)(
  "verify-macos: what is not Apple's passes, and the rest is said to be skipped",
  () => {
    const words = ["--binary", LIMANET, "--no-tests", "--no-machines"];
    const { stdout, stderr } = Bun.spawnSync([
      "unshare",
      "-n",
      "-m",
      "sh",
      "-c",
      OWN_RUN,
      SCRIPT,
      ...words,
    ]);
    expect(stderr.toString()).toBe("");
    const lines = stdout.toString().split("\n");
    expect(lines.filter((line) => line.startsWith("ok    "))).toEqual([
      "ok    it loads its native library",
      ...["shared", "host"].flatMap((mode) => [
        `ok    ${mode}: the network starts`,
        `ok    ${mode}: a guest gets an address and 100 answers from the gateway`,
        `ok    ${mode}: the network ends`,
      ]),
    ]);
    expect(lines).toContain("skip  Apple's headers say what native/sdk says: no macOS");
    expect(lines).toContain("skip  machines: no macOS");
    expect(lines.at(-2)).toBe("7 passed, 0 failed");
  },
);
