/** The host's links, addresses, routes, rules and settings (Linux), by `ip` and `nft` and /proc/sys. */
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { orFileFailure } from "./file-failure.ts";
import { isProgram } from "./process.ts";

/** not by PATH: whoever runs this may be root */
const FOLDERS = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
const PACKAGE = { ip: "iproute2", nft: "nftables" } as const;

export const findNetworkTool = (name: "ip" | "nft" | "iptables-legacy"): string | undefined =>
  FOLDERS.map((folder) => `${folder}/${name}`).find(isProgram);

export function networkTool(name: "ip" | "nft"): string {
  const path = findNetworkTool(name);
  if (path !== undefined) return path;
  throw new Error(
    `Cannot make the network: the program ${name} is not installed (on Debian and Ubuntu: apt install ${PACKAGE[name]})`,
  );
}

/**
 * Runs a tool with its input from a file: once started it does all of it, even when we are killed. It inherits `lock`, so
 * that whoever takes that lock next finds it ended. The result is what it complains of; "" is success.
 */
export async function runNetworkTool(command: readonly string[], lock?: number): Promise<string> {
  const child = Bun.spawn([...command], {
    stdio: ["ignore", "ignore", "pipe", ...(lock === undefined ? [] : [lock])],
    env: {},
    // a terminal's ^C is for us, not for a change that is half done
    detached: true,
  });
  const complaint = (await new Response(child.stderr as ReadableStream).text()).trim();
  const code = await child.exited;
  return code === 0 ? "" : complaint || `it ended with ${code}`;
}

/** what `ip` prints; "" when it fails, as for an interface that is not there */
export function ipShow(...words: string[]): string {
  const { stdout, success } = Bun.spawnSync([networkTool("ip"), ...words], { env: {} });
  return success ? stdout.toString() : "";
}

const settingFile = (key: string): string => `/proc/sys/net/${key}`;

/** a setting of /proc/sys/net, such as ipv4/ip_forward; undefined when the kernel has none of that name */
export function networkSetting(key: string): string | undefined {
  return existsSync(settingFile(key)) ? readFileSync(settingFile(key), "utf8").trim() : undefined;
}

export function setNetworkSetting(key: string, value: string): void {
  orFileFailure("set", settingFile(key), () => writeFileSync(settingFile(key), value));
}

/** the interfaces that have settings of their own, `all` and `default` among them */
export const settingInterfaces = (): string[] => readdirSync(settingFile("ipv4/conf")).toSorted();

/** which network namespace this process is in */
export const networkNamespace = (): string => readlinkSync("/proc/self/ns/net");

export const isWireless = (name: string): boolean =>
  existsSync(`/sys/class/net/${name}/wireless`) || existsSync(`/sys/class/net/${name}/phy80211`);

/** there is no hardware behind the interface */
export const isVirtual = (name: string): boolean => !existsSync(`/sys/class/net/${name}/device`);
