/** What this machine and this user are. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { dirname, resolve } from "node:path";
import type { Architecture } from "../config/images.ts";
import { platformUuid } from "../config/mac-address.ts";
import { realPath } from "./files.ts";
import { isCompiled } from "./thread.ts";

/** $LIMANET_HOME, else $LIMA_HOME, else ~/.lima, with symbolic links resolved (MAC addresses depend on it) */
export function limanetHome(): string {
  return realPath(process.env["LIMANET_HOME"] ?? process.env["LIMA_HOME"] ?? `${userHome()}/.lima`);
}

const userHome = (): string => process.env["HOME"] ?? homedir();

/** where downloads are kept */
export function cacheFolder(): string {
  return `${process.env["XDG_CACHE_HOME"] ?? `${userHome()}/.cache`}/limanet`;
}

/**
 * The folder with the small guest's vmlinuz and initrd: where $LIMANET_GUEST says, where an installation has it beside its
 * executable, or where scripts/guest-image has built it.
 */
export function guestFolder(): string | undefined {
  const beside = isCompiled
    ? dirname(process.execPath)
    : new URL("../../dist", import.meta.url).pathname;
  const { LIMANET_GUEST } = process.env;
  const folders =
    LIMANET_GUEST === undefined || LIMANET_GUEST === ""
      ? [resolve(beside, "../share/limanet/guest"), resolve(beside, "../.cache/guest")]
      : [resolve(LIMANET_GUEST)];
  return folders.find(
    (folder) => existsSync(`${folder}/vmlinuz`) && existsSync(`${folder}/initrd`),
  );
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

/** Who runs us. The environment's USER may be absent (cron, systemd) or another's (su), so it is not asked. */
export function hostUser(): HostUser {
  const uid = process.getuid!();
  return { name: userName(uid), uid };
}

/** name of a user (passwd(5), or wherever else the system keeps users); the number where it has none */
export const userName = (uid: number): string =>
  nameIn("/etc/passwd", uid) ?? nameById("-un", String(uid)) ?? String(uid);

/** name of our group (group(5), or wherever else the system keeps groups); the number where it has none */
export function hostGroup(): string {
  const gid = process.getgid!();
  return nameIn("/etc/group", gid) ?? nameById("-gn") ?? String(gid);
}

/** Has the executable's mode, setuid or setgid, given us somebody else's rights? */
export const isSetIdentity = (): boolean =>
  process.getuid!() !== process.geteuid!() || process.getgid!() !== process.getegid!();

/** are we in the group? */
export const isOwnGroup = (gid: number): boolean => groupIds().includes(gid);

/** an ordinary user's folder for what is gone with the system's next start: systemd's for a service, or of a login */
export function userRuntimeFolder(): string | undefined {
  const { RUNTIME_DIRECTORY: ofService, XDG_RUNTIME_DIR: ofLogin } = process.env;
  return ofService?.split(":")[0] ?? (ofLogin === undefined ? undefined : `${ofLogin}/limanet`);
}

/** the number of a group; undefined when there is none of that name */
export function groupId(name: string): number | undefined {
  const fields = [...linesOf("/etc/group"), ...groupLines(name)]
    .map((line) => line.split(":"))
    .find(([known]) => known === name);
  return fields === undefined ? undefined : Number(fields[2]);
}

/** what the system knows of a group that is not in the file; macOS has no getent(1) */
function groupLines(name: string): string[] {
  if (hostPlatform() === "linux")
    return (
      spawnSync("/usr/bin/getent", ["group", "--", name], { encoding: "utf8", env: {} }).stdout ??
      ""
    ).split("\n");
  const words = [".", "-read", `/Groups/${name}`, "PrimaryGroupID"];
  const { stdout } = spawnSync("/usr/bin/dscl", words, { encoding: "utf8" });
  const gid = /^PrimaryGroupID: (\d+)$/m.exec(stdout ?? "")?.[1];
  return gid === undefined ? [] : [`${name}:*:${gid}:`];
}

/** the numbers of all groups of this process */
export const groupIds = (): number[] => [process.getegid!(), ...process.getgroups!()];

/** the name in front of a number in a file like passwd(5) and group(5) */
function nameIn(path: string, id: number): string | undefined {
  const entries = linesOf(path).map((line) => line.split(":"));
  return entries.find((fields) => fields[2] === String(id))?.[0];
}

/** what id(1) says, which knows users from the network and macOS's */
function nameById(...words: string[]): string | undefined {
  const env = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" };
  const { status, stdout } = spawnSync("id", words, { encoding: "utf8", env });
  const name = stdout?.trim() ?? "";
  // for a number without name some say the number and fail, and some do not fail
  return status !== 0 || name === "" ? undefined : name;
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

/** the kernel's virtual machine monitor, if this user may use it */
export function machineMonitor(): "kvm" | "hvf" | undefined {
  if (hostPlatform() === "darwin") {
    const { stdout } = spawnSync("/usr/sbin/sysctl", ["-n", "kern.hv_support"], {
      encoding: "utf8",
    });
    return stdout?.trim() === "1" ? "hvf" : undefined;
  }
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return "kvm";
  } catch {
    return undefined;
  }
}

/** A TCP port of 127.0.0.1 that is free now. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
