/**
 * Who has a port of this host: found in the kernel's tables of sockets (Linux; proc_pid_net(5)) by the sockets' inodes, on
 * macOS by lsof(8).
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { endianness } from "node:os";
import { isWildcardIp } from "../addr/ip-text.ts";
import { parseEndpoint } from "../addr/endpoint.ts";
import { parseKernelEndpoint } from "../addr/kernel-endpoint.ts";
import { hostPlatform } from "./machine.ts";

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
  if (hostPlatform() === "darwin") return parseLsof(lsof(protocol, port), ip);
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

function lsof(protocol: "tcp" | "udp", port: number): string {
  const states = protocol === "tcp" ? ["-sTCP:LISTEN"] : [];
  const words = ["-nP", "-F", "pcun", `-i${protocol}:${port}`, ...states];
  return spawnSync("/usr/sbin/lsof", words, { encoding: "utf8" }).stdout ?? "";
}

/** Who has an address that overlaps `ip`, by what `lsof -F pcun` prints: a line for each field, its letter in front. */
export function parseLsof(text: string, ip: string): PortHolder | undefined {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    fields.set(line.slice(0, 1), line.slice(1));
    // a socket with a peer is "LOCAL->REMOTE", and nobody's who wants to bind
    if (!line.startsWith("n") || line.includes("->")) continue;
    const host = parseEndpoint(line.slice(1).replace(/^\*:/, ":"))?.host;
    if (host === undefined) continue;
    const isAll = host === "" || isWildcardIp(host);
    if (host !== ip && !isAll && !isWildcardIp(ip)) continue;
    return {
      process: { pid: Number(fields.get("p")), name: fields.get("c") ?? "" },
      uid: Number(fields.get("u")),
    };
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
