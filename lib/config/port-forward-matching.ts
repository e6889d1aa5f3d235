/**
 * Which rule of `portForwards` a port on which the guest listens falls under, and where it leads (specification, sections
 * 17.3 and 17.4). The first rule that matches and decides wins.
 */
import { isWildcardIp } from "../addr/ip-text.ts";
import type { PortForward, PortRange } from "./port-forward.ts";
import { rangeLength } from "./port-forward.ts";

/** A socket on which a program of the guest takes connections or datagrams. */
export interface Listener {
  protocol: "tcp" | "udp";
  /** in the form of `canonicalIp` */
  ip: string;
  port: number;
}

export type HostPlace = { ip: string; port: number } | { socket: string };

export type Decision =
  | { kind: "forward"; to: HostPlace }
  /** a rule says so */
  | { kind: "ignored" }
  /** what keeps a machine going, which only a rule for this one port may take out of it */
  | { kind: "infrastructure"; service: string }
  | { kind: "no-rule" };

/**
 * Services of a machine itself: the same port of the host belongs to the host's own. Lima names 53, 323, 5353, 5355; a
 * forward of DHCP's has cost a host its address.
 */
const INFRASTRUCTURE: Record<Listener["protocol"], Readonly<Record<number, string>>> = {
  tcp: { 22: "ssh", 53: "DNS", 5353: "multicast DNS", 5355: "LLMNR" },
  udp: {
    53: "DNS",
    67: "DHCP",
    68: "DHCP",
    123: "NTP",
    323: "the chrony clock daemon",
    546: "DHCPv6",
    547: "DHCPv6",
    5353: "multicast DNS",
    5355: "LLMNR",
  },
};

const RULE: PortForward = {
  guestIP: "127.0.0.1",
  guestIPMustBeZero: false,
  guestPortRange: [1, 65535],
  hostIP: "127.0.0.1",
  hostPortRange: [1, 65535],
  proto: "any",
  reverse: false,
  ignore: false,
  static: false,
};

/** The rules in the order in which they are asked: ssh is never forwarded, loopback listeners are by default. */
export function effectiveRules(rules: readonly PortForward[], sshPort: number): PortForward[] {
  const neverOf = (port: number): PortForward => ({
    ...RULE,
    guestIP: "0.0.0.0",
    guestPortRange: [port, port],
    hostPortRange: [port, port],
    ignore: true,
  });
  return [neverOf(22), neverOf(sshPort), ...rules, RULE];
}

/** What becomes of a listener. */
export function decide(rules: readonly PortForward[], listener: Listener): Decision {
  for (const rule of rules) {
    if (!matches(rule, listener)) continue;
    if (rule.ignore) {
      // "ignore" of one address is no word on the others a wildcard listener has
      if (isWildcardIp(listener.ip) && !isWildcardIp(rule.guestIP)) continue;
      return { kind: "ignored" };
    }
    return destination(rule, listener);
  }
  return { kind: "no-rule" };
}

function matches(rule: PortForward, { protocol, ip, port }: Listener): boolean {
  if (rule.guestSocket !== undefined) return false;
  if (rule.proto !== "any" && rule.proto !== protocol) return false;
  if (!inRange(port, rule.guestPortRange)) return false;
  return (
    isWildcardIp(ip) ||
    ip === rule.guestIP ||
    (ip === "::1" && rule.guestIP === "127.0.0.1") ||
    (isWildcardIp(rule.guestIP) && !rule.guestIPMustBeZero)
  );
}

const inRange = (port: number, [first, last]: PortRange): boolean => port >= first && port <= last;

/** Where a rule that is not "ignore" leads a port it holds for. */
export function destination(
  rule: PortForward,
  { protocol, port }: Pick<Listener, "protocol" | "port">,
): Decision {
  const service = INFRASTRUCTURE[protocol][port];
  if (service !== undefined && rangeLength(rule.guestPortRange) > 1)
    return { kind: "infrastructure", service };
  return {
    kind: "forward",
    to:
      rule.hostSocket === undefined
        ? { ip: rule.hostIP, port: port + rule.hostPortRange[0] - rule.guestPortRange[0] }
        : { socket: rule.hostSocket },
  };
}

/** Which protocols' "not forwarding" is left unsaid: those that the first rules ignore as a whole. */
export function silencedProtocols(rules: readonly PortForward[]): Set<Listener["protocol"]> {
  const silenced = new Set<Listener["protocol"]>();
  for (const { ignore, guestPortRange, proto } of rules) {
    if (!ignore || guestPortRange[0] !== 1 || guestPortRange[1] !== 65535) break;
    for (const protocol of ["tcp", "udp"] as const)
      if (proto === "any" || proto === protocol) silenced.add(protocol);
  }
  return silenced;
}

/** Do static rules hold for this port already? Then it is not forwarded as the guest opens it (specification, 17.7). */
export function isStatic(rules: readonly PortForward[], { protocol, port }: Listener): boolean {
  return rules.some(
    (rule) =>
      rule.static &&
      !rule.ignore &&
      rule.guestSocket === undefined &&
      (rule.proto === "any" || rule.proto === protocol) &&
      inRange(port, rule.guestPortRange),
  );
}
