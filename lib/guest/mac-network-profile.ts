/**
 * What macOS tells of its networks by `system_profiler SPNetworkDataType -json`: the name servers and proxies of the
 * first service, in service order, that has IPv4 addresses (specification, sections 3.4 and 18).
 */

export const MAC_PROFILE_COMMAND = ["system_profiler", "SPNetworkDataType", "-json"] as const;

export interface HostProfile {
  dns: string[];
  /** by variable name; never no_proxy */
  proxies: Record<string, string>;
}

/** nothing known, as on every host that is not macOS */
export const NO_PROFILE: HostProfile = { dns: [], proxies: {} };

/** The profile in the command's output; NO_PROFILE when it has no service with addresses, or is something else. */
export function parseMacProfile(json: string): HostProfile {
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch {
    return NO_PROFILE;
  }
  const listed = field(document, "SPNetworkDataType");
  const services = (Array.isArray(listed) ? listed : [])
    .filter((service) => texts(field(field(service, "IPv4"), "Addresses")).length > 0)
    .toSorted((a, b) => orderOf(a) - orderOf(b));
  if (services.length === 0) return NO_PROFILE;
  const proxies: Record<string, string> = {};
  for (const protocol of ["ftp", "http", "https"]) {
    const proxy = proxyOf(field(services[0], "Proxies"), protocol.toUpperCase());
    if (proxy !== undefined) proxies[`${protocol}_proxy`] = proxy;
  }
  return { dns: texts(field(field(services[0], "DNS"), "ServerAddresses")), proxies };
}

/** A proxy that is enabled and asks for no user: its password is in the keychain, where we do not look. */
function proxyOf(settings: unknown, protocol: string): string | undefined {
  const of = (key: string) => {
    const value = field(settings, `${protocol}${key}`);
    return typeof value === "string" || typeof value === "number" ? String(value) : "";
  };
  const host = of("Proxy");
  if (!["yes", "1"].includes(of("Enable")) || of("User") !== "" || host === "") return undefined;
  const url = host.includes("://") ? host : `http://${host}`;
  return of("Port") === "" ? url : `${url}:${of("Port")}`;
}

const field = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
const orderOf = (service: unknown): number =>
  Number(field(service, "spnetwork_service_order") ?? Infinity);
