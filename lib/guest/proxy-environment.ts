/**
 * The guest's environment: the host's proxies and `env` of lima.yaml, with proxies on the host's loopback made
 * reachable (specification, section 18). It is written into the guest at every start.
 */
import { canonicalIp, isLoopbackIp } from "../addr/ip-text.ts";

const PROXIES = ["ftp_proxy", "http_proxy", "https_proxy"] as const;
const PROPAGATED = [...PROXIES, "no_proxy"] as const;
const bothCases = (name: string): string[] => [name, name.toUpperCase()];

export interface EnvironmentSources {
  /** proxies of the host's settings (macOS), by lower-case name */
  system: Readonly<Record<string, string>>;
  /** `env` of lima.yaml */
  env: Readonly<Record<string, string>>;
  /** the process environment of the host; undefined: nothing of it is propagated */
  host: Readonly<Record<string, string | undefined>> | undefined;
}

export interface ReachableThrough {
  /** address at which the guest reaches the host's loopback */
  gateway: string;
  /** the host's addresses of a name; empty when it has none */
  resolve(name: string): Promise<readonly string[]>;
  warn(sentence: string): void;
}

/** What the guest's environment is to be. */
export const guestEnvironment = (
  sources: EnvironmentSources,
  through: ReachableThrough,
): Promise<Record<string, string>> => withReachableProxies(overlay(sources), through);

/** Later sources win, name by name; of the host's environment only the proxy variables count. */
function overlay({ system, env, host }: EnvironmentSources): Record<string, string> {
  const result: Record<string, string> = { ...system, ...env };
  for (const name of PROPAGATED.flatMap(bothCases)) {
    const value = host?.[name];
    if (value !== undefined) result[name] = value;
  }
  return result;
}

/** Makes the proxies of an environment usable from the guest, under both spellings of their names. */
export async function withReachableProxies(
  environment: Readonly<Record<string, string>>,
  through: ReachableThrough,
): Promise<Record<string, string>> {
  const result: Record<string, string> = { ...environment };
  for (const name of PROXIES.flatMap(bothCases)) {
    const value = result[name];
    if (value === "") delete result[name];
    else if (value !== undefined) result[name] = await reachable(name, value, through);
  }
  for (const lower of PROPAGATED) {
    const upper = lower.toUpperCase();
    // the lower-case name wins: it is the one that most programs read
    const value = result[lower] ?? result[upper];
    if (value === undefined) continue;
    result[lower] = value;
    result[upper] = value;
  }
  return result;
}

/** scheme, user info, host, and what follows it (RFC 3986 3.2) */
const PROXY_URL =
  /^([a-z][a-z0-9+.-]*:\/\/(?:[^/?#]*@)?)(\[[0-9a-f:.]*\]|[^/?#@:[\]]+)((?::\d*)?(?:[/?#].*)?)$/i;

/** Only the host is replaced, so that user, port and path stay as they were written. */
async function reachable(name: string, value: string, through: ReachableThrough): Promise<string> {
  if (!value.includes("://")) return value;
  const [, before = "", host = "", after = ""] = PROXY_URL.exec(value) ?? [];
  if (host === "" || !URL.canParse(value)) {
    through.warn(`the proxy of ${name} is left as it is: it is not a URL with a host`);
    return value;
  }
  return (await leadsToLoopback(host, through)) ? before + through.gateway + after : value;
}

async function leadsToLoopback(host: string, through: ReachableThrough): Promise<boolean> {
  const literal = host.startsWith("[") ? host.slice(1, -1) : host;
  if (canonicalIp(literal) !== undefined) return isLoopback(literal);
  // RFC 6761 6.3: whatever a resolver says of it
  if (/^(.+\.)?localhost\.?$/i.test(host)) return true;
  return (await through.resolve(host)).some(isLoopback);
}

function isLoopback(address: string): boolean {
  const ip = canonicalIp(address) ?? "";
  // RFC 4291 2.5.5.2: 127.0.0.0/8 mapped into IPv6
  return isLoopbackIp(ip) || /^::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}$/.test(ip);
}
