import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canMakeNamespaces, GATEWAY, Lab, NETTOOL } from "../support/lab.ts";

const ECHO = 7001;

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

  test("has the checksums also of frames that are carried without", async () => {
    const folder = mkdtempSync(join(tmpdir(), "limanet-capture-"));
    const file = join(folder, "frames.pcap");
    const lab = await Lab.open("--capture", file);
    try {
      await lab.host.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), "127.0.0.1");
      const guest = await lab.guest({ mode: "vhost" });
      await guest.dhcp();
      const { stdout } = await guest.run(
        NETTOOL,
        "xfer",
        GATEWAY,
        String(ECHO),
        "2",
        "1",
        "100000",
      );
      expect(JSON.parse(stdout)).toMatchObject({ ok: 2, bad: 0 });
      await lab.close();
      const read = Bun.spawnSync(["tcpdump", "-nvv", "-r", file, "tcp"]).stdout.toString();
      const lengths = [...read.matchAll(/, length (\d+)\)/g)].map(([, length]) => Number(length));
      expect(read.match(/cksum 0x\w+ \(correct\)/g)).toHaveLength(lengths.length);
      expect(Math.max(...lengths)).toBeGreaterThan(1500);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
