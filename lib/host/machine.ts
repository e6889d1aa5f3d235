/** What this machine and this user are. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, readFileSync } from "node:fs";
import { homedir, hostname, userInfo } from "node:os";
import type { Architecture } from "../config/images.ts";
import { platformUuid } from "../config/mac-address.ts";
import { realPath } from "./files.ts";

/** $LIMANET_HOME, else $LIMA_HOME, else ~/.lima, with symbolic links resolved (MAC addresses depend on it) */
export function limanetHome(): string {
  return realPath(process.env["LIMANET_HOME"] ?? process.env["LIMA_HOME"] ?? `${userHome()}/.lima`);
}

const userHome = (): string => process.env["HOME"] ?? homedir();

/** where downloads are kept */
export function cacheFolder(): string {
  return `${process.env["XDG_CACHE_HOME"] ?? `${userHome()}/.cache`}/limanet`;
}

/** what tells this machine from others (specification, section 12) */
export function machineId(): string {
  const uuid = hostPlatform() === "darwin" ? platformUuid(platformRegistry()) : undefined;
  if (uuid !== undefined) return uuid;
  for (const path of ["/etc/machine-id", "/var/lib/dbus/machine-id"]) {
    try {
      const id = readFileSync(path, "utf8").trim();
      if (id !== "") return id;
    } catch {
      // the next place is tried
    }
  }
  return hostname();
}

/** macOS' registry entry of the machine itself; "" when it cannot be had */
function platformRegistry(): string {
  const words = ["-a", "-d2", "-c", "IOPlatformExpertDevice"];
  return spawnSync("/usr/sbin/ioreg", words, { encoding: "utf8" }).stdout ?? "";
}

export function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

export interface HostUser {
  name: string;
  uid: number;
}

export function hostUser(): HostUser {
  const { username, uid } = userInfo();
  return { name: username, uid };
}

/** name of a user (passwd(5)); the number where it has none */
export function userName(uid: number): string {
  const line = linesOf("/etc/passwd")
    .map((text) => text.split(":"))
    .find((fields) => fields[2] === String(uid));
  return line?.[0] ?? String(uid);
}

/** name of the user's primary group (group(5)); the user's own name where it has none */
export function hostGroup(): string {
  const { username, gid } = userInfo();
  const line = linesOf("/etc/group")
    .map((text) => text.split(":"))
    .find((fields) => fields[2] === String(gid));
  return line?.[0] ?? username;
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    // users and groups may come from elsewhere
    return [];
  }
}

export const hostPlatform = (): "darwin" | "linux" =>
  process.platform === "darwin" ? "darwin" : "linux";
export const hostArchitecture = (): Architecture =>
  process.arch === "arm64" ? "aarch64" : "x86_64";
export const hostEnvironment = (): Readonly<Record<string, string | undefined>> => process.env;

/** may this user use the kernel's virtual machine monitor? */
export function kvmUsable(): boolean {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** A TCP port of 127.0.0.1 that is free now. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
