/** Every way a guest can be attached, and clients that misbehave on those sockets. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { canMakeNamespaces, GATEWAY, Lab, NETTOOL, type Guest } from "../support/lab.ts";

const ECHO = 7001;

describe.skipIf(!canMakeNamespaces)("attachments", () => {
  let lab: Lab;
  let guest: Guest;
  beforeAll(async () => {
    lab = await Lab.open();
    await lab.host.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), "127.0.0.1");
    guest = await lab.guest();
    await guest.dhcp();
  });
  afterAll(() => lab.close());

  test.each([
    ["a unix stream, as QEMU speaks", "stream"],
    ["a passed descriptor of a datagram socket", "fdpass"],
    ["a unix datagram socket, as vfkit speaks", "dgram"],
    ["the control API's /connect, as VPNKit speaks", "vpnkit"],
    ["memory that it shares, as QEMU's vhost-user has it", "vhost"],
  ] as const)(
    "a guest on %s gets an address, moves data and reaches others",
    async (_name, mode) => {
      const other = await lab.guest({ mode });
      const { ip } = await other.dhcp();
      const { stdout } = await other.run(
        ...[NETTOOL, "xfer", GATEWAY, String(ECHO), "10", "4", "200000"],
      );
      expect(JSON.parse(stdout)).toMatchObject({ ok: 10, bad: 0 });
      const ping = await guest.run("ping", "-n", "-c", "2", "-i", "0.05", "-W", "2", ip!);
      expect(ping.stdout).toContain("2 received");
    },
  );

  test("guests reach each other whether their cards take large segments or not", async () => {
    await using own = await Lab.open();
    const modes = ["vhost", "vhost", "stream"] as const;
    const guests = await Promise.all(modes.map((mode) => own.guest({ mode })));
    const addresses: string[] = [];
    for (const each of guests) {
      addresses.push((await each.dhcp())["ip"]!);
      await each.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), "0.0.0.0");
    }
    for (const [from, to] of [
      [0, 1],
      [0, 2],
      [2, 0],
    ] as const) {
      const { stdout } = await guests[from]!.run(
        ...[NETTOOL, "xfer", addresses[to]!, String(ECHO), "6", "3", "300000"],
      );
      expect(JSON.parse(stdout)).toMatchObject({ ok: 6, bad: 0 });
    }
  });

  test("who sends on to a guest that stands still reaches others, and that one once it goes on", async () => {
    await using own = await Lab.open();
    const sender = await own.guest({ mode: "vhost" });
    await sender.dhcp();
    const { ip } = await (await own.guest({ mode: "vhost" })).dhcp();
    const ping = async (to: string, count: number) =>
      (await sender.run("ping", "-n", "-c", String(count), "-i", "0.1", "-W", "5", to)).stdout;
    expect(await ping(ip!, 1)).toContain("1 received");
    own.standStill(true);
    const blast = sender.run(NETTOOL, "udpblast", ip!, "9", "2", "1400", "20000");
    expect(await ping(GATEWAY, 10)).toContain("10 received");
    await blast;
    expect((await own.stats())["framesDropped"]).toBeGreaterThan(0);
    own.standStill(false);
    expect(await ping(ip!, 1)).toContain("1 received");
  });

  test("the socket of one datagram guest is there for the next when that one has gone", async () => {
    await using own = await Lab.open();
    const stays = await own.guest();
    await stays.dhcp();
    await (await own.guest({ mode: "dgram" })).dhcp();
    await own.unplug();
    // a broadcast is sent to all
    while ((await own.stats())["ports"] === 2)
      await stays.run("ping", "-n", "-c", "1", "-W", "0.2", "192.168.104.250");
    const { ip } = await (await own.guest({ mode: "dgram" })).dhcp();
    const ping = await stays.run("ping", "-n", "-c", "1", "-W", "5", ip!);
    expect(ping.stdout).toContain("1 received");
  });

  const open = () =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect(lab.socket("stream"));
      socket.once("connect", () => resolve(socket));
      socket.once("error", reject);
    });
  const closed = (socket: Socket) =>
    new Promise<void>((resolve) => {
      socket.on("error", () => {});
      socket.once("close", () => resolve());
      socket.resume();
    });
  const ports = async (count: number) => {
    while ((await lab.stats())["ports"] !== count) await Bun.sleep(5);
  };
  /** an ARP request for the gateway, with the length that QEMU's framing puts in front */
  const ARP = Buffer.from(
    [
      "0000002a", // length
      "ffffffffffff 525555aabbcc 0806", // Ethernet: broadcast, from a station of ours, ARP
      "0001 0800 06 04 0001", // request, Ethernet, IPv4
      "525555aabbcc c0a868c8", // from 192.168.104.200
      "000000000000 c0a86802", // who has 192.168.104.2
    ]
      .join("")
      .replaceAll(" ", ""),
    "hex",
  );
  const answer = (socket: Socket) =>
    new Promise<Buffer>((resolve) => {
      let all = Buffer.alloc(0);
      socket.on("data", (piece: Buffer) => {
        all = Buffer.concat([all, piece]);
        if (all.length >= ARP.length) resolve(all);
      });
    });

  test("a client that sends one octet at a time is served like any other", async () => {
    const before = (await lab.stats())["ports"]!;
    const socket = await open();
    socket.setNoDelay(true);
    const reply = answer(socket);
    for (const octet of ARP) {
      socket.write(Uint8Array.of(octet));
      await Bun.sleep(1);
    }
    // ARP reply: the gateway's address as sender
    expect((await reply).subarray(4 + 28, 4 + 32).toString("hex")).toBe("c0a86802");
    socket.destroy();
    await ports(before);
  });

  test.each([
    ["announces a frame of 4 GiB", Buffer.from("ffffffff", "hex")],
    ["announces a frame of 200 KB", Buffer.from("00030d40", "hex")],
    ["speaks HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
  ])("a client that %s is cut off, and nobody else is", async (_name, octets) => {
    const before = (await lab.stats())["ports"]!;
    const socket = await open();
    const end = closed(socket);
    socket.write(octets);
    await end;
    await ports(before);
    const ping = await guest.run("ping", "-n", "-c", "1", "-W", "2", GATEWAY);
    expect(ping.stdout).toContain("1 received");
  });

  test("zero-length, tiny and malformed frames are dropped and counted, and the client stays", async () => {
    const before = (await lab.stats())["ports"]!;
    const socket = await open();
    const reply = answer(socket);
    socket.write(
      Buffer.from(
        "00000000 00000001 ff 0000000d 00112233445566778899aabbcc".replaceAll(" ", ""),
        "hex",
      ),
    );
    socket.write(Buffer.concat([Buffer.from([0, 0, 5, 220]), Buffer.alloc(1500, 0xa5)]));
    socket.write(ARP);
    expect((await reply).length).toBeGreaterThanOrEqual(ARP.length);
    socket.destroy();
    await ports(before);
  });

  test("a client that stops in the middle of a frame and vanishes leaves nothing", async () => {
    const before = (await lab.stats())["ports"]!;
    for (let i = 0; i < 20; i++) {
      const socket = await open();
      socket.write(ARP.subarray(0, 1 + i));
      await ports(before + 1);
      socket.destroy();
      await ports(before);
    }
  });

  test("a client that does not read loses frames of its own only", async () => {
    const before = (await lab.stats())["ports"]!;
    const deaf = await open();
    deaf.pause();
    deaf.write(ARP);
    await ports(before + 1);
    // broadcasts go to everybody, the deaf client too
    const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for n in range(4000): s.sendto(b"b" * 1400, ("192.168.104.255", 9))`;
    expect((await guest.run("python3", "-c", script)).code).toBe(0);
    const { stdout } = await guest.run(NETTOOL, "xfer", GATEWAY, String(ECHO), "10", "4", "100000");
    expect(JSON.parse(stdout)).toMatchObject({ ok: 10, bad: 0 });
    expect((await lab.stats())["framesDropped"]).toBeGreaterThan(0);
    deaf.destroy();
    await ports(before);
  });

  test("a guest may come and go many times", async () => {
    const before = (await lab.stats())["ports"]!;
    for (let i = 0; i < 100; i++) {
      const socket = await open();
      const reply = answer(socket);
      socket.write(ARP);
      await reply;
      socket.destroy();
    }
    await ports(before);
    expect(lab.isAlive).toBe(true);
  });

  test("descriptors that are not what was agreed are closed and hurt nobody", async () => {
    const before = (await lab.stats())["ports"]!;
    const script = `
import socket, os, array
for count in (0, 2, 3):
    s = socket.socket(socket.AF_UNIX); s.connect("${lab.socket("fdpass")}")
    fds = [os.dup(0) for _ in range(count)]
    s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
    s.settimeout(3)
    print(len(s.recv(10)))`;
    expect((await lab.host.run("python3", "-c", script)).stdout).toBe("0\n0\n0\n");
    await ports(before);
  });
});
