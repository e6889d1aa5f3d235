/**
 * The host's forwarding of IPv4, switched on for `shared` networks. Linux sets every interface's `forwarding` and the
 * redirects of `all` whenever ip_forward is written (ip-sysctl: "changing this resets all configuration parameters"), so that
 * going back means more than writing the old number.
 *
 * Whoever else needs forwarding writes 1 over our 1, which leaves no trace. What does leave one is what they need it for:
 * a bridge, a tunnel, a container's interface with an address. Where such a thing has come meanwhile, forwarding stays on.
 */

/** settings below net/ as they were before the first network switched forwarding on; nothing when it was on already */
export type Forwarding = Record<string, string>;

export const IP_FORWARD = "ipv4/ip_forward";

/** What has to be remembered before forwarding is switched on. */
export function rememberForwarding(
  interfaces: readonly string[],
  read: (key: string) => string | undefined,
): Forwarding {
  if (read(IP_FORWARD) !== "0") return {};
  const before: Forwarding = { [IP_FORWARD]: "0" };
  for (const name of interfaces) {
    const key = `ipv4/conf/${name}/forwarding`;
    const value = read(key);
    if (value !== undefined) before[key] = value;
  }
  const redirects = read("ipv4/conf/all/accept_redirects");
  if (redirects !== undefined) before["ipv4/conf/all/accept_redirects"] = redirects;
  return before;
}

/** An interface of the host as it is now. */
export interface HostInterface {
  name: string;
  /** has no hardware behind it */
  isVirtual: boolean;
  /** has an IPv4 address */
  hasAddress: boolean;
}

/** Somebody else's interface that has come since forwarding was switched on, and is likely to need it. */
export function needsForwarding(
  before: Forwarding,
  now: readonly HostInterface[],
): string | undefined {
  return now.find(
    ({ name, isVirtual, hasAddress }) =>
      isVirtual && hasAddress && before[`ipv4/conf/${name}/forwarding`] === undefined,
  )?.name;
}

/** The settings to write, in order, to have everything as it was; `read` tells what is there now. */
export function restoreForwarding(
  before: Forwarding,
  read: (key: string) => string | undefined,
): [key: string, value: string][] {
  if (before[IP_FORWARD] === undefined) return [];
  const rest = Object.entries(before).filter(
    ([key, value]) =>
      key !== IP_FORWARD &&
      // what ip_forward=0 leaves as it should be; `all/forwarding` is another name of ip_forward itself
      key !== "ipv4/conf/all/forwarding" &&
      !(key.endsWith("/forwarding") && value === "0") &&
      read(key) !== undefined,
  );
  return [[IP_FORWARD, before[IP_FORWARD]], ...rest];
}
