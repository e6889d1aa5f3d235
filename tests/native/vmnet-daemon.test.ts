/** macOS' side of `limanet vmnet` (lib/daemon/vmnet/apple-side.ts) against the fake of Apple's frameworks (native/fake). */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { ProjectOnFake } from "../support/fake-vmnet.ts";

const DAEMON_ON_FAKE = new URL("vmnet/daemon-on-fake.ts", import.meta.url).pathname;
const CHECK_ON_FAKE = new URL("vmnet/check-on-fake.ts", import.meta.url).pathname;
const project = new ProjectOnFake();
beforeAll(() => project.make());
afterAll(() => project.remove());

test("the daemon gives vmnet its settings, carries frames both ways, and ends when the interface goes", async () => {
  const socket = join(project.folder, "socket_vmnet.fake");
  const { stdout, stderr } = await project.run(DAEMON_ON_FAKE, socket);
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual({
    retries: process.getuid!() === 0 ? 1 : 0,
    described: {
      operation_mode: "1001",
      start_address: "192.168.105.1",
      end_address: "192.168.105.100",
      subnet_mask: "255.255.255.0",
      interface_id: "4c1f5f6e2b1a4d0c9a430f3f7e0d6a11",
      nat66_prefix: "fd12:3456:789a:bcde::",
    },
    ready: "mode=shared",
    // the guest that played DHCP server was not heard
    outward: `0200000000fe52555500000188b5${"11".repeat(50)}`,
    inward: `000000405255550000010200000000fe88b5${"22".repeat(50)}`,
    end: "Cannot go on with the network: the host's interface has gone: VMNET_INVALID_ACCESS",
    left: [],
  });
}, 60_000);

test("an ordinary user who vmnet refuses is told apart from what root could not do either", async () => {
  const { stdout, stderr } = await project.run(CHECK_ON_FAKE);
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual({
    VMNET_FAILURE: "NotPermittedError",
    VMNET_NOT_AUTHORIZED: "NotPermittedError",
    VMNET_SHARING_SERVICE_BUSY: "EngineError",
    VMNET_SUCCESS: 0,
  });
}, 60_000);
