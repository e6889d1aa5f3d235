import { expect, test } from "bun:test";
import { formatCidr } from "../../lib/addr/ipv4.ts";
import { netstatRoutes, procRoutes } from "../../lib/config/route-table.ts";
import type { TakenSubnet } from "../../lib/config/subnet-choice.ts";

const shown = (routes: TakenSubnet[]) =>
  routes.map(({ subnet, owner }) => `${formatCidr(subnet)} ${owner}`);

test("procRoutes() reads addresses and masks in host order, without the ways to everywhere", () => {
  const row = (...fields: string[]) => `${fields.join("\t")}\n`;
  const text =
    row("Iface", "Destination", "Gateway ", "Flags", "RefCnt", "Use", "Metric", "Mask", "MTU") +
    row("eth0", "00000000", "0101A8C0", "0003", "0", "0", "0", "00000000", "0") +
    // a VPN that takes all: two halves, or all but 0.0.0.0/8
    row("tun1", "00000000", "00000000", "0001", "0", "0", "0", "00000080", "0") +
    row("tun1", "00000080", "00000000", "0001", "0", "0", "0", "00000080", "0") +
    row("tun1", "00000008", "00000000", "0001", "0", "0", "0", "000000F8", "0") +
    row("*", "00090909", "00000000", "0201", "0", "0", "0", "00FFFFFF", "0") +
    row("eth0", "0001A8C0", "00000000", "0001", "0", "0", "0", "00FFFFFF", "0") +
    row("tun0", "0000000A", "00000000", "0001", "0", "0", "0", "000000FF", "0") +
    row("wg0", "0A0B0C0A", "00000000", "0005", "0", "0", "0", "FFFFFFFF", "0");
  expect(shown(procRoutes(text))).toEqual([
    "9.9.9.0/24 a route that leads nowhere",
    "192.168.1.0/24 a route by eth0",
    "10.0.0.0/8 a route by tun0",
    "10.12.11.10/32 a route by wg0",
  ]);
  expect(procRoutes("")).toEqual([]);
});

test("netstatRoutes() completes what macOS leaves out", () => {
  const text = `Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.1.1        UGScg                 en0
0/1                10.8.0.5           UGSc                utun3
128.0/1            10.8.0.5           UGSc                utun3
127                127.0.0.1          UCS                   lo0
127.0.0.1          127.0.0.1          UH                    lo0
169.254            link#6             UCS                   en0      !
192.168.1          link#6             UCS                   en0      !
192.168.1.7/32     link#6             UCS                   en0      !
192.168.64         link#18            UC              bridge100      !
10.8/16            10.8.0.5           UGSc                utun3
172.16/12          10.8.0.5           UGSc                utun3
224.0.0/4          link#6             UmCS                  en0      !
`;
  expect(shown(netstatRoutes(text))).toEqual([
    "127.0.0.0/8 a route by lo0",
    "127.0.0.1/32 a route by lo0",
    "169.254.0.0/16 a route by en0",
    "192.168.1.0/24 a route by en0",
    "192.168.1.7/32 a route by en0",
    "192.168.64.0/24 a route by bridge100",
    "10.8.0.0/16 a route by utun3",
    "172.16.0.0/12 a route by utun3",
  ]);
});
