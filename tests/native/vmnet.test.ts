/** The vmnet back end (native/be_vmnet.c) against the fake of Apple's frameworks (native/fake). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { ProjectOnFake, run } from "../support/fake-vmnet.ts";

const SHIM_ON_FAKE = new URL("vmnet/shim-on-fake.ts", import.meta.url).pathname;
const project = new ProjectOnFake();
beforeAll(() => project.make());
afterAll(() => project.remove());

describe.each([
  ["no sanitizer", []],
  ["addresses and undefined behaviour watched", ["-fsanitize=address,undefined"]],
  ["threads watched", ["-fsanitize=thread"]],
])("vmnet back end, %s", (name, options) => {
  test("all that tests/native/vmnet/exercise.c asks of it", async () => {
    const program = join(project.folder, name.replaceAll(" ", "-"));
    const compiled = await run("scripts/build-native", "exercise", program, ...options);
    expect(compiled.stderr).toBe("");
    const { stdout, stderr, code } = await run(program);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.filter((line) => !line.startsWith("ok "))).toEqual([]);
    expect(lines.length).toBe(24);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  });
});

test("shim.ts on the vmnet back end: frames echoed in order, an interface that goes, failures in words", async () => {
  const { stdout, stderr } = await project.run(SHIM_ON_FAKE);
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual({
    wrong: 0,
    stats: { framesOut: 20_000, framesIn: 20_000, dropped: 0, refused: 0 },
    status: -1005,
    header: "12",
    capabilities: { backend: "vmnet", network_api: "1", virtio_header: "1", max_batch: "64" },
    bridgeable: ["en0", "en7"],
    stopped: "Cannot stop the host's interface: EBADF",
    noInterface:
      "Cannot start an interface of mode bridged: start: VMNET_INVALID_ARGUMENT (can be bridged: en0, en7)",
    twoLines: 'Cannot use "fd00::\\nmode=host" as nat66: it is more than one line',
  });
});
