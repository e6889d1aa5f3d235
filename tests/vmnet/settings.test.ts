import { expect, test } from "bun:test";
import { formatCidr, formatIpv4 } from "../../lib/addr/ipv4.ts";
import { vmnetSettings, type VmnetOptions } from "../../lib/vmnet/settings.ts";

const UUID = "4c1f5f6e-2b1a-4d0c-9a43-0f3f7e0d6a11";

function judge(options: Partial<VmnetOptions>): string {
  const settings = vmnetSettings({ vmnetMode: "shared", ...options });
  if (typeof settings === "string") return settings;
  const { own, isIsolated, ...others } = settings;
  // said only where it is asked for
  const rest = isIsolated ? { ...others, isIsolated } : others;
  if (own === undefined) return JSON.stringify(rest);
  return `${formatIpv4(own.gateway)} in ${formatCidr(own.subnet)} up to ${formatIpv4(own.last)} ${JSON.stringify(rest)}`;
}

const shared = '{"mode":"shared","dhcp":true}';
const accepted: [string, Partial<VmnetOptions>, string][] = [
  ["nothing: the system chooses", {}, shared],
  [
    "a gateway: its subnet of 256 addresses, all behind it",
    { vmnetGateway: "192.168.105.1" },
    `192.168.105.1 in 192.168.105.0/24 up to 192.168.105.254 ${shared}`,
  ],
  [
    "a last address",
    { vmnetGateway: "192.168.105.1", vmnetDhcpEnd: "192.168.105.20" },
    `192.168.105.1 in 192.168.105.0/24 up to 192.168.105.20 ${shared}`,
  ],
  [
    "a wider mask: 254 at the end of the gateway all the same",
    { vmnetGateway: "10.1.0.1", vmnetMask: "255.255.0.0" },
    `10.1.0.1 in 10.1.0.0/16 up to 10.1.0.254 ${shared}`,
  ],
  [
    "a narrower mask: 254 would be outside",
    { vmnetGateway: "10.1.0.1", vmnetMask: "255.255.255.240" },
    `10.1.0.1 in 10.1.0.0/28 up to 10.1.0.14 ${shared}`,
  ],
  [
    "the last host of a subnet as gateway",
    { vmnetGateway: "10.1.0.254" },
    `10.1.0.254 in 10.1.0.0/24 up to 10.1.0.254 ${shared}`,
  ],
  [
    "an interface where none is needed",
    { vmnetInterface: "en0" },
    '{"mode":"shared","dhcp":true,"interface":"en0"}',
  ],
  [
    "bridged: DHCP is the local network's",
    { vmnetMode: "bridged", vmnetInterface: "en0" },
    '{"mode":"bridged","dhcp":false,"interface":"en0"}',
  ],
  ["a larger packet", { mtu: 9000 }, '{"mode":"shared","dhcp":true,"mtu":9000}'],
  ["isolation", { isolate: true }, '{"mode":"shared","dhcp":true,"isIsolated":true}'],
  ["no DHCP", { vmnetDisableDhcp: true }, '{"mode":"shared","dhcp":false}'],
  [
    "a network with an identifier has no DHCP",
    { vmnetMode: "host", vmnetNetworkIdentifier: UUID },
    `{"mode":"host","dhcp":false,"networkIdentifier":"${UUID}"}`,
  ],
  [
    "macOS' own",
    { vmnetInterfaceId: UUID, vmnetNat66Prefix: "fd12:3456:789a:bcde::" },
    `{"mode":"shared","dhcp":true,"interfaceId":"${UUID}","nat66Prefix":"fd12:3456:789a:bcde::"}`,
  ],
];
test.each(accepted)("vmnetSettings() takes %s", (_what, options, result) => {
  expect(judge(options)).toBe(result);
});

const refused: [string, Partial<VmnetOptions>, string][] = [
  ["bridged to nothing", { vmnetMode: "bridged" }, "which interface of the host"],
  [
    "bridged with a gateway",
    { vmnetMode: "bridged", vmnetInterface: "en0", vmnetGateway: "10.1.0.1" },
    "the addresses of the network it is bridged to",
  ],
  ["a last address without gateway", { vmnetDhcpEnd: "10.1.0.9" }, "--vmnet-gateway=ADDRESS"],
  ["a mask without gateway", { vmnetMask: "255.255.0.0" }, "--vmnet-gateway=ADDRESS"],
  ["a gateway that is none", { vmnetGateway: "10.1.0.256" }, "an IPv4 address is needed"],
  ["a subnet's own address", { vmnetGateway: "10.1.0.0" }, "not the address of a host"],
  ["a subnet's broadcast", { vmnetGateway: "10.1.0.255" }, "not the address of a host"],
  ["a mask with a hole", { vmnetGateway: "10.1.0.1", vmnetMask: "255.0.255.0" }, "8 to 30 bits"],
  ["a mask without hosts", { vmnetGateway: "10.1.0.1", vmnetMask: "255.255.255.254" }, "8 to 30"],
  [
    "a last address before the gateway",
    { vmnetGateway: "10.1.0.9", vmnetDhcpEnd: "10.1.0.8" },
    "behind the gateway's",
  ],
  [
    "a last address elsewhere",
    { vmnetGateway: "10.1.0.1", vmnetDhcpEnd: "10.1.1.8" },
    "behind the gateway's",
  ],
  [
    "a broadcast address as the last",
    { vmnetGateway: "10.1.0.1", vmnetDhcpEnd: "10.1.0.255" },
    "behind the gateway's",
  ],
  ["an MTU that IPv4 does not allow", { mtu: 575 }, "from 576 to 65520"],
  ["an MTU that no frame has", { mtu: 65521 }, "from 576 to 65520"],
  [
    "an MTU where it is the interface's",
    { vmnetMode: "bridged", vmnetInterface: "en0", mtu: 1500 },
    "the MTU of the interface",
  ],
  ["an interface id that is none", { vmnetInterfaceId: "1" }, "a UUID is needed"],
  ["an identifier in shared mode", { vmnetNetworkIdentifier: UUID }, "only networks of mode host"],
  ["a public prefix", { vmnetNat66Prefix: "2001:db8::" }, "a prefix such as fd12"],
];
test.each(refused)("vmnetSettings() refuses %s", (_what, options, why) => {
  expect(judge(options)).toContain(why);
});
