/** Who has a port of this host: found in the kernel's tables of sockets (Linux; proc_pid_net(5)) by the sockets' inodes. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { endianness } from "node:os";
import { isWildcardIp } from "../addr/ip-text.ts";
import { parseKernelEndpoint } from "../addr/kernel-endpoint.ts";

export interface PortHolder {
  /** undefined: a process of another user, which only that user and root may look into */
  process?: { pid: number; name: string };
  uid: number;
}

/** in tables of TCP the state of a socket that listens, in those of UDP of one without a peer */
const STATE = { tcp: "0A", udp: "07" } as const;

/** undefined when nobody has it, or the system does not tell */
export function portHolder(
  protocol: "tcp" | "udp",
  ip: string,
  port: number,
): PortHolder | undefined {
  for (const table of [protocol, `${protocol}6`]) {
    for (const line of linesOf(`/proc/net/${table}`)) {
      // sl, local, remote, state, queues, timer, retransmits, uid, timeout, inode
      const fields = line.trim().split(/\s+/);
      const local = parseKernelEndpoint(fields[1] ?? "", endianness() === "LE" ? "little" : "big");
      if (local?.port !== port || fields[3] !== STATE[protocol]) continue;
      const overlaps = local.ip === ip || isWildcardIp(local.ip) || isWildcardIp(ip);
      if (!overlaps) continue;
      const process = processWithSocket(fields[9] ?? "");
      return { uid: Number(fields[7]), ...(process === undefined ? {} : { process }) };
    }
  }
  return undefined;
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n").slice(1, -1);
  } catch {
    // not Linux, or no IPv6
    return [];
  }
}

function processWithSocket(inode: string): PortHolder["process"] {
  const socket = `socket:[${inode}]`;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const folder = `/proc/${pid}/fd`;
      if (!readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === socket)) continue;
      return { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, "utf8").trim() };
    } catch {
      // another user's, or it has just ended
    }
  }
  return undefined;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
