import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseInstance } from "../../lib/config/instance.ts";
import { instancePaths } from "../../lib/config/paths.ts";
import { addressLimitMs, joinUserV2, useQemuSlirp } from "../../lib/daemon/first-network.ts";
import { SILENT } from "../../lib/trace/log.ts";

test.each([
  [undefined, 2],
  ["", 2],
  ["1", 1],
  ["10", 10],
  ["0", 2],
  ["-1", 2],
  ["1.5", 2],
  ["soon", 2],
])(
  "LIMA_USERNET_RESOLVE_IP_ADDRESS_TIMEOUT=%p makes a guest's address wait %d min",
  (text, minutes) => {
    const name = "LIMA_USERNET_RESOLVE_IP_ADDRESS_TIMEOUT";
    expect(addressLimitMs({ [name]: text })).toBe(minutes * 60_000);
  },
);

const configOf = (hostAccess: string) =>
  parseInstance(
    `images: [{location: /d.img, arch: x86_64}]\nhostAccess: ${hostAccess}`,
    "lima.yaml",
  ).config!;

test.each(["none", "[22]"])(
  "QEMU's own network does not start with hostAccess: %s",
  async (text) => {
    const start = useQemuSlirp(instancePaths("/nowhere", "x"), configOf(text), "x", 2222);
    await expect(start).rejects.toThrow(/hostAccess of lima.yaml: QEMU's own network/);
  },
);

test.each([
  ["none", "", true],
  ["[22]", "hostAccess: [22, 80]", true],
  ["none", "hostAccess: all", true],
  ["[22, 80]", "hostAccess: [80]", false],
  ["none", "hostAccess: none", false],
  ["all", "", false],
])(
  "a machine with hostAccess: %s is kept from a user-v2 network with %p: %p",
  async (text, ofNetwork, isKept) => {
    const home = mkdtempSync(join(tmpdir(), "limanet-first-"));
    try {
      mkdirSync(join(home, "_config"));
      const keys = ["mode: user-v2", "gateway: 192.168.104.1", ofNetwork]
        .filter(Boolean)
        .join(", ");
      writeFileSync(join(home, "_config/networks.yaml"), `networks: {net: {${keys}}}`);
      const options = { home, network: "net", log: SILENT, onState: () => {} };
      const joining = joinUserV2(options, "x", configOf(text), "52:55:55:00:00:01", "x.sock");
      if (isKept)
        await expect(joining).rejects.toThrow(/hostAccess of lima.yaml: the network net allows/);
      else await (await joining).close();
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  },
);
