/** IPv4 addresses (RFC 791) as unsigned 32-bit numbers, and subnets (RFC 4632). */

/** undefined when the text is not four decimal octets */
export function parseIpv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let address = 0;
  for (const part of match.slice(1)) {
    const octet = Number(part);
    if (octet > 255) return undefined;
    address = address * 256 + octet;
  }
  return address;
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

export interface Cidr {
  /** network address */
  readonly network: number;
  /** 0..32 */
  readonly prefix: number;
  readonly netmask: number;
  readonly broadcast: number;
}

/** The subnet that holds an address. */
export function cidrOf(address: number, prefix: number): Cidr {
  const netmask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
  const network = (address & netmask) >>> 0;
  return { network, prefix, netmask, broadcast: (network | ~netmask) >>> 0 };
}

/** "192.168.5.0/24"; host bits are dropped; undefined when the text is not of that form */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  if (slash < 0 || !/^\d{1,2}$/.test(text.slice(slash + 1))) return undefined;
  const address = parseIpv4(text.slice(0, slash));
  const prefix = Number(text.slice(slash + 1));
  if (address === undefined || prefix > 32) return undefined;
  return cidrOf(address, prefix);
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIpv4(cidr.network)}/${cidr.prefix}`;
}

export function cidrContains(cidr: Cidr, address: number): boolean {
  return (address & cidr.netmask) >>> 0 === cidr.network;
}

/** prefix length of a contiguous netmask; undefined for any other */
export function prefixOfNetmask(netmask: number): number | undefined {
  for (let prefix = 0; prefix <= 32; prefix++) {
    if (cidrOf(0, prefix).netmask === netmask) return prefix;
  }
  return undefined;
}

export const LOOPBACK = 0x7f000001;
export const LIMITED_BROADCAST = 0xffffffff;
/** 127.0.0.0/8 (RFC 1122) */
export const isLoopback = (address: number): boolean => address >>> 24 === 127;
/** 169.254.0.0/16 (RFC 3927) */
export const isLinkLocal = (address: number): boolean => address >>> 16 === 0xa9fe;
/** 224.0.0.0/4 (RFC 5771) */
export const isMulticast = (address: number): boolean => address >>> 28 === 14;
/** 0.0.0.0/8 and 240.0.0.0/4: never a destination (RFC 1122, 1112) */
export const isReserved = (address: number): boolean =>
  address >>> 24 === 0 || address >>> 28 === 15;
