/**
 * How this machine resolves names, read anew whenever one of the files that say so has changed: a look at their times
 * when a name is asked for, at most five times a second, rather than a watch that a replaced file escapes.
 */
import { dlopen } from "bun:ffi";
import { readdirSync, readFileSync, statSync } from "node:fs";
import {
  hasResolvedStub,
  hostsFileComesFirst,
  parseHostsFile,
  parseResolvConf,
  parseResolvedLink,
  parseResolverFile,
  parseScutilDns,
} from "../service/dns/host-files.ts";
import { canonicalName } from "../service/dns/message.ts";
import { Routes, type DomainRoute, type Route, type ServerGroup } from "../service/dns/routes.ts";
import type { HostNaming } from "../service/dns/sources.ts";

const LOOK_EVERY_MS = 200;
/** a file that is younger than this when it is read may change again without getting another time */
const YOUNG_MS = 100;
const RESOLV_CONF = "/etc/resolv.conf";
const HOSTS = "/etc/hosts";
const NSSWITCH = "/etc/nsswitch.conf";
/** folders of systemd: one file for each link with name servers of its own */
const LINK_FOLDERS = ["/run/systemd/resolve/netif", "/run/systemd/netif/links"];
const MAC_RESOLVERS = "/etc/resolver";
const IS_DARWIN = process.platform === "darwin";
const WATCHED = IS_DARWIN
  ? [RESOLV_CONF, HOSTS, MAC_RESOLVERS]
  : [RESOLV_CONF, HOSTS, NSSWITCH, ...LINK_FOLDERS];

/** only where the host names no server at all (specification 10.2 and 21) */
const PUBLIC_SERVERS: ServerGroup = {
  servers: [
    { address: "8.8.8.8", port: 53 },
    { address: "1.1.1.1", port: 53 },
  ],
  origin: "the public fallback, as the host names none",
};

/** The host's search list, for DHCP option 119. */
export function hostSearchDomains(): string[] {
  if (IS_DARWIN) {
    const { search } = parseScutilDns(scutilDns());
    if (search.length > 0) return search;
  }
  return parseResolvConf(read(RESOLV_CONF)).search;
}

export class WatchedHostNaming implements HostNaming {
  readonly #publicFallback: boolean;
  #hosts = new Map<string, string[]>();
  #routes = new Routes({ servers: [], origin: RESOLV_CONF });
  #revision = 0;
  #texts = "";
  #stamps = "";
  #lookedAt = -Infinity;
  readonly #macChanged = IS_DARWIN ? macDnsNotification() : () => false;

  constructor(publicFallback: boolean) {
    this.#publicFallback = publicFallback;
  }

  revision(): number {
    this.#look();
    return this.#revision;
  }

  hostsFile(name: string): readonly string[] {
    this.#look();
    return this.#hosts.get(canonicalName(name)) ?? [];
  }

  route(name: string): Route {
    this.#look();
    return this.#routes.for(name);
  }

  #look(): void {
    const now = performance.now();
    if (now - this.#lookedAt < LOOK_EVERY_MS) return;
    this.#lookedAt = now;
    const { stamps, isYoung } = stampsOf(WATCHED);
    // asked in any case: the answer is about the time since the last question
    const macChanged = this.#macChanged();
    if (stamps === this.#stamps && !macChanged) return;
    this.#stamps = isYoung ? "" : stamps;
    this.#load();
  }

  #load(): void {
    const resolvConf = read(RESOLV_CONF);
    const hosts = read(HOSTS);
    const nsswitch = IS_DARWIN ? "" : read(NSSWITCH);
    const scutil = IS_DARWIN ? scutilDns() : "";
    const folders = IS_DARWIN ? [MAC_RESOLVERS] : LINK_FOLDERS;
    const links = folders.flatMap((folder) =>
      list(folder).map((name) => ({ folder, name, text: read(`${folder}/${name}`) })),
    );
    const texts = JSON.stringify([resolvConf, hosts, nsswitch, scutil, links]);
    if (texts === this.#texts) return;
    this.#texts = texts;
    this.#revision++;
    this.#hosts = hostsFileComesFirst(nsswitch)
      ? parseHostsFile(hosts)
      : new Map<string, string[]>();
    const mac = parseScutilDns(scutil);
    const fromFile = parseResolvConf(resolvConf).nameservers;
    const general: ServerGroup =
      mac.nameservers.length > 0
        ? { servers: mac.nameservers, origin: "scutil --dns" }
        : { servers: fromFile, origin: RESOLV_CONF };
    const routes: DomainRoute[] = IS_DARWIN
      ? [...mac.routes, ...links.flatMap(({ name, text }) => parseResolverFile(name, text))]
      : links.flatMap(({ folder, name, text }) => parseResolvedLink(text, `${folder}/${name}`));
    this.#routes = new Routes(
      general.servers.length === 0 && this.#publicFallback ? PUBLIC_SERVERS : general,
      hasResolvedStub(general.servers) ? [] : routes,
    );
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // what is not there says nothing
    return "";
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch {
    return [];
  }
}

function stampsOf(paths: readonly string[]): { stamps: string; isYoung: boolean } {
  let stamps = "";
  let isYoung = false;
  for (const path of paths) {
    const info = statSync(path, { throwIfNoEntry: false });
    if (info === undefined) {
      stamps += "- ";
      continue;
    }
    stamps += `${info.ino} ${info.ctimeMs} ${info.size} `;
    if (Math.abs(Date.now() - info.ctimeMs) < YOUNG_MS) isYoung = true;
  }
  return { stamps, isYoung };
}

function scutilDns(): string {
  try {
    return Bun.spawnSync(["/usr/sbin/scutil", "--dns"]).stdout.toString();
  } catch {
    // resolv.conf is what is left
    return "";
  }
}

/** Tells whether macOS's DNS configuration has changed since the last call: notify_check(3) reads shared memory. */
function macDnsNotification(): () => boolean {
  const { notify_register_check: register, notify_check: check } = dlopen("libSystem.B.dylib", {
    notify_register_check: { args: ["ptr", "ptr"], returns: "u32" },
    notify_check: { args: ["i32", "ptr"], returns: "u32" },
  }).symbols;
  const name = new TextEncoder().encode("com.apple.system.SystemConfiguration.dns_configuration\0");
  const token = new Int32Array(1);
  const changed = new Int32Array(1);
  if (register(name, token) !== 0) return () => true;
  return () => check(token[0]!, changed) !== 0 || changed[0] !== 0;
}
