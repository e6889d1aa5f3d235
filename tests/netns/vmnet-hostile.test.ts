/**
 * A guest that attacks its neighbours on a network whose DHCP is ours: raw frames on the daemon's socket, beside two guests with
 * Linux's own stack whose traffic goes on.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { attacks } from "../support/attacks.ts";
import { arp, ethernet, hex, ipv4, text, udp } from "../support/injected-frames.ts";
import { canMakeNamespaces, NETTOOL, type Guest } from "../support/lab.ts";
import { RawGuest } from "../support/raw-guest.ts";
import { SHARED, VMNET_GATEWAY, VmnetLab } from "../support/vmnet-lab.ts";

const ALL = "ff:ff:ff:ff:ff:ff";
const MAC = "52:55:55:66:66:66";
const ECHO = 7001;
const BY_HAND = "192.168.105.200";

const discover = (mac: string, chaddr = mac) => {
  const message = hex`
    01 01 06 00 00000001 0000 8000 ${"00".repeat(16)}
    ${chaddr.replaceAll(":", "")} ${"00".repeat(10 + 192)} 63825363 350101 ff`;
  return ethernet(ALL, mac, "0800", ipv4(udp("0.0.0.0:68", "255.255.255.255:67", message)));
};
/** UDP from a server's port */
const isDhcpReply = (frame: Uint8Array) => frame[23] === 17 && frame[34] === 0 && frame[35] === 67;

describe.skipIf(!canMakeNamespaces)(
  "a guest that attacks its neighbours on a shared network",
  () => {
    let lab: VmnetLab;
    let victim: Guest;
    let third: Guest;
    let mallory: RawGuest;
    let bystander: RawGuest;
    const heard: Uint8Array[] = [];
    const victimIs = { ip: "", mac: "52:55:55:00:01:10" };
    const thirdIs = { ip: "", mac: "52:55:55:00:01:11" };

    beforeAll(async () => {
      lab = await VmnetLab.open();
      await lab.start(...SHARED);
      victim = await lab.guest();
      third = await lab.guest();
      victimIs.ip = (await victim.dhcp())["ip"]!;
      thirdIs.ip = (await third.dhcp())["ip"]!;
      await victim.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), victimIs.ip);
      await lab.host.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), VMNET_GATEWAY);
      mallory = new RawGuest(lab.socket);
      bystander = new RawGuest(lab.socket);
      bystander.listeners.push((frame) => void heard.push(frame));
      const hello = (mac: string) =>
        ethernet(
          ALL,
          mac,
          "0806",
          arp({ operation: 1, sha: mac, spa: "0.0.0.0", tpa: VMNET_GATEWAY }),
        );
      await mallory.send(hello(MAC));
      await bystander.send(hello("52:55:55:77:77:77"));
    });
    afterAll(async () => {
      mallory.close();
      bystander.close();
      await lab.close();
    });

    /** what somebody knows of an address's card */
    const neighbour = async (who: { run: Guest["run"] }, of: string) =>
      /lladdr (\S+)/.exec((await who.run("ip", "neigh", "show", of)).stdout)?.[1];

    test("poisons no table, is counted and told once an attack, and stops no connection", async () => {
      const talk = (to: string) =>
        third.run(
          "python3",
          "-c",
          `
import socket, time
c = socket.create_connection(("${to}", ${ECHO}), 20)
c.settimeout(20)
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
      const conversations = Promise.all([talk(victimIs.ip), talk(VMNET_GATEWAY)]);
      let talking = true;
      void conversations.finally(() => (talking = false));
      const routers = hex`
      60000000 0010 3a ff ${"fe80".padEnd(31, "0")}6 ${"ff02".padEnd(31, "0")}1
      8600000040000708 0000000000000000`;
      for (const [who, of] of [
        [third, VMNET_GATEWAY],
        [lab.host, victimIs.ip],
      ] as const)
        expect((await who.run("ping", "-c", "1", "-W", "10", of)).code).toBe(0);
      const gatewayMac = await neighbour(third, VMNET_GATEWAY);
      const all = [
        ...attacks({
          mac: MAC,
          victim: victimIs,
          third: thirdIs,
          gateway: VMNET_GATEWAY,
          stranger: BY_HAND,
        }),
        [
          "the gateway's card",
          "switch-pinned-source",
          ethernet(
            thirdIs.mac,
            gatewayMac!,
            "0806",
            arp({ operation: 2, sha: gatewayMac!, spa: VMNET_GATEWAY, tpa: thirdIs.ip }),
          ),
        ],
        [
          "an IPv6 router of its own",
          "rogue-router",
          ethernet("33:33:00:00:00:01", MAC, "86dd", routers),
        ],
        [
          "to the host in another's name",
          "guard-foreign-address",
          ethernet(
            gatewayMac!,
            MAC,
            "0800",
            ipv4(udp(`${victimIs.ip}:4000`, `${VMNET_GATEWAY}:53`, text("x"))),
          ),
        ],
      ] as const;
      let rounds = 0;
      while (talking) {
        await mallory.send(...all.map(([, , frame]) => frame));
        rounds++;
        await Bun.sleep(5);
      }
      for (const { stdout, stderr } of await conversations) expect(stdout + stderr).toBe("whole\n");
      expect(rounds).toBeGreaterThan(10);
      expect(await neighbour(third, victimIs.ip)).toBe(victimIs.mac);
      expect(await neighbour(third, VMNET_GATEWAY)).toBe(gatewayMac);
      expect(await neighbour(lab.host, victimIs.ip)).toBe(victimIs.mac);
      const stat = await lab.statistics();
      const lines = lab.log.split("\n");
      for (const [name, reason] of all) {
        const ofReason = all.filter(([, other]) => other === reason).length;
        expect([name, stat(reason)]).toEqual([name, rounds * ofReason]);
        expect(lines.filter((line) => line.includes(`reason=${reason} `))).toHaveLength(1);
      }
    });

    test("hears no answer to another's DHCP question, and gets none in another's name", async () => {
      heard.splice(0);
      const answers: Uint8Array[] = [];
      mallory.listeners.push((frame) => void answers.push(frame));
      // an answer that is broadcast, as the question asks for, to the one who asked
      await mallory.send(discover(MAC, victimIs.mac), discover(MAC));
      while (!answers.some(isDhcpReply)) await Bun.sleep(5);
      expect((await lab.statistics())("dhcp-wrong-hardware-address")).toBe(1);
      expect(answers.filter(isDhcpReply)).toHaveLength(1);
      expect(heard.filter(isDhcpReply)).toEqual([]);
    });

    test("an address that somebody sets by hand is theirs, is not leased, and is not taken from them", async () => {
      const guest = await lab.guest();
      await guest.ip("addr", "add", `${BY_HAND}/24`, "dev", "tap0");
      expect((await guest.run("ping", "-c", "1", "-W", "10", VMNET_GATEWAY)).code).toBe(0);
      const before = (await lab.statistics())("guard-foreign-address");
      const claim = arp({ operation: 2, sha: MAC, spa: BY_HAND, tpa: thirdIs.ip });
      // its holder is asked whether it is still there, and is
      for (let n = 0; n < 6; n++) {
        await mallory.send(ethernet(ALL, MAC, "0806", claim));
        await Bun.sleep(600);
      }
      expect((await lab.statistics())("guard-foreign-address")).toBe(before + 6);
      expect((await guest.run("ping", "-c", "1", "-W", "10", thirdIs.ip)).code).toBe(0);
    });

    test("that takes up card after card for leases leaves addresses for a guest that comes", async () => {
      for (let n = 0; n < 256; n++)
        await mallory.send(discover(`06:00:00:00:00:${n.toString(16).padStart(2, "0")}`));
      const late = await lab.guest();
      expect((await late.dhcp())["ip"]).toStartWith("192.168.105.");
      expect((await lab.statistics())("dhcp-port-limit")).toBeGreaterThan(200);
      expect((await late.run("ping", "-c", "1", "-W", "10", victimIs.ip)).code).toBe(0);
    });
  },
);
