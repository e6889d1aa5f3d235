/** Bursts of datagrams from a real guest to a machine beyond the host's routers, where each must come whole and in order. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { canMakeNamespaces, FAR_ADDRESS, HOSTS, type Guest, type Lab } from "../support/lab.ts";

const PORT = 9009;
const ROUNDS = 20;
const BURST = 40;

/** tells of the octets of each burst, in the order in which its datagrams came */
const SERVER = `
import hashlib, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE: fragments weigh more than they have octets
s.bind(("${FAR_ADDRESS}", ${PORT}))
while True:
    heard = hashlib.sha256()
    for _ in range(${BURST}):
        octets, peer = s.recvfrom(65535)
        heard.update(b"%d:" % len(octets) + octets)
    s.sendto(heard.hexdigest().encode(), peer)`;

const client = (lengths: string): string => `
import hashlib, random, socket
random.seed(1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect(("${FAR_ADDRESS}", ${PORT}))
whole = 0
for _ in range(${ROUNDS}):
    said = hashlib.sha256()
    for octets in [random.randbytes(${lengths}) for n in range(${BURST})]:
        s.send(octets)
        said.update(b"%d:" % len(octets) + octets)
    whole += s.recv(99).decode() == said.hexdigest()
print(whole)`;

describe.skipIf(!canMakeNamespaces).each(HOSTS)("bursts of UDP over %s", (_host, openLab) => {
  let lab: Lab;
  let guest: Guest;
  beforeAll(async () => {
    lab = await openLab();
    guest = await lab.guest();
    await guest.dhcp();
    await lab.far.serve("udp", PORT, "python3", "-c", SERVER);
  });
  afterAll(() => lab.close());

  describe.each([
    ["packets as large as the guest's", 1500],
    ["smaller packets", 1000],
  ])("on a way for %s", (_name, mtu) => {
    beforeAll(async () => {
      expect((await lab.host.run("ip", "link", "set", "eth0", "mtu", String(mtu))).code).toBe(0);
    });

    test.each([
      ["of one length", "1400"],
      ["of an octet", "1"],
      ["of any length", "random.randrange(1473)"],
      ["that now and then are shorter", "1200 if n % 7 else 30"],
      ["in fragments", "2000"],
    ])("%s come whole and in order", async (_lengths, lengths) => {
      const { stdout, stderr } = await guest.run("python3", "-c", client(lengths));
      expect([stdout, stderr]).toEqual([`${ROUNDS}\n`, ""]);
    });
  });
});
