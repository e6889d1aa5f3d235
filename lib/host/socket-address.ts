/**
 * Socket addresses as octets: sockaddr_in, sockaddr_in6, sockaddr_un. What follows the family stands at the same place
 * on all systems.
 */
import type { HostAbi } from "./host-abi.ts";
import { abi, AF_INET, AF_UNIX } from "./libc.ts";

/** An address of `length` octets that has its family, and its length where there is one. */
function socketAddress(length: number, family: number, system: HostAbi): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(length);
  octets[0] = system.addressHasLength ? length : family;
  octets[1] = system.addressHasLength ? family : 0;
  return octets;
}

/** the family of an address that the system has written */
export const familyOf = (octets: DataView, at: number, system = abi): number =>
  octets.getUint8(system.addressHasLength ? at + 1 : at);

export function ipv4SocketAddress(
  address: number,
  port: number,
  system = abi,
): Uint8Array<ArrayBuffer> {
  const octets = socketAddress(16, AF_INET, system);
  setIpv4Endpoint(new DataView(octets.buffer), address, port);
  return octets;
}

/** Has an address of IPv4 lead elsewhere. */
export function setIpv4Endpoint(octets: DataView, address: number, port: number): void {
  octets.setUint16(2, port);
  octets.setUint32(4, address);
}

/** `address` is 16 octets */
export function ipv6SocketAddress(
  address: Uint8Array,
  port: number,
  system = abi,
): Uint8Array<ArrayBuffer> {
  const octets = socketAddress(28, system.AF_INET6, system);
  new DataView(octets.buffer).setUint16(2, port);
  octets.set(address, 8);
  return octets;
}

/** Throws RangeError when the path does not fit. */
export function unixSocketAddress(path: string, system = abi): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(path);
  if (name.length >= system.unixPathMax) {
    throw new RangeError(
      `Cannot use the socket path ${path}: it has ${name.length} octets and the system takes ${system.unixPathMax - 1} (choose a shorter LIMANET_HOME)`,
    );
  }
  const octets = socketAddress(2 + name.length + 1, AF_UNIX, system);
  octets.set(name, 2);
  return octets;
}

/** the port of a sockaddr_in or sockaddr_in6 */
export function portOfSocketAddress(octets: Uint8Array): number {
  return (octets[2]! << 8) | octets[3]!;
}

/** "::1" and the like → 16 octets; undefined for any other text */
export function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2 || !/^[0-9a-fA-F:]+$/.test(text)) return undefined;
  const groups = (half: string | undefined) =>
    half === undefined || half === "" ? [] : half.split(":");
  const head = groups(halves[0]);
  const tail = groups(halves[1]);
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...head, ...Array<string>(halves.length === 1 ? 0 : missing).fill("0"), ...tail];
  if (all.some((group) => !/^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  const octets = new Uint8Array(16);
  all.forEach((group, i) =>
    new DataView(octets.buffer).setUint16(i * 2, Number.parseInt(group, 16)),
  );
  return octets;
}
