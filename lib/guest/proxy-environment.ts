/** The guest's environment: its own entries and the host's proxies, with loopback proxies made reachable (specification, section 18). */

const PROPAGATED = ["ftp_proxy", "http_proxy", "https_proxy", "no_proxy"] as const;

/** `env` of lima.yaml, overlaid by the proxy variables of the host's process environment when they are propagated. */
export function guestEnvironment(
  env: Readonly<Record<string, string>>,
  host: Readonly<Record<string, string | undefined>>,
  propagate: boolean,
  gateway: string,
): Record<string, string> {
  const result: Record<string, string> = { ...env };
  const both = PROPAGATED.flatMap((name) => [name, name.toUpperCase()]);
  if (propagate) for (const name of both) if (host[name] !== undefined) result[name] = host[name]!;
  for (const name of both) {
    const value = result[name];
    if (value === undefined || name.toLowerCase() === "no_proxy") continue;
    if (value === "") delete result[name];
    else result[name] = withReachableHost(value, gateway);
  }
  for (const name of PROPAGATED) {
    const upper = name.toUpperCase();
    const value = result[name] ?? result[upper];
    if (value === undefined) continue;
    result[name] = value;
    result[upper] = value;
  }
  return result;
}

/** A proxy on the host's loopback is the gateway's port for the guest. */
function withReachableHost(proxy: string, gateway: string): string {
  let url: URL;
  try {
    url = new URL(proxy);
  } catch {
    return proxy;
  }
  const isLoopback =
    url.hostname === "localhost" || url.hostname === "[::1]" || url.hostname.startsWith("127.");
  // only the host is replaced, so that user, port and path stay as they were written
  return isLoopback ? proxy.replace(url.hostname, gateway) : proxy;
}
