/** The settings of a vmnet network: what socket_vmnet's command line says (specification of vmnet, section 2.1), judged. */
import { cidrContains, cidrOf, parseIpv4, prefixOfNetmask, type Cidr } from "../addr/ipv4.ts";

export type VmnetMode = "shared" | "host" | "bridged";

/** The options as they were typed, under socket_vmnet's names. */
export interface VmnetOptions {
  vmnetMode: VmnetMode;
  vmnetInterface?: string | undefined;
  vmnetGateway?: string | undefined;
  vmnetDhcpEnd?: string | undefined;
  vmnetMask?: string | undefined;
  vmnetInterfaceId?: string | undefined;
  vmnetNetworkIdentifier?: string | undefined;
  vmnetNat66Prefix?: string | undefined;
  vmnetDisableDhcp?: true | undefined;
  // ours
  mtu?: number | undefined;
  isolate?: true | undefined;
}

export interface VmnetSettings {
  mode: VmnetMode;
  /** bridged: the host's interface */
  interface?: string;
  /** shared and host: the host's address, and what else there is in its subnet; none: the system chooses */
  own?: { gateway: number; subnet: Cidr; last: number };
  dhcp: boolean;
  interfaceId?: string;
  networkIdentifier?: string;
  nat66Prefix?: string;
  /** largest IP packet; none: what is usual */
  mtu?: number;
  /** guests do not reach each other */
  isIsolated: boolean;
}

/** as on user-v2 networks */
const MIN_MTU = 576;
const MAX_MTU = 65520;

const UUID = /^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$/i;
/** an address of fd00::/8 (RFC 4193) of which only the first half is said */
const PREFIX = /^fd[0-9a-f]{2}(:[0-9a-f]{1,4}){0,3}::$/i;

/** The settings, or in a sentence what is wrong with them. */
export function vmnetSettings(options: VmnetOptions): VmnetSettings | string {
  const { vmnetMode: mode, vmnetInterface, vmnetNetworkIdentifier: identifier } = options;
  if (mode === "bridged" && vmnetInterface === undefined)
    return "Cannot make a bridged network: --vmnet-interface=INTERFACE must say which interface of the host it is bridged to";
  for (const [name, value, wanted, pattern] of [
    ["interface-id", options.vmnetInterfaceId, "a UUID", UUID],
    ["network-identifier", identifier, "a UUID", UUID],
    ["nat66-prefix", options.vmnetNat66Prefix, "a prefix such as fd12:3456:789a:bcde::", PREFIX],
  ] as const)
    if (value !== undefined && !pattern.test(value))
      return `Cannot use --vmnet-${name}=${value}: ${wanted} is needed`;
  if (identifier !== undefined && mode !== "host")
    return "Cannot use --vmnet-network-identifier: only networks of mode host have one";
  const { mtu } = options;
  if (mtu !== undefined && (mtu < MIN_MTU || mtu > MAX_MTU))
    return `Cannot use --mtu=${mtu}: a number from ${MIN_MTU} to ${MAX_MTU} is needed`;
  if (mtu !== undefined && mode === "bridged")
    return `Cannot use --mtu=${mtu}: a bridged network has the MTU of the interface it is bridged to`;
  const own = ownSubnet(options);
  if (typeof own === "string") return own;
  return {
    mode,
    isIsolated: options.isolate === true,
    // a network with an identifier has no DHCP on macOS either
    dhcp: mode !== "bridged" && options.vmnetDisableDhcp !== true && identifier === undefined,
    ...(vmnetInterface === undefined ? {} : { interface: vmnetInterface }),
    ...(own === undefined ? {} : { own }),
    ...(options.vmnetInterfaceId === undefined ? {} : { interfaceId: options.vmnetInterfaceId }),
    ...(identifier === undefined ? {} : { networkIdentifier: identifier }),
    ...(options.vmnetNat66Prefix === undefined ? {} : { nat66Prefix: options.vmnetNat66Prefix }),
    ...(mtu === undefined ? {} : { mtu }),
  };
}

function ownSubnet(options: VmnetOptions): VmnetSettings["own"] | string {
  const { vmnetMode: mode, vmnetGateway, vmnetDhcpEnd, vmnetMask = "255.255.255.0" } = options;
  if (vmnetGateway === undefined) {
    for (const [name, value] of [
      ["dhcp-end", vmnetDhcpEnd],
      ["mask", options.vmnetMask],
    ])
      if (value !== undefined)
        return `Cannot use --vmnet-${name}=${value}: --vmnet-gateway=ADDRESS is needed besides`;
    return undefined;
  }
  if (mode === "bridged")
    return `Cannot use --vmnet-gateway=${vmnetGateway}: a bridged network has the addresses of the network it is bridged to`;
  const gateway = parseIpv4(vmnetGateway);
  if (gateway === undefined)
    return `Cannot use --vmnet-gateway=${vmnetGateway}: an IPv4 address is needed`;
  const netmask = parseIpv4(vmnetMask);
  const prefix = netmask === undefined ? undefined : prefixOfNetmask(netmask);
  if (prefix === undefined || prefix < 8 || prefix > 30)
    return `Cannot use --vmnet-mask=${vmnetMask}: a netmask of 8 to 30 bits is needed`;
  const subnet = cidrOf(gateway, prefix);
  if (gateway === subnet.network || gateway === subnet.broadcast)
    return `Cannot use --vmnet-gateway=${vmnetGateway}: it is not the address of a host in its subnet`;
  const isPoolEnd = (address: number) =>
    cidrContains(subnet, address) && address > gateway && address !== subnet.broadcast;
  if (vmnetDhcpEnd === undefined) {
    // the gateway with 254 at its end, as socket_vmnet does; in other masks than the default that may be nobody's
    const usual = ((gateway & 0xffffff00) | 254) >>> 0;
    return { gateway, subnet, last: isPoolEnd(usual) ? usual : subnet.broadcast - 1 };
  }
  const last = parseIpv4(vmnetDhcpEnd);
  if (last === undefined || !isPoolEnd(last))
    return `Cannot use --vmnet-dhcp-end=${vmnetDhcpEnd}: an address behind the gateway's in its subnet is needed`;
  return { gateway, subnet, last };
}
