/**
 * Ports below 1024 on loopback addresses (specification, section 17.6). macOS lets everybody have them on all addresses
 * together, and on loopback only root: there all are listened on, and peers that are not this machine are turned away.
 */
import { isLoopbackIp } from "../addr/ip-text.ts";

const FIRST_UNPRIVILEGED = 1024;

export interface ListenPlan {
  /** what is bound */
  host: string;
  loopbackOnly: boolean;
}

export function listenPlan(platform: "darwin" | "linux", host: string, port: number): ListenPlan {
  const isClosed = port > 0 && port < FIRST_UNPRIVILEGED && isLoopbackIp(host);
  if (platform !== "darwin" || !isClosed) return { host, loopbackOnly: false };
  return { host: host.includes(":") ? "::" : "0.0.0.0", loopbackOnly: true };
}

/** What to do about a port below 1024 that this user may not have. */
export const portAdvice = (platform: "darwin" | "linux", port: string): string =>
  platform === "darwin"
    ? "ports below 1024 need privileges (choose a port from 1024 on)"
    : `ports below 1024 need privileges (choose a port from 1024 on, or: sudo sysctl net.ipv4.ip_unprivileged_port_start=${port})`;

/** Is the peer in a sockaddr_in, or sockaddr_in6, on this machine? The address stands at the same place on both systems. */
export function isLoopbackPeer(address: Uint8Array, family: "ipv4" | "ipv6"): boolean {
  if (family === "ipv4") return address[4] === 127;
  return address.subarray(8, 23).every((octet) => octet === 0) && address[23] === 1;
}
