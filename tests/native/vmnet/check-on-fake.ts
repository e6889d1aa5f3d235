/**
 * `limanet vmnet --check` on the fake of vmnet, as an ordinary user (../vmnet-daemon.test.ts makes the copy of the project):
 * prints what comes of each of vmnet's statuses.
 */
import { dlopen } from "bun:ffi";
import { checkVmnet } from "../../../lib/daemon/vmnet/vmnet-daemon.ts";
import { SILENT } from "../../../lib/trace/log.ts";

/** place of native/fake/fake.h's enum fake_call */
const FAKE_START_LATE = 1;
const NOBODY = 65_534;

const library = new URL(`../../../dist/native/limanet-linux-${process.arch}.so`, import.meta.url);
const { fake_fail: fail } = dlopen(library.pathname, {
  fake_fail: { args: ["u32", "u32", "u32"], returns: "void" },
}).symbols;

if (process.getuid!() === 0) process.setuid!(NOBODY);
const seen: Record<string, unknown> = {};
for (const [status, name] of [
  [1001, "VMNET_FAILURE"],
  [1010, "VMNET_NOT_AUTHORIZED"],
  [1009, "VMNET_SHARING_SERVICE_BUSY"],
  [1000, "VMNET_SUCCESS"],
] as const) {
  fail(FAKE_START_LATE, status, status === 1000 ? 0 : 1);
  // oxlint-disable-next-line no-await-in-loop
  seen[name] = await checkVmnet(SILENT).catch((error: Error) => error.constructor.name);
}
process.stdout.write(JSON.stringify(seen));
process.exit(0);
