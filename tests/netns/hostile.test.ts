/**
 * A guest that attacks its neighbours, on the real daemon: raw frames on the socket that a QEMU would use, beside two guests
 * with Linux's own stack whose traffic goes on.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  arp,
  ethernet,
  hex,
  ipv4,
  pattern,
  tcp,
  text,
  udp,
  word16,
} from "../support/injected-frames.ts";
import {
  canMakeNamespaces,
  DEAD_ADDRESS,
  FAR_ADDRESS,
  GATEWAY,
  Lab,
  NETTOOL,
  type Guest,
} from "../support/lab.ts";
import { attacks } from "../support/attacks.ts";
import { RawGuest } from "../support/raw-guest.ts";

const ALL = "ff:ff:ff:ff:ff:ff";
const MAC = "52:55:55:66:66:66";
const ECHO = 7001;

describe.skipIf(!canMakeNamespaces)("a guest that attacks its neighbours", () => {
  let lab: Lab;
  let victim: Guest;
  let third: Guest;
  let mallory: RawGuest;
  const address = { victim: "", third: "", gatewayMac: "5a:94:ef:e4:0c:dd" };
  const VICTIM_MAC = "52:55:55:00:00:10";
  const THIRD_MAC = "52:55:55:00:00:11";

  beforeAll(async () => {
    lab = await Lab.open();
    await lab.far.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), FAR_ADDRESS);
    victim = await lab.guest();
    third = await lab.guest();
    address.victim = (await victim.dhcp())["ip"]!;
    address.third = (await third.dhcp())["ip"]!;
    await victim.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), address.victim);
    mallory = new RawGuest(lab.socket("stream"));
    // its card's address, as any guest begins
    await mallory.send(
      ethernet(ALL, MAC, "0806", arp({ operation: 1, sha: MAC, spa: "0.0.0.0", tpa: GATEWAY })),
    );
  });
  afterAll(async () => {
    mallory.close();
    await lab.close();
  });

  /** what the third guest knows of an address's card */
  const neighbour = async (of: string) =>
    /lladdr (\S+)/.exec((await third.run("ip", "neigh", "show", of)).stdout)?.[1];

  const neighbourhood = () =>
    attacks({
      mac: MAC,
      victim: { ip: address.victim, mac: VICTIM_MAC },
      third: { ip: address.third, mac: THIRD_MAC },
      gateway: GATEWAY,
      stranger: "192.168.104.200",
    });

  test("poisons no table, is counted and told once an attack, and stops no connection", async () => {
    // the third guest is connected to the victim and to the outside, and says a word every 50 ms, all the time
    const talk = (to: string) =>
      third.run(
        "python3",
        "-c",
        `
import socket, time
c = socket.create_connection(("${to}", ${ECHO}), 5)
c.settimeout(10)
for n in range(60):
    word = b"%07d\\n" % n
    c.sendall(word)
    got = b""
    while len(got) < len(word):
        piece = c.recv(len(word) - len(got))
        if not piece: raise SystemExit("closed at %d" % n)
        got += piece
    if got != word: raise SystemExit("wrong at %d: %r" % (n, got))
    time.sleep(0.05)
print("whole")`,
      );
    const conversations = Promise.all([talk(address.victim), talk(FAR_ADDRESS)]);
    let rounds = 0;
    let talking = true;
    void conversations.finally(() => (talking = false));
    const all = neighbourhood();
    while (talking) {
      await mallory.send(...all.map(([, , frame]) => frame));
      rounds++;
      await Bun.sleep(5);
    }
    for (const { stdout, stderr } of await conversations) expect(stdout + stderr).toBe("whole\n");
    expect(rounds).toBeGreaterThan(10);
    expect(await neighbour(address.victim)).toBe(VICTIM_MAC);
    expect(await neighbour(GATEWAY)).toBe(address.gatewayMac);
    const stats = await lab.stats();
    for (const [name, reason] of all) {
      const ofReason = all.filter(([, other]) => other === reason).length;
      expect([name, stats[reason]]).toEqual([name, rounds * ofReason]);
      expect(lab.log.split("\n").filter((line) => line.includes(`reason=${reason} `))).toHaveLength(
        1,
      );
    }
  });

  test("that takes up card after card for leases leaves addresses for a guest that comes", async () => {
    const discover = (n: number) => hex`
      01 01 06 00 ${n.toString(16).padStart(8, "0")} 0000 8000
      ${"00".repeat(16)} 0600000000${n.toString(16).padStart(2, "0")} ${"00".repeat(10 + 192)} 63825363 350101 ff`;
    for (let n = 0; n < 256; n++) {
      const mac = `06:00:00:00:00:${n.toString(16).padStart(2, "0")}`;
      await mallory.send(
        ethernet(ALL, mac, "0800", ipv4(udp("0.0.0.0:68", "255.255.255.255:67", discover(n)))),
      );
    }
    const late = await lab.guest();
    expect((await late.dhcp())["ip"]).toStartWith("192.168.104.");
    expect((await lab.stats())["dhcp-port-limit"]).toBe(240);
    expect((await late.run("ping", "-c", "1", "-W", "3", address.victim)).code).toBe(0);
  });
});

describe.skipIf(!canMakeNamespaces)("a guest that floods", () => {
  const MALLORY = "192.168.104.250";
  const GATEWAY_MAC = "5a:94:ef:e4:0c:dd";
  const DNS_PORT = 53;
  let lab: Lab;
  let honest: Guest;
  let mallory: RawGuest;

  beforeAll(async () => {
    lab = await Lab.open();
    await lab.far.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), FAR_ADDRESS);
    honest = await lab.guest();
    await honest.dhcp();
    mallory = new RawGuest(lab.socket("stream"));
  });
  afterAll(async () => {
    mallory.close();
    await lab.close();
  });

  const toGateway = (packet: Parameters<typeof ipv4>[0]) =>
    ethernet(GATEWAY_MAC, MAC, "0800", ipv4(packet));
  const port = (n: number) => 1024 + (n % 64_000);
  const query = (n: number) => hex`
    ${word16(n & 0xffff)} 0100 0001 0000 0000 0000
    05 ${Buffer.from(String(10_000 + (n % 90_000))).toString("hex")} 04 74657374 00 0001 0001`;
  /** the honest guest's new connection to the outside, and a name that the network knows */
  const isServed = async () => {
    const [{ stdout }, resolved] = await Promise.all([
      honest.run(
        "python3",
        "-c",
        `
import socket
c = socket.create_connection(("${FAR_ADDRESS}", ${ECHO}), 10)
c.sendall(b"ask")
print(c.recv(3).decode())`,
      ),
      honest.run("busybox", "nslookup", "-type=a", "host.lima.internal"),
    ]);
    return [stdout, resolved.code];
  };
  const residentMiB = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${lab.pid}/status`, "utf8"))![1]) / 1024;

  test.each<[string, string, (n: number) => Uint8Array]>([
    [
      "20,000 SYNs to a server that accepts",
      "tcp-no-ring",
      (n) =>
        toGateway(tcp(`${MALLORY}:${port(n)}`, `${FAR_ADDRESS}:${ECHO}`, { flags: "S", seq: n })),
    ],
    [
      "20,000 SYNs to a dead machine",
      "tcp-flow-table-full",
      (n) => toGateway(tcp(`${MALLORY}:${port(n)}`, `${DEAD_ADDRESS}:80`, { flags: "S", seq: n })),
    ],
    [
      "20,000 UDP conversations",
      "udp-table-full",
      (n) => toGateway(udp(`${MALLORY}:${port(n)}`, `${DEAD_ADDRESS}:9`, text("x"))),
    ],
    [
      "20,000 DNS questions",
      "dns-queries-full",
      (n) => toGateway(udp(`${MALLORY}:${port(n)}`, `${GATEWAY}:${DNS_PORT}`, query(n))),
    ],
    [
      "20,000 fragments",
      "fragment-no-place",
      (n) =>
        toGateway({
          src: MALLORY,
          dst: DEAD_ADDRESS,
          protocol: 17,
          payload: pattern(64),
          more: true,
          identification: n & 0xffff,
        }),
    ],
  ])(
    "by %s costs bounded memory, and another guest is served during and after",
    async (_name, counter, frame) => {
      const before = residentMiB();
      const send = async (from: number) => {
        for (let n = from; n < from + 10_000; n += 100)
          await mallory.send(...Array.from({ length: 100 }, (_, i) => frame(n + i)));
      };
      await send(0);
      const [during] = await Promise.all([isServed(), send(10_000)]);
      expect(during).toEqual(["ask\n", 0]);
      expect(await isServed()).toEqual(["ask\n", 0]);
      expect((await lab.stats())[counter]).toBeGreaterThan(0);
      expect(residentMiB() - before).toBeLessThan(256);
    },
    120_000,
  );
});

test.skipIf(!canMakeNamespaces)(
  "a guest reaches those ports of the host's loopback that --host-access names, and no other",
  async () => {
    const lab = await Lab.open("--host-access=7001");
    try {
      for (const port of [7001, 7002])
        await lab.host.serve("tcp", port, NETTOOL, "serve", String(port), "127.0.0.1");
      const guest = await lab.guest();
      await guest.dhcp();
      const connect = async (port: number) =>
        (await guest.run("busybox", "nc", "-w", "3", GATEWAY, String(port))).code;
      expect([await connect(7001), await connect(7002)]).toEqual([0, 1]);
      expect((await lab.stats())["host-access-refused"]).toBe(1);
      expect((await guest.run("ping", "-c", "1", "-W", "3", GATEWAY)).code).toBe(0);
    } finally {
      await lab.close();
    }
  },
);
