/** `limanet vmnet` as a whole: guests on each of its sockets, the sockets themselves, its start and its end (issue 5). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, lstatSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { lockHolder } from "../../lib/host/lock.ts";
import { canMakeNamespaces, LIMANET, NETTOOL, type Guest } from "../support/lab.ts";
import { GROUP, SHARED, VMNET_GATEWAY, VmnetLab } from "../support/vmnet-lab.ts";

const ECHO = 7001;
/**
 * Answers to pings, of which more than three may come: without `-w` ping does not wait for the last one longer than for two of
 * the others, and with it sends until three are back.
 */
const pings = async (guest: Guest, address: string, seconds = 10): Promise<number> => {
  const words = ["-n", "-c", "3", "-i", "0.05", "-w", String(seconds), address];
  return Number(/ (\d+) received/.exec((await guest.run("ping", ...words)).stdout)?.[1]);
};

interface Link {
  ifname: string;
  address: string;
}

describe.skipIf(!canMakeNamespaces)("a shared network", () => {
  let lab: VmnetLab;
  let first: Guest;
  let address: string;
  beforeAll(async () => {
    lab = await VmnetLab.open();
    await lab.start(...SHARED);
    first = await lab.guest();
    address = (await first.dhcp())["ip"]!;
  });
  afterAll(() => lab.close());

  test.each([
    ["a unix stream, as QEMU and Lima speak", "stream"],
    ["a unix datagram socket, as vfkit and krunkit speak", "dgram"],
    ["a passed descriptor of a datagram socket, as VZ needs it", "fdpass"],
  ] as const)(
    "a guest on %s gets a lease, and reaches the host and others",
    async (_name, mode) => {
      const guest = await lab.guest({ mode });
      const lease = await guest.dhcp();
      expect(lease).toMatchObject({ router: VMNET_GATEWAY, serverid: VMNET_GATEWAY, mask: "24" });
      expect(await pings(guest, VMNET_GATEWAY)).toBeGreaterThanOrEqual(3);
      expect(await pings(guest, address)).toBeGreaterThanOrEqual(3);
      expect(await pings(first, lease["ip"]!)).toBeGreaterThanOrEqual(3);
      expect((await lab.host.run("ping", "-c", "1", "-W", "2", lease["ip"]!)).code).toBe(0);
    },
  );

  test("octets arrive as they were sent, also where the host leaves segments to be cut and takes joined ones", async () => {
    await lab.host.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), VMNET_GATEWAY);
    const { stdout } = await first.run(
      ...[NETTOOL, "xfer", VMNET_GATEWAY, String(ECHO), "6", "3", "3000000"],
    );
    expect(JSON.parse(stdout)).toMatchObject({ ok: 6, bad: 0 });
    const stat = await lab.statistics();
    // the guest's frames are many more than those that the host has seen
    expect(stat("framesReceived")).toBeGreaterThan(stat("uplink-framesOut") * 2);
    expect(stat("framesSent")).toBeGreaterThan(stat("uplink-framesIn") * 2);
  });

  test("a guest that does nothing gets none of the others' frames", async () => {
    const [idle, busy] = [await lab.guest(), await lab.guest()];
    await idle.dhcp();
    await busy.dhcp();
    const received = async () => {
      const { stdout } = await idle.run("cat", "/sys/class/net/tap0/statistics/rx_packets");
      return Number(stdout);
    };
    const before = await received();
    const { stdout } = await busy.run(
      ...[NETTOOL, "xfer", VMNET_GATEWAY, String(ECHO), "2", "2", "3000000"],
    );
    expect(JSON.parse(stdout)).toMatchObject({ ok: 2, bad: 0 });
    // ARP at most, for thousands of frames
    expect((await received()) - before).toBeLessThan(10);
  });

  test("a datagram guest that is gone is noticed, and its place is there for another", async () => {
    const stays = await lab.guest({ mode: "dgram" });
    const { ip } = await stays.dhcp();
    await (await lab.guest({ mode: "dgram" })).dhcp();
    const before = lab.log.length;
    await lab.unplug();
    // a broadcast is sent to all
    while (!lab.log.slice(before).includes("the guest has gone"))
      await pings(first, "192.168.105.250", 1);
    const next = await lab.guest({ mode: "dgram" });
    await next.dhcp();
    expect(await pings(next, ip!)).toBeGreaterThanOrEqual(3);
  });

  test("a guest that takes the host's hardware address gets none of its frames", async () => {
    const links = JSON.parse((await lab.host.run("ip", "-j", "link")).stdout) as Link[];
    const bridge = links.find(({ ifname }) => ifname.startsWith("lm-net-"))!;
    const thief = await lab.guest({ mac: bridge.address });
    await thief.ip("addr", "add", "192.168.105.77/24", "dev", "tap0");
    expect(await pings(thief, VMNET_GATEWAY, 2)).toBe(0);
    expect(await pings(first, VMNET_GATEWAY)).toBeGreaterThanOrEqual(3);
  });

  test.each([
    ["announces a frame of 4 GiB", "ffffffff"],
    ["announces a frame of 200 KB", "00030d40"],
    ["speaks HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n").toString("hex")],
  ])("a client that %s is cut off with one line, and nobody else is", async (_name, octets) => {
    const lines = () => lab.log.split("\n").filter((line) => line.includes("guest detached"));
    const before = lines().length;
    const socket = connect(lab.socket);
    const closed = new Promise<void>((resolve) =>
      socket.on("error", () => {}).on("close", resolve),
    );
    socket.resume();
    socket.write(Buffer.from(octets, "hex"));
    await closed;
    while (lines().length === before) await Bun.sleep(5);
    expect(lines().slice(before)).toEqual([
      expect.stringContaining("it announced a frame of more than 128 KiB"),
    ]);
    expect(await pings(first, VMNET_GATEWAY)).toBeGreaterThanOrEqual(3);
  });

  test("SIGUSR1 has it tell what it has carried", async () => {
    await pings(first, VMNET_GATEWAY);
    const stat = await lab.statistics();
    for (const name of ["BytesSent", "framesReceived", "uplink-framesIn", "uplink-framesOut"])
      expect(stat(name)).toBeGreaterThan(0);
  });

  test("a client that does not read loses frames of its own, and later goes on with whole ones", async () => {
    const station = "52:55:55:00:01:ee";
    const socket = connect(lab.socket);
    socket.pause();
    // an ARP announcement, by which the switch learns where it is
    const arp = `0806 0001080006040001 ${station.replaceAll(":", "")} c0a869c8 000000000000 c0a869c8`;
    const frame = `ffffffffffff ${station.replaceAll(":", "")} ${arp}`.replaceAll(" ", "");
    socket.write(Buffer.from(`0000002a${frame}`, "hex"));
    const [, bridge] = /(lm-net-\S+)/.exec((await lab.host.run("ip", "-br", "link")).stdout)!;
    await lab.host.ip("neigh", "replace", "192.168.105.200", "lladdr", station, "dev", bridge!);
    const before = (await lab.statistics())("framesDropped");
    const flood = lab.host.run(
      ...["bash", "-c", "dd if=/dev/zero bs=1400 count=20000 >/dev/udp/192.168.105.200/9"],
    );
    const { stdout } = await first.run(
      ...[NETTOOL, "xfer", VMNET_GATEWAY, String(ECHO), "2", "1", "1000000"],
    );
    expect(JSON.parse(stdout)).toMatchObject({ ok: 2, bad: 0 });
    await flood;
    expect((await lab.statistics())("framesDropped") - before).toBeGreaterThan(1000);
    // now it reads: a frame of the flood is 1442 octets, and none is cut
    const lengths = new Map<number, number>();
    let rest = Buffer.alloc(0);
    const caughtUp = new Promise<void>((resolve) => {
      socket.on("data", (piece: Buffer) => {
        rest = Buffer.concat([rest, piece]);
        while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
          const length = rest.readUInt32BE(0);
          lengths.set(length, (lengths.get(length) ?? 0) + 1);
          if (rest.subarray(4, 4 + length).includes("the end")) resolve();
          rest = rest.subarray(4 + length);
        }
      });
    });
    socket.resume();
    while ((await Promise.race([caughtUp.then(() => "done"), Bun.sleep(50)])) !== "done")
      await lab.host.run("bash", "-c", "echo the end >/dev/udp/192.168.105.200/9");
    expect(lengths.get(1442)).toBeGreaterThan(500);
    // ARP, and the last word
    expect([...lengths.keys()].filter((length) => length !== 1442 && length > 60)).toEqual([]);
    socket.destroy();
  });

  test("a client that ends within a frame costs nobody anything", async () => {
    const before = lab.log.length;
    const socket = connect(lab.socket);
    socket.write(Buffer.from("0000002affffffffffff", "hex"), () => socket.end());
    while (!lab.log.slice(before).includes("guest detached")) await Bun.sleep(5);
    socket.destroy();
    expect(await pings(first, VMNET_GATEWAY)).toBeGreaterThanOrEqual(3);
  });
});

describe.skipIf(!canMakeNamespaces)("a network of large packets", () => {
  let lab: VmnetLab;
  beforeAll(async () => {
    lab = await VmnetLab.open("large");
    await lab.start(...SHARED, "--mtu=9000");
  });
  afterAll(() => lab.close());

  test("guests are told of it, and reach host and each other with whole ones", async () => {
    const [one, other] = [await lab.guest({ mtu: 9000 }), await lab.guest({ mtu: 9000 })];
    expect(await one.dhcp()).toMatchObject({ mtu: "9000" });
    const { ip } = await other.dhcp();
    for (const to of [VMNET_GATEWAY, ip!]) {
      const words = ["-n", "-c", "2", "-i", "0.05", "-w", "10", "-M", "do", "-s", "8972", to];
      expect((await one.run("ping", ...words)).stdout).toMatch(/ [2-9] received/);
    }
  });

  test("a guest of ordinary ones exchanges octets with the host", async () => {
    const guest = await lab.guest();
    await guest.dhcp();
    await lab.host.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), VMNET_GATEWAY);
    const { stdout } = await guest.run(
      ...[NETTOOL, "xfer", VMNET_GATEWAY, String(ECHO), "2", "2", "1000000"],
    );
    expect(JSON.parse(stdout)).toMatchObject({ ok: 2, bad: 0 });
  });
});

describe.skipIf(!canMakeNamespaces)("an isolated network", () => {
  let lab: VmnetLab;
  beforeAll(async () => {
    lab = await VmnetLab.open("alone");
    await lab.start(...SHARED, "--isolate");
  });
  afterAll(() => lab.close());

  test("guests reach the host, and each other neither directly nor by way of it", async () => {
    const [one, other] = [await lab.guest(), await lab.guest()];
    await one.dhcp();
    const { ip } = await other.dhcp();
    expect(await pings(one, VMNET_GATEWAY)).toBeGreaterThanOrEqual(3);
    expect((await lab.host.run("ping", "-n", "-c", "1", "-W", "2", ip!)).code).toBe(0);
    expect(await pings(one, ip!, 2)).toBe(0);
    await one.ip("route", "add", `${ip}/32`, "via", VMNET_GATEWAY);
    expect(await pings(one, ip!, 2)).toBe(0);
  });
});

describe.skipIf(!canMakeNamespaces)("the daemon", () => {
  let lab: VmnetLab;
  beforeAll(async () => {
    lab = await VmnetLab.open();
  });
  afterAll(() => lab.close());
  /** what a stop has to take away */
  const made = async () =>
    [
      (await lab.host.run("ip", "-br", "link")).stdout.replaceAll(/ .*/g, ""),
      (await lab.host.run("nft", "list", "ruleset")).stdout,
      ...readdirSync(lab.folder),
    ].join("\n");

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "%s ends it with everything put back",
    async (signal) => {
      const before = await made();
      const daemon = await lab.start(...SHARED);
      expect(lockHolder(lab.pidFile)).toBe(daemon.pid);
      expect(await lab.stop(signal)).toBe(0);
      expect(await made()).toBe(before);
      expect(lab.log).toContain(`network ends signal=${signal}`);
    },
  );

  test("called socket_vmnet it is that program: command line, pid file, exit codes", async () => {
    const program = join(lab.folder, "socket_vmnet");
    symlinkSync(LIMANET, program);
    const call = (...words: string[]) => lab.host.run(program, ...words);
    expect((await call("--version")).code).toBe(0);
    expect(await call("--vmnet-mode=lan", lab.socket)).toMatchObject({ code: 1 });
    expect(await call(...SHARED)).toMatchObject({ code: 1 });
    const daemon = lab.host.spawn(
      ...[
        program,
        `--pidfile=${lab.pidFile}`,
        `--socket-group=${GROUP.name}`,
        ...SHARED,
        lab.socket,
      ],
    );
    while (lockHolder(lab.pidFile) === 0 && daemon.exitCode === null) await Bun.sleep(5);
    // as Lima ends it
    expect((await lab.host.run("pkill", "-F", lab.pidFile)).code).toBe(0);
    expect(await daemon.exited).toBe(0);
    expect(existsSync(lab.pidFile)).toBe(false);
    rmSync(program);
  });

  test("its sockets have their owner and mode at the moment they are there", async () => {
    const paths = ["", ".datagram", ".descriptor"].map((suffix) => `${lab.socket}${suffix}`);
    const seen = new Set<string>();
    const daemon = lab.spawn(...SHARED);
    while (lockHolder(lab.pidFile) === 0) {
      for (let look = 0; look < 1000; look++)
        for (const path of paths) {
          const stats = lstatSync(path, { throwIfNoEntry: false });
          if (stats) seen.add(`${stats.uid} ${stats.gid} ${(stats.mode & 0o7777).toString(8)}`);
        }
      if (daemon.exitCode !== null) throw new Error(lab.log);
      await Bun.sleep(0);
    }
    expect([...seen]).toEqual([`0 ${GROUP.gid} 770`]);
    expect(await lab.stop()).toBe(0);
  });

  test("a second one for the same socket or pid file is refused, and the first goes on", async () => {
    const first = await lab.start(...SHARED);
    const second = lab.spawn(...SHARED);
    expect(await second.exited).toBe(1);
    expect(lockHolder(lab.pidFile)).toBe(first.pid);
    expect(existsSync(lab.socket)).toBe(true);
    first.kill("SIGTERM");
    expect(await first.exited).toBe(0);
  });

  test.each([
    ["no interface to bridge to", ["--vmnet-mode=bridged"], /--vmnet-interface=INTERFACE/, 2],
    ["a mode that there is not", ["--vmnet-mode=lan"], /argument 'lan' is invalid/, 2],
    ["a gateway that is none", ["--vmnet-gateway=192.168.105"], /an IPv4 address is needed/, 2],
    ["a group that there is not", ["--socket-group=nobody-here"], /none of that name/, 2],
  ])("refused with nothing changed: %s", async (_why, options, sentence, code) => {
    const before = await made();
    expect(await lab.spawn(...options).exited).toBe(code);
    expect(lab.log).toMatch(sentence);
    expect(await made()).toBe(before);
  });
});
