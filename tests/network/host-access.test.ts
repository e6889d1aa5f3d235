/** What a guest reaches of the host's loopback at the gateway's address, and of 169.254.0.0/16. */
import { expect, test } from "bun:test";
import { parseIpv4 } from "../../lib/addr/ipv4.ts";
import type { HostAccess } from "../../lib/config/host-access.ts";
import { echo, tcp, text, udp } from "../support/injected-frames.ts";
import { DNS, GATEWAY, InjectedNetwork } from "../support/injected-network.ts";

const GUEST = "10.0.0.11";
const RESET = (to: string) => `${to} > ${GUEST}:4000 tcp R. seq 0 ack 8 win 0`;

function open(hostAccess: HostAccess, linkLocalAccess = false) {
  const net = new InjectedNetwork({ hostAccess, linkLocalAccess });
  const guest = net.guest();
  const syn = (to: string) => guest.sendPacket(tcp(`${GUEST}:4000`, to, { flags: "S", seq: 7 }));
  const datagram = (to: string) => guest.sendPacket(udp(`${GUEST}:4000`, to, text("x")));
  const hosts = () => [
    ...net.streams.sockets.map(({ target }) => target),
    ...net.datagrams.sockets.map(({ name }) => name),
  ];
  return { net, guest, syn, datagram, hosts };
}

test.each<[HostAccess, number, boolean]>([
  ["all", 22, true],
  ["all", 5432, true],
  ["none", 22, false],
  [[5432], 5432, true],
  [[5432], 22, false],
  [[5432], 5433, false],
])("hostAccess %j: port %d of the host is open: %p", (access, port, isOpen) => {
  const { net, syn, datagram, hosts } = open(access);
  const to = `${GATEWAY}:${port}`;
  if (isOpen) {
    expect([syn(to), datagram(to)]).toEqual([[], []]);
    expect(hosts()).toEqual([`127.0.0.1:${port}`, `udp 127.0.0.1:${port}`]);
  } else {
    expect(syn(to)).toEqual([RESET(to)]);
    expect(datagram(to)).toEqual([
      `${GATEWAY} > ${GUEST} icmp 3/3 00000000 about ${GUEST}:4000 > ${to}`,
    ]);
    expect(hosts()).toEqual([]);
    expect(net.count("host-access-refused")).toBe(2);
  }
});

test("hostAccess none leaves DNS, DHCP, ping and the outside", () => {
  const { net, guest, syn, datagram, hosts } = open("none");
  syn(`${DNS}:53`);
  datagram(`${DNS}:53`);
  syn("8.8.8.8:22");
  datagram("8.8.8.8:22");
  expect(guest.sendPacket(echo(GUEST, GATEWAY, "00070001", text("x")))).toHaveLength(1);
  expect(hosts()).toEqual(["dns.sock", "8.8.8.8:22", "udp 8.8.8.8:22"]);
  expect(net.queries).toHaveLength(1);
  expect(net.count("host-access-refused")).toBe(0);
});

test.each([true, false])("linkLocalAccess %p", (isAllowed) => {
  const { net, guest, syn, datagram, hosts } = open("all", isAllowed);
  const to = "169.254.169.254:80";
  syn(to);
  datagram(to);
  guest.sendPacket(echo(GUEST, "169.254.169.254", "00070001", text("x")));
  expect(hosts()).toEqual(isAllowed ? [to, `udp ${to}`, "echo 169.254.169.254"] : []);
  expect(net.count("link-local-refused")).toBe(isAllowed ? 0 : 3);
  expect(net.network.gateway.isRefused(parseIpv4("169.254.0.1")!)).toBe(!isAllowed);
  expect(net.network.gateway.isRefused(parseIpv4("169.255.0.1")!)).toBe(false);
});
