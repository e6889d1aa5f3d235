import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canMakeNamespaces, GATEWAY, Lab } from "../support/lab.ts";

describe.skipIf(!canMakeNamespaces)("--capture", () => {
  test("writes every frame of the guests and of the gateway, as tcpdump reads them", async () => {
    const folder = mkdtempSync(join(tmpdir(), "limanet-capture-"));
    const file = join(folder, "frames.pcap");
    const lab = await Lab.open("--capture", file);
    try {
      const guest = await lab.guest();
      const { ip } = await guest.dhcp();
      await guest.run("ping", "-n", "-c", "3", "-i", "0.05", GATEWAY);
      await lab.close();
      const read = Bun.spawnSync(["tcpdump", "-n", "-r", file]).stdout.toString();
      expect(read).toContain("0.0.0.0.68 > 255.255.255.255.67: BOOTP/DHCP, Request");
      expect(read).toContain(`${GATEWAY}.67 > ${ip}.68: BOOTP/DHCP, Reply`);
      expect(read.match(/ICMP echo request/g)).toHaveLength(3);
      expect(read.match(/ICMP echo reply/g)).toHaveLength(3);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
