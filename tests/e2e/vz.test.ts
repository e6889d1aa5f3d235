/**
 * Instances with vmType vz, from `limanet start` to `delete`: everything is the product's own but Apple's frameworks, in
 * whose place a fake runs each machine as a QEMU process.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildOnFakeVz } from "../support/fake-vz-executable.ts";
import { Home } from "../support/machines.ts";

const LIMIT = 240_000;
const FAKE = "dist/native/fake-vz.so";

let home: Home;
beforeAll(async () => {
  home = new Home(".cache/guest", ["vmlinuz", "initrd"]);
  home.add("fake-vz.so", new URL(`../../${FAKE}`, import.meta.url).pathname);
  await buildOnFakeVz(home.path("limanet"), home.path("fake-vz.so"));
}, LIMIT);
afterAll(() => home.close(), LIMIT);

const yaml = (more = "") => `
vmType: vz
images:
  - arch: x86_64
    kernel: { location: ${home.path("vmlinuz")}, cmdline: console=ttyS0 quiet fake.qemu }
    initrd: { location: ${home.path("initrd")} }
cpus: 1
memory: 256MiB
${more}`;
const shell = (name: string, ...words: string[]) => home.must("shell", name, ...words);

test(
  "an instance on the default network: ssh, names, a forwarded port, stop and start again",
  async () => {
    const port = 20_000 + (process.pid % 10_000);
    const forward = `portForwards:\n  - { guestPort: 8000, hostPort: ${port}, static: true }\n`;
    await home.must("start", "--name", "one", home.template("one", yaml(forward)));
    expect(await home.list()).toMatchObject([{ name: "one", status: "Running" }]);
    expect(await shell("one", "cat", "/etc/resolv.conf")).toContain("192.168.5.2");
    expect(await shell("one", "nslookup", "host.lima.internal")).toContain("192.168.5.2");
    expect(home.consoles()).toContain("guest: ready");
    const serve =
      "mkdir /tmp/www; echo by-vz >/tmp/www/index.html; busybox httpd -p 8000 -h /tmp/www";
    await shell("one", "sh", "-c", serve);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("by-vz\n");
    await home.must("stop", "one");
    expect(await home.list()).toMatchObject([{ name: "one", status: "Stopped" }]);
    expect(await home.processes()).toEqual([]);
    await home.must("start", "one");
    expect((await shell("one", "uname")).trim()).toBe("Linux");
    await home.must("delete", "--force", "one");
  },
  LIMIT,
);

test(
  "on user-v2, a stream socket and vzNAT: a network daemon that is killed comes back, and with it the machine's card",
  async () => {
    let frames = 0;
    const path = home.path("vmnet.sock");
    const server = Bun.listen({
      unix: path,
      socket: { data: (_, octets) => void (frames += octets.length) },
    });
    chmodSync(path, 0o777);
    const networks = `networks: [{ lima: user-v2 }, { socket: ${path}, interface: s0 }, { vzNAT: true }]\n`;
    await home.must("start", "--name", "two", home.template("two", yaml(networks)));
    const address = /inet (192\.168\.104\.\d+)/.exec(await shell("two", "ip", "addr"))![1]!;
    expect(await shell("two", "ip", "link")).toContain("lima2");
    // the guest asks for an address there, through the relay
    while (frames === 0) await Bun.sleep(50);
    const pid = readFileSync(
      join(home.limanetHome, "_networks/user-v2/usernet_user-v2.pid"),
      "utf8",
    );
    await home.run(["kill", "-9", pid.trim()]);
    const restored = () =>
      readFileSync(join(home.limanetHome, "two/ha.stdout.log"), "utf8").includes("restored");
    while (!restored()) await Bun.sleep(50);
    // ssh goes over the network that came back
    expect(await shell("two", "ip", "addr")).toContain(address);
    await home.must("stop", "two");
    expect(await home.processes()).toEqual([]);
    await home.must("delete", "two");
    server.stop(true);
  },
  LIMIT,
);

test(
  "a host agent that is killed takes its machine along, and the next start finds nothing in its way",
  async () => {
    await home.must(
      "start",
      "--name",
      "three",
      home.template("three", yaml("plain: true\nssh: { overVsock: true }\n")),
    );
    const [listed] = await home.list();
    // the fake's QEMU has no vsock: ssh goes over the network
    expect(readFileSync(join(home.limanetHome, "three/ha.stdout.log"), "utf8")).toContain(
      '"vsock":{"type":"skipped"}',
    );
    await home.run(["kill", "-9", String(listed!.hostAgentPID)]);
    while ((await home.processes()).length > 0) await Bun.sleep(50);
    expect(await home.list()).toMatchObject([{ name: "three", status: "Stopped" }]);
    await home.must("start", "three");
    await home.must("stop", "three");
    expect(await home.processes()).toEqual([]);
    await home.must("delete", "three");
  },
  LIMIT,
);
