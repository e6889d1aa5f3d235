/**
 * Which forwards there are to be: a pure function of an instance's rules and of what its guest listens on (specification,
 * section 17). A forward goes through the instance's network where that leads to the listener; what listens on the guest's
 * loopback, or on a socket, is reached from inside the guest only: by ssh.
 */
import { formatEndpoint } from "../../addr/endpoint.ts";
import { isLoopbackIp, isWildcardIp } from "../../addr/ip-text.ts";
import {
  decide,
  destination,
  effectiveRules,
  isStatic,
  silencedProtocols,
  type HostPlace,
  type Listener,
} from "../../config/port-forward-matching.ts";
import { rangeLength, type PortForward } from "../../config/port-forward.ts";

export type Way =
  | { via: "network"; remote: string }
  /** `target`: endpoint or socket as the guest itself reaches it */
  | { via: "ssh"; target: string }
  /** the guest's socket leads to the host's */
  | { via: "ssh-reverse"; target: string };

/** where a way leads, as whoever carries it has it */
export const endOf = (way: Way): string => (way.via === "network" ? way.remote : way.target);

export interface PlannedForward {
  protocol: Listener["protocol"];
  /** what it leads to, as the guest has it */
  guest: string;
  /** where the host's programs find it, as the rule has it */
  host: string;
  /** endpoints or the socket that are bound for it, the first of which must be had */
  locals: string[];
  way: Way;
  /** what is wrong with it although it is made */
  remark?: string;
}

export interface RefusedForward {
  protocol: Listener["protocol"];
  guest: string;
  host?: string;
  why: string;
  /** nobody is told */
  silent: boolean;
}

export interface ForwardPlan {
  forwards: PlannedForward[];
  refused: RefusedForward[];
  /** named by a rule, but the guest does not listen yet */
  waiting: { protocol: PortForward["proto"]; guest: string; host: string }[];
}

export interface ForwardFacts {
  /** the instance's own, with their sockets' paths filled in */
  rules: readonly PortForward[];
  plain: boolean;
  sshPort: number;
  /** the guest's address on its first network */
  address: string;
  /** undefined: not known yet */
  listeners: readonly Listener[] | undefined;
  network: NetworkAbilities;
}

/** What the host agent's side of a network can listen on; QEMU's own can on neither. */
export interface NetworkAbilities {
  hasSockets: boolean;
  hasIpv6: boolean;
}

/** ports of one static rule; each has sockets of the host */
export const MAX_STATIC_PORTS = 1024;

/** a forward's place on the host, which only one can have */
export const forwardKey = ({ protocol, host, way }: PlannedForward): string =>
  way.via === "ssh-reverse" ? `reverse ${way.target}` : `${protocol} ${host}`;

export function planForwards(facts: ForwardFacts): ForwardPlan {
  return new Planner(facts).plan();
}

class Planner {
  readonly #facts: ForwardFacts;
  readonly #byKey = new Map<string, PlannedForward>();
  readonly #refused = new Map<string, RefusedForward>();
  readonly #listeners: readonly Listener[];

  constructor(facts: ForwardFacts) {
    this.#facts = facts;
    const rank = (listener: Listener) => listenerRank(listener, facts.address);
    this.#listeners = (facts.listeners ?? []).toSorted(
      (a, b) => rank(a) - rank(b) || a.port - b.port,
    );
  }

  plan(): ForwardPlan {
    const { plain } = this.#facts;
    // specification 3.7
    const rules = this.#facts.rules.filter((rule) => rule.static || !plain);
    for (const rule of rules)
      if (!rule.ignore && rule.guestSocket !== undefined) this.#socket(rule);
    for (const rule of rules)
      if (!rule.ignore && rule.guestSocket === undefined && rule.static) this.#static(rule);
    if (!plain) this.#dynamic(rules);
    return {
      forwards: [...this.#byKey.values()],
      refused: [...this.#refused.values()],
      waiting: rules.flatMap((rule) => this.#waiting(rule)),
    };
  }

  #socket(rule: PortForward): void {
    const guest = rule.guestSocket!;
    const to =
      rule.hostSocket === undefined
        ? { ip: rule.hostIP, port: rule.hostPortRange[0] }
        : { socket: rule.hostSocket };
    const way: Way = rule.reverse
      ? { via: "ssh-reverse", target: guest }
      : { via: "ssh", target: guest };
    this.#add("tcp", guest, to, way);
  }

  #static(rule: PortForward): void {
    const [first, last] = rule.guestPortRange;
    if (rangeLength(rule.guestPortRange) > MAX_STATIC_PORTS) {
      const why = `a static rule is for ${MAX_STATIC_PORTS} ports at most (name them, or do without static)`;
      this.#refuse("tcp", `${rule.guestIP}:${first}-${last}`, why);
      return;
    }
    for (let port = first; port <= last; port++) {
      // specification 17.3, which comes before all rules
      if (this.#isSsh(port)) continue;
      for (const protocol of ["tcp", "udp"] as const) {
        if (rule.proto !== "any" && rule.proto !== protocol) continue;
        // a socket of the host carries streams
        if (rule.hostSocket !== undefined && rule.proto === "any" && protocol === "udp") continue;
        const guest = formatEndpoint({ host: rule.guestIP, port });
        const decision = destination(rule, { protocol, port });
        if (decision.kind === "infrastructure")
          this.#refuse(protocol, guest, ofInfrastructure(decision.service));
        else if (decision.kind === "forward") {
          // the best of those that listen there; the network's way while none does
          const listener = this.#listeners.find(
            (known) => known.protocol === protocol && known.port === port,
          );
          this.#port(listener ?? { protocol, ip: "0.0.0.0", port }, guest, decision.to, true);
        }
      }
    }
  }

  #isSsh(port: number): boolean {
    return port === 22 || port === this.#facts.sshPort;
  }

  #dynamic(own: readonly PortForward[]): void {
    const rules = effectiveRules(own, this.#facts.sshPort);
    const silenced = silencedProtocols(this.#facts.rules);
    for (const listener of this.#listeners) {
      if (isStatic(own, listener)) continue;
      const { protocol, ip, port } = listener;
      const guest = formatEndpoint({ host: ip, port });
      const decision = decide(rules, listener);
      if (decision.kind === "forward") this.#port(listener, guest, decision.to, false);
      else if (decision.kind === "infrastructure")
        this.#refuse(protocol, guest, ofInfrastructure(decision.service), silenced.has(protocol));
      else {
        const why = this.#isSsh(port)
          ? "it is for ssh, which limanet itself uses"
          : decision.kind === "ignored"
            ? "a rule says so"
            : "no rule is for this address";
        this.#refuse(protocol, guest, why, silenced.has(protocol));
      }
    }
  }

  /** A forward to a port of the guest, by the way that leads to where it listens. */
  #port(listener: Listener, guest: string, to: HostPlace, isStaticRule: boolean): void {
    const { protocol, ip, port } = listener;
    if (protocol === "udp" && "socket" in to) {
      this.#refuse(protocol, guest, "UDP cannot lead to a unix socket of the host");
      return;
    }
    const remote = `${this.#facts.address}:${port}`;
    const byNetwork = isWildcardIp(ip) || ip === this.#facts.address;
    if (protocol === "tcp") {
      const local = isWildcardIp(ip) ? "127.0.0.1" : ip;
      const bySsh: Way = { via: "ssh", target: formatEndpoint({ host: local, port }) };
      const canCarry = byNetwork && (this.#facts.network.hasSockets || !("socket" in to));
      this.#add(protocol, guest, to, canCarry ? { via: "network", remote } : bySsh);
      return;
    }
    const unreachable = `UDP on the guest's own ${ip} cannot be reached from outside of it (let the program listen on 0.0.0.0)`;
    if (byNetwork) this.#add(protocol, guest, to, { via: "network", remote });
    else if (isStaticRule) this.#add(protocol, guest, to, { via: "network", remote }, unreachable);
    // another listener of the same port may be reached
    else if (!this.#byKey.has(`${protocol} ${placeText(to)}`))
      this.#refuse(protocol, guest, unreachable);
  }

  #add(
    protocol: Listener["protocol"],
    guest: string,
    to: HostPlace,
    way: Way,
    remark?: string,
  ): void {
    const host = placeText(to);
    const withIpv6 = way.via !== "network" || this.#facts.network.hasIpv6;
    const planned: PlannedForward = {
      protocol,
      guest,
      host,
      locals: localsOf(to, withIpv6),
      way,
      ...(remark === undefined ? {} : { remark }),
    };
    const key = forwardKey(planned);
    const other = this.#byKey.get(key);
    if (other === undefined) this.#byKey.set(key, planned);
    else if (portOf(other.guest) !== portOf(guest))
      this.#refuse(protocol, guest, `${host} leads to ${other.guest} already`, false, host);
  }

  #refuse(
    protocol: Listener["protocol"],
    guest: string,
    why: string,
    silent = false,
    host?: string,
  ): void {
    const refused = { protocol, guest, why, silent, ...(host === undefined ? {} : { host }) };
    this.#refused.set(`${protocol} ${guest} ${host ?? ""}`, refused);
  }

  /** Rules for one port of which nothing has been made yet. */
  #waiting(rule: PortForward): ForwardPlan["waiting"] {
    const [port] = rule.guestPortRange;
    if (rule.ignore || rule.static || rule.guestSocket !== undefined) return [];
    if (rangeLength(rule.guestPortRange) > 1) return [];
    const host = placeText(
      rule.hostSocket === undefined
        ? { ip: rule.hostIP, port: rule.hostPortRange[0] }
        : { socket: rule.hostSocket },
    );
    const isThere = this.#byKey.has(`tcp ${host}`) || this.#byKey.has(`udp ${host}`);
    const guest = formatEndpoint({ host: rule.guestIP, port });
    return isThere ? [] : [{ protocol: rule.proto, guest, host }];
  }
}

const ofInfrastructure = (service: string): string =>
  `it is ${service} of the guest itself (a rule for this one port forwards it)`;

/** A wildcard listener is reached best, one on the guest's loopback by IPv4 before IPv6, others last. */
function listenerRank({ ip }: Listener, address: string): number {
  const best = ["0.0.0.0", "::", address, "127.0.0.1", "::1"].indexOf(ip);
  return best >= 0 ? best : isLoopbackIp(ip) ? 5 : 6;
}

const placeText = (to: HostPlace): string =>
  "socket" in to ? to.socket : formatEndpoint({ host: to.ip, port: to.port });

/** 127.0.0.1 stands for both loopback addresses: programs take "localhost" for either. */
function localsOf(to: HostPlace, withIpv6: boolean): string[] {
  if ("socket" in to) return [to.socket];
  const { ip, port } = to;
  const hosts = ip === "127.0.0.1" && withIpv6 ? [ip, "::1"] : [ip];
  return hosts.map((host) => formatEndpoint({ host, port }));
}

const portOf = (guest: string): string => guest.slice(guest.lastIndexOf(":") + 1);
