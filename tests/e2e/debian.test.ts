/** A stock Debian with cloud-init, as its users have it: nothing of limanet's is in the image. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Home } from "../support/machines.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const IMAGES = ".cache/debian";
const SOCKET_PORT = 31_000 + (process.pid % 1000);
/** without hardware acceleration Debian takes about a minute to boot */
const LIMIT = 400_000;

if (process.getuid?.() === 0) {
  const built = Bun.spawnSync([join(ROOT, "scripts/debian-image")], {
    stdout: "inherit",
    stderr: "inherit",
  });
  if (!built.success) throw new Error("scripts/debian-image has failed");
}
const hasImage = existsSync(join(ROOT, IMAGES, "fingerprint"));
if (!hasImage)
  process.stderr.write(
    "skipped: the Debian guest (its image is built by root: sudo scripts/debian-image)\n",
  );

describe.skipIf(!hasImage)("a stock Debian guest", () => {
  let home: Home;
  beforeAll(async () => {
    home = new Home(IMAGES, ["vmlinuz", "initrd", "disk.qcow2"]);
    home.networks(`
networks:
  user-v2: { mode: user-v2, gateway: 192.168.104.1, netmask: 255.255.255.0 }
  second: { mode: user-v2, gateway: 192.168.117.1, netmask: 255.255.255.0, mtu: 9000 }
`);
    const template = home.template(
      "debian",
      `
images:
  - location: disk.qcow2
    arch: x86_64
    kernel: { location: vmlinuz, cmdline: root=/dev/vda rw console=ttyS0 quiet }
    initrd: { location: initrd }
cpus: 2
memory: 1GiB
disk: 3GiB
env: { GREETING: "hello guest" }
hostResolver:
  hosts: { printer.test: 203.0.113.5 }
networks:
  - lima: user-v2
  - lima: second
    interface: lima1
    metric: 333
portForwards:
  - { guestSocket: "{{.Home}}/guest.sock", hostSocket: guest.sock }
  - { guestSocket: "{{.Home}}/guest.sock", hostPort: ${SOCKET_PORT} }
  - { guestSocket: "/tmp/{{.User}}-host.sock", hostSocket: "{{.Dir}}/../host.sock", reverse: true }
provision:
  - mode: system
    script: |
      #!/bin/sh
      date +%s%N >>/root/boots
  - mode: user
    script: |
      #!/bin/sh
      id -un >~/user-ran
`,
    );
    await home.must("start", "--timeout", "350", template);
  }, LIMIT);
  afterAll(() => home?.close(), LIMIT);

  const shell = (...words: string[]) => home.must("shell", "debian", ...words);

  test(
    "cloud-init ends without an error",
    async () => {
      expect(await shell("cloud-init", "status", "--wait")).toContain("status: done");
    },
    LIMIT,
  );

  test("a socket of the guest is a socket and a port of the host, and a socket of the host one of the guest", async () => {
    const serve =
      "import socketserver; socketserver.UnixStreamServer('guest.sock', type('H', (socketserver.StreamRequestHandler,), {'handle': lambda self: self.wfile.write(b'guest heard ' + self.rfile.read())})).serve_forever()";
    await shell(
      "sh",
      "-c",
      `cd; python3 -c "${serve}" >/dev/null 2>&1 & until test -S ~/guest.sock; do sleep 0.1; done`,
    );
    const talk = (to: { path: string } | { host: string; port: number }) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect({ ...to, allowHalfOpen: true });
        let heard = "";
        socket.on("data", (octets) => (heard += octets.toString()));
        socket.on("end", () => resolve(heard));
        socket.on("error", reject);
        socket.end("hello");
      });
    const path = join(home.limanetHome, "debian/sock/guest.sock");
    expect(await talk({ path })).toBe("guest heard hello");
    expect(await talk({ host: "127.0.0.1", port: SOCKET_PORT })).toBe("guest heard hello");
    expect(await talk({ host: "::1", port: SOCKET_PORT })).toBe("guest heard hello");
    const hostSocket = join(home.limanetHome, "host.sock");
    const server = Bun.listen({
      unix: hostSocket,
      socket: {
        data(socket, octets) {
          socket.end(`host heard ${octets.toString()}`);
        },
      },
    });
    chmodSync(hostSocket, 0o777);
    const ask =
      "import socket, getpass; s = socket.socket(socket.AF_UNIX); s.connect('/tmp/' + getpass.getuser() + '-host.sock'); s.sendall(b'hello'); print(s.recv(99).decode())";
    expect(await shell("python3", "-c", ask)).toBe("host heard hello\n");
    server.stop(true);
  });

  test("the user, its rights and the host's name are as configured", async () => {
    expect(await shell("sudo", "-n", "id", "-un")).toBe("root\n");
    expect(await shell("hostname")).toBe("lima-debian\n");
    expect(await shell("sh", "-lc", "cat ~/user-ran")).toBe(await shell("id", "-un"));
    expect(await shell("cat", "/etc/environment")).toContain("GREETING=hello guest");
  });

  test("both network cards have their names, addresses and metrics", async () => {
    expect(await shell("ip", "-4", "-br", "addr")).toMatch(
      /eth0 +UP +192\.168\.104\.\d+\/24[\s\S]*lima1 +UP +192\.168\.117\.\d+\/24/,
    );
    const routes = await shell("ip", "route", "show", "default");
    expect(routes).toMatch(/via 192\.168\.104\.2 dev eth0 .*metric 200/);
    expect(routes).toMatch(/via 192\.168\.117\.2 dev lima1 .*metric 333/);
  });

  test("names resolve through systemd-resolved", async () => {
    expect(await shell("resolvectl", "dns", "eth0")).toContain("192.168.104.2");
    expect(await shell("getent", "ahostsv4", "printer.test")).toContain("203.0.113.5");
    expect(await shell("getent", "ahostsv4", "lima-debian.internal")).toContain("192.168.104.");
    expect(await shell("getent", "hosts", "host.lima.internal")).toContain("192.168.104.2");
    // each of its two networks has a gateway of that name, and resolved asks both
    expect(
      await shell("resolvectl", "query", "--interface=eth0", "gateway.lima.internal"),
    ).toContain("192.168.104.2");
  });

  test("the disk has the size that lima.yaml asks for, and the image is as it was", async () => {
    const size = Number(await shell("sh", "-c", "df --output=size -B1 / | tail -n 1"));
    expect(size).toBeGreaterThan(2.5 * 1024 ** 3);
    const info = await home.run(["qemu-img", "info", "--output=json", home.path("disk.qcow2")]);
    expect((JSON.parse(info.stdout) as { "virtual-size": number })["virtual-size"]).toBe(
      2 * 1024 ** 3,
    );
  });

  test(
    "at the next start its disk is as it was left, and the boot scripts run again",
    async () => {
      await shell("sudo", "sh", "-c", "echo kept >/root/kept; sync");
      await home.must("stop", "debian");
      expect(await home.processes()).toEqual([]);
      await home.must("start", "--timeout", "350", "debian");
      expect(await shell("sudo", "cat", "/root/kept")).toBe("kept\n");
      expect((await shell("sudo", "cat", "/root/boots")).trim().split("\n")).toHaveLength(2);
    },
    LIMIT,
  );
});
