/**
 * What the host's rules do with a packet that has not come yet, by what `nft -j list ruleset` prints (libnftables-json(5)).
 * iptables' rules are in it, too, where iptables is the one that works on nftables.
 *
 * Not all that a rule may ask can be told beforehand. A rule with such a question counts as matching when another part of
 * it names the packet's interface or address, since somebody has written it for that network, or when it only leaves its
 * chain. Otherwise it does not count.
 */
import { cidrContains, cidrOf, parseIpv4 } from "../addr/ipv4.ts";

export interface Packet {
  iifname: string;
  oifname: string;
  saddr: string;
  daddr: string;
  protocol: "udp" | "tcp";
  dport: number;
  state: "new" | "established";
}

export interface BaseChain {
  family: string;
  table: string;
  chain: string;
  /** a rule, or the chain's policy */
  by: "rule" | "policy";
}

type Json = Record<string, unknown>;
type Answer = "yes" | "no" | "unknown";
type Verdict = "accept" | "drop" | "return";

interface Chain {
  family: string;
  table: string;
  name: string;
  hook?: string;
  policy?: string;
  prio?: number;
}

interface Rule {
  family: string;
  table: string;
  chain: string;
  expr: Json[];
}

export class Ruleset {
  readonly #chains: Chain[] = [];
  readonly #rules = new Map<string, Json[][]>();

  /** Throws when the text is not what nft prints. */
  constructor(text: string) {
    const { nftables } = JSON.parse(text) as { nftables: Json[] };
    for (const { chain, rule } of nftables as { chain?: Chain; rule?: Rule }[]) {
      if (chain !== undefined) this.#chains.push(chain);
      if (rule === undefined) continue;
      const key = `${rule.family} ${rule.table} ${rule.chain}`;
      this.#rules.set(key, [...(this.#rules.get(key) ?? []), rule.expr]);
    }
  }

  /** names of all chains of a table: they tell whose it is */
  chainsOf(family: string, table: string): string[] {
    return this.#chains
      .filter((chain) => chain.family === family && chain.table === table)
      .map(({ name }) => name);
  }

  /** The first base chain at a hook that drops the packet; undefined: all let it pass. */
  dropping(hook: string, families: readonly string[], packet: Packet): BaseChain | undefined {
    const bases = this.#chains
      .filter((chain) => chain.hook === hook && families.includes(chain.family))
      .toSorted((a, b) => (a.prio ?? 0) - (b.prio ?? 0));
    for (const base of bases) {
      const verdict = this.#run(base.family, base.table, base.name, packet, 0);
      const by = verdict === "return" ? "policy" : "rule";
      const isDropped = verdict === "drop" || (verdict === "return" && base.policy === "drop");
      if (isDropped) return { family: base.family, table: base.table, chain: base.name, by };
    }
    return undefined;
  }

  #run(family: string, table: string, name: string, packet: Packet, depth: number): Verdict {
    // the kernel's own limit of jumps is 16
    if (depth > 16) return "return";
    for (const rule of this.#rules.get(`${family} ${table} ${name}`) ?? []) {
      const verdict = this.#verdict(rule, packet);
      if (verdict === undefined) continue;
      if ("accept" in verdict) return "accept";
      if ("drop" in verdict || "reject" in verdict) return "drop";
      if ("return" in verdict) return "return";
      const { jump, goto } = verdict as { jump?: { target: string }; goto?: { target: string } };
      const target = jump?.target ?? goto?.target;
      if (target === undefined) continue;
      const below = this.#run(family, table, target, packet, depth + 1);
      if (below !== "return" || goto !== undefined) return below;
    }
    return "return";
  }

  /** what a rule decides about the packet; undefined: nothing */
  #verdict(rule: readonly Json[], packet: Packet): Json | undefined {
    const answers: Answer[] = [];
    let isAboutUs = false;
    let asksForState = false;
    for (const statement of rule) {
      const { match, xt, vmap } = statement as { match?: Match; xt?: Xt; vmap?: Vmap };
      if (match !== undefined) {
        const answer = answerOf(match, packet);
        answers.push(answer);
        if (answer === "yes" && isOfPlace(match)) isAboutUs = true;
      } else if (xt !== undefined && xt.type === "match") {
        asksForState ||= xt.name === "conntrack";
        if (xt.name !== "conntrack") answers.push("unknown");
      } else if (vmap !== undefined) {
        const value = valueOf(vmap.key, packet);
        const entry = vmap.data?.set?.find(([key]) => value !== undefined && isOne(key, value));
        if (entry !== undefined && holds(answers, isAboutUs)) return entry[1];
      } else if (VERDICTS.some((word) => word in statement)) {
        // it is not told which states: what is let through is what is known, what is dropped what is invalid
        if (asksForState && !("accept" in statement && packet.state === "established"))
          return undefined;
        // what leads past a chain's drop is given the benefit of the doubt
        return holds(answers, isAboutUs || "return" in statement) ? statement : undefined;
      }
    }
    return undefined;
  }
}

const VERDICTS = ["accept", "drop", "reject", "return", "jump", "goto"];

interface Match {
  op: string;
  left: unknown;
  right: unknown;
}
interface Xt {
  type: string;
  name: string;
}
interface Vmap {
  key: unknown;
  data?: { set?: [unknown, Json][] };
}

const holds = (answers: readonly Answer[], isAboutUs: boolean): boolean =>
  !answers.includes("no") && (isAboutUs || !answers.includes("unknown"));

/** an interface or an address, and not by saying which it is not */
function isOfPlace({ op, left }: Match): boolean {
  const { meta, payload } = left as { meta?: { key: string }; payload?: { field?: string } };
  return op !== "!=" && (/^[io]if(name)?$/.test(meta?.key ?? "") || payload?.field === "saddr");
}

/** what a packet has in the place that an expression names; undefined: nobody can tell */
function valueOf(left: unknown, packet: Packet): string | number | undefined {
  const { meta, ct, payload } = left as {
    meta?: { key: string };
    ct?: { key: string };
    payload?: { protocol?: string; field?: string };
  };
  if (meta?.key === "iifname" || meta?.key === "iif") return packet.iifname;
  if (meta?.key === "oifname" || meta?.key === "oif") return packet.oifname;
  if (meta?.key === "l4proto") return packet.protocol;
  if (meta?.key === "nfproto") return "ipv4";
  if (ct?.key === "state") return packet.state;
  const { protocol, field } = payload ?? {};
  if (protocol === "ip" && field === "saddr") return packet.saddr;
  if (protocol === "ip" && field === "daddr") return packet.daddr;
  if (protocol === "ip" && field === "protocol") return packet.protocol;
  if (field === "dport" && (protocol === packet.protocol || protocol === "th")) return packet.dport;
  // the header of another protocol, which the packet does not have
  if (protocol === "ip6" || (field === "dport" && protocol !== undefined)) return "";
  return undefined;
}

function answerOf({ op, left, right }: Match, packet: Packet): Answer {
  const value = valueOf(left, packet);
  if (value === undefined || !["==", "!=", "in"].includes(op)) return "unknown";
  if (value === "") return "no";
  const values = Array.isArray(right) ? right : [right];
  return values.some((each) => isOne(each, value)) === (op !== "!=") ? "yes" : "no";
}

/** Is a value of the packet the one that is written in the rule: a word, a number, a prefix, a range, a set? */
function isOne(written: unknown, value: string | number): boolean {
  if (typeof written === "string" && typeof value === "string")
    return written.endsWith("*") ? value.startsWith(written.slice(0, -1)) : written === value;
  if (typeof written !== "object" || written === null) return written === value;
  const { prefix, range, set } = written as {
    prefix?: { addr: string; len: number };
    range?: [number, number];
    set?: unknown[];
  };
  if (set !== undefined) return set.some((each) => isOne(each, value));
  if (range !== undefined && typeof value === "number")
    return range[0] <= value && value <= range[1];
  const base = parseIpv4(prefix?.addr ?? "");
  const address = typeof value === "string" ? parseIpv4(value) : undefined;
  return (
    prefix !== undefined &&
    base !== undefined &&
    address !== undefined &&
    cidrContains(cidrOf(base, prefix.len), address)
  );
}
