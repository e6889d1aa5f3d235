/** What rules do with a packet: single expressions here, whole firewalls in tests/netns/doctor.test.ts. */
import { expect, test } from "bun:test";
import { Ruleset, type Packet } from "../../lib/doctor/nft-verdict.ts";

const PACKET: Packet = {
  iifname: "lm-s",
  oifname: "eth0",
  saddr: "192.168.105.2",
  daddr: "198.51.100.1",
  protocol: "tcp",
  dport: 443,
  state: "new",
};

type Expression = Record<string, unknown>;
const match = (left: unknown, right: unknown, op = "=="): Expression => ({
  match: { op, left, right },
});
const meta = (key: string) => ({ meta: { key } });
const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const xt = (name: string): Expression => ({ xt: { type: "match", name } });
const accept: Expression = { accept: null };
const drop: Expression = { drop: null };

/** chains by name: their rules; the first is at the hook forward */
function ruleset(chains: Record<string, Expression[][]>, policy = "drop", prio = 0) {
  return Object.entries(chains).flatMap(([name, rules], i) => [
    {
      chain: {
        family: "ip",
        table: "t",
        name,
        ...(i === 0 ? { hook: "forward", policy, prio } : {}),
      },
    },
    ...rules.map((expr) => ({ rule: { family: "ip", table: "t", chain: name, expr } })),
  ]);
}
const verdict = (nftables: unknown[], packet: Packet = PACKET) =>
  new Ruleset(JSON.stringify({ nftables })).dropping("forward", ["ip", "inet"], packet)?.by ??
  "passes";

/** rules of a chain with the policy drop */
const RULES: readonly [string, Expression[][], string][] = [
  ["no rule", [], "policy"],
  ["accept", [[accept]], "passes"],
  ["a counter first", [[{ counter: { packets: 0 } }, accept]], "passes"],
  ["its interface", [[match(meta("iifname"), "lm-s"), accept]], "passes"],
  ["interfaces by their beginning", [[match(meta("iifname"), "lm-*"), accept]], "passes"],
  ["another's beginning", [[match(meta("iifname"), "lm-t*"), accept]], "policy"],
  ["a set with it", [[match(meta("oifname"), { set: ["wg0", "eth0"] }), accept]], "passes"],
  ["a set without it", [[match(meta("oifname"), { set: ["wg0"] }), accept]], "policy"],
  ["not another interface", [[match(meta("iifname"), "docker0", "!="), accept]], "passes"],
  ["not its interface", [[match(meta("iifname"), "lm-s", "!="), accept]], "policy"],
  [
    "its subnet",
    [[match(payload("ip", "saddr"), { prefix: { addr: "192.168.105.0", len: 24 } }), accept]],
    "passes",
  ],
  [
    "another subnet",
    [[match(payload("ip", "saddr"), { prefix: { addr: "10.0.0.0", len: 8 } }), accept]],
    "policy",
  ],
  ["its port", [[match(payload("tcp", "dport"), 443), accept]], "passes"],
  [
    "ports with its own",
    [[match(payload("th", "dport"), { range: [400, 500] }), accept]],
    "passes",
  ],
  ["a port of UDP", [[match(payload("udp", "dport"), 443), accept]], "policy"],
  ["IPv6", [[match(payload("ip6", "saddr"), "::1"), accept]], "policy"],
  ["all of IPv4", [[match(meta("nfproto"), "ipv4"), accept]], "passes"],
  [
    "what is known already",
    [[match({ ct: { key: "state" } }, ["established", "related"], "in"), accept]],
    "policy",
  ],
  ["iptables' conntrack", [[xt("conntrack"), accept]], "policy"],
  ["a question that nobody can answer", [[xt("owner"), accept]], "policy"],
  [
    "such a question about its interface",
    [[match(meta("iifname"), "lm-s"), xt("comment"), accept]],
    "passes",
  ],
  ["a drop that nobody can tell", [[xt("limit"), drop], [accept]], "passes"],
  ["a reject", [[{ reject: { type: "icmpx" } }], [accept]], "rule"],
  [
    "a verdict map with its interface",
    [[{ vmap: { key: meta("iifname"), data: { set: [["lm-s", accept]] } } }]],
    "passes",
  ],
  [
    "a verdict map without",
    [[{ vmap: { key: meta("iifname"), data: { set: [["lo", accept]] } } }]],
    "policy",
  ],
];

test.each(RULES)("%s", (_, rules, expected) => {
  expect(verdict(ruleset({ base: rules }))).toBe(expected);
});

const CHAINS: readonly [string, Record<string, Expression[][]>, string][] = [
  ["a jump that accepts", { base: [[{ jump: { target: "a" } }]], a: [[accept]] }, "passes"],
  ["a jump that ends", { base: [[{ jump: { target: "a" } }], [accept]], a: [] }, "passes"],
  [
    "a return before a drop",
    {
      base: [[{ jump: { target: "a" } }], [accept]],
      a: [[xt("addrtype"), { return: null }], [drop]],
    },
    "passes",
  ],
  ["a goto does not come back", { base: [[{ goto: { target: "a" } }], [accept]], a: [] }, "policy"],
  [
    "chains that lead round in a circle",
    { base: [[{ jump: { target: "a" } }]], a: [[{ jump: { target: "a" } }]] },
    "policy",
  ],
];

test.each(CHAINS)("%s", (_, chains, expected) => {
  expect(verdict(ruleset(chains))).toBe(expected);
});

test("answers are let through where iptables lets what is known through", () => {
  const rules = ruleset({ base: [[xt("conntrack"), accept]] });
  expect(verdict(rules, { ...PACKET, state: "established" })).toBe("passes");
});

test("what iptables drops by its state is what is invalid, no packet of ours", () => {
  const rules = ruleset({ base: [[xt("conntrack"), drop], [accept]] });
  for (const state of ["new", "established"] as const)
    expect(verdict(rules, { ...PACKET, state })).toBe("passes");
});

test("each base chain has its say, the one of the lower priority first", () => {
  const late = JSON.parse(
    JSON.stringify(ruleset({ base: [] }, "drop", 10)).replaceAll('"t"', '"late"'),
  );
  const early = ruleset({ base: [[accept]] }, "drop", -10);
  const rules = new Ruleset(JSON.stringify({ nftables: [...late, ...early] }));
  expect(rules.dropping("forward", ["ip"], PACKET)).toEqual({
    family: "ip",
    table: "late",
    chain: "base",
    by: "policy",
  });
  expect(rules.dropping("input", ["ip"], PACKET)).toBeUndefined();
  expect(rules.dropping("forward", ["bridge"], PACKET)).toBeUndefined();
  expect(rules.chainsOf("ip", "late")).toEqual(["base"]);
});
