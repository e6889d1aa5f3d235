/** A guest of QEMU that shares its memory with `limanet usernet`, a real kernel's driver at its other end. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AskingGuest } from "../support/asking-guest.ts";
import { guestYaml, Home } from "../support/machines.ts";

const LIMIT = 90_000;
const GATEWAY = "192.168.104.2";
const OCTETS = 20_000_001;

const folder = mkdtempSync(join(tmpdir(), "limanet-vhost-"));
const socket = join(folder, "vhost.sock");
const guest = new AskingGuest();
let daemon: Bun.Subprocess<"ignore", "ignore", "pipe">;
let log = "";

async function startNetwork(): Promise<void> {
  daemon = Bun.spawn(
    ["dist/limanet", "usernet", "--listen-vhost-user", socket, "--subnet", "192.168.104.0/24"],
    { stdin: "ignore", stdout: "ignore", stderr: "pipe" },
  );
  const ready = Promise.withResolvers<void>();
  log = "";
  void (async () => {
    for await (const chunk of daemon.stderr) {
      log += new TextDecoder().decode(chunk);
      if (log.includes("network ready")) ready.resolve();
    }
    ready.reject(new Error(log));
  })();
  await ready.promise;
}

const stopNetwork = async () => {
  daemon.kill("SIGTERM");
  await daemon.exited;
};

const memory = (sharing: string) => [
  ...["-m", "256", "-object", `memory-backend-memfd,id=ram,size=256M,share=${sharing}`],
  ...["-machine", "memory-backend=ram"],
];
const card = [
  ...["-chardev", `socket,id=way,path=${socket},reconnect=1`],
  ...[
    "-netdev",
    "vhost-user,id=net0,chardev=way",
    "-device",
    // QEMU 7.2 without KVM ends with MSI-X
    "virtio-net-pci,netdev=net0,mac=52:55:55:00:00:10,vectors=0",
  ],
];

const md5 = (octets: Uint8Array): string => createHash("md5").update(octets).digest("hex");

beforeAll(async () => {
  await startNetwork();
  guest.boot([...memory("on"), ...card], GATEWAY);
});
afterAll(async () => {
  await guest.close();
  await stopNetwork();
  rmSync(folder, { recursive: true, force: true });
}, LIMIT);

test(
  "gets an address, and its card leaves checksums and the cutting of segments to the network",
  async () => {
    expect(await guest.run("ip -4 addr show eth0")).toContain("inet 192.168.104.1/24");
    // virtio 1.2, section 5.1.3: bits 0, 11, 15 and 32 of what both sides have
    const features = await guest.run("cat /sys/bus/virtio/devices/virtio*/features");
    expect([0, 11, 15, 32].map((bit) => features.split("\n")[0]![bit])).toEqual([
      "1",
      "1",
      "1",
      "1",
    ]);
    expect(log).toContain("kind=vhost-user");
  },
  LIMIT,
);

test(
  "carries the same octets both ways",
  async () => {
    guest.download = Uint8Array.from({ length: OCTETS }, (_, i) => (i * 2_654_435_761) >>> 24);
    const said = await guest.run(
      `wget -q -O /tmp/file http://${GATEWAY}:${guest.port}/download && md5sum </tmp/file
nc ${GATEWAY} ${guest.sinkPort} </tmp/file; echo $?`,
    );
    expect(said).toBe(`${md5(guest.download)}  -\n0\n`);
    expect(md5(await guest.upload)).toBe(md5(guest.download));
  },
  LIMIT,
);

test(
  "is there again after the guest has started anew",
  async () => {
    guest.tell("reboot -f");
    expect(await guest.run("cut -d . -f 1 /proc/uptime")).toMatch(/^\d{1,2}\n$/);
    expect(await guest.run(`ping -c 3 -i 0.2 -W 2 ${GATEWAY}`)).toContain("3 packets received");
  },
  LIMIT,
);

test(
  "is there again after the network has",
  async () => {
    await stopNetwork();
    await startNetwork();
    expect(await guest.run(`ping -c 3 -i 0.2 -W 2 ${GATEWAY}`)).toContain("3 packets received");
    expect(guest.isRunning).toBe(true);
  },
  LIMIT,
);

test.each([
  ["the default network", "", "192.168.5.15", "192.168.5.2"],
  ["user-v2", "networks: [{ lima: user-v2 }]\n", "192.168.104.1", "192.168.104.2"],
])(
  "an instance with vhostUser has %s by it",
  async (_name, networks, address, gateway) => {
    const home = new Home(".cache/guest", ["vmlinuz", "initrd"]);
    try {
      const template = home.template("shared", guestYaml(home, `vhostUser: true\n${networks}`));
      await home.must("start", "--name", "shared", template);
      const shell = (...words: string[]) => home.must("shell", "shared", ...words);
      expect(await shell("ip", "-4", "addr", "show", "eth0")).toContain(`inet ${address}/24`);
      expect(await shell("nslookup", "host.lima.internal")).toContain(gateway);
      const { stdout } = await home.run(["pgrep", "-af", "qemu-system.*lima-shared"]);
      expect(stdout).toContain("-netdev vhost-user,id=net0,chardev=way0");
    } finally {
      await home.close();
    }
  },
  LIMIT,
);
