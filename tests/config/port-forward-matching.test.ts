/** Which rule a listener falls under (specification, sections 17.3 and 17.4). */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseInstance } from "../../lib/config/instance.ts";
import {
  decide,
  effectiveRules,
  isStatic,
  silencedProtocols,
  type Listener,
} from "../../lib/config/port-forward-matching.ts";
import type { PortForward } from "../../lib/config/port-forward.ts";

const SSH_PORT = 60022;

/** rules as they stand in lima.yaml, between ";" */
function rulesOf(text: string): PortForward[] {
  const items = text.split(";").filter((item) => item.trim() !== "");
  const yaml = `images: [{location: /x}]\nportForwards: [${items.map((item) => `{${item}}`).join(", ")}]\n`;
  const { config, diagnostics } = parseInstance(yaml, "lima.yaml");
  expect(diagnostics).toEqual([]);
  return config!.portForwards;
}

/** "tcp 0.0.0.0:80" or "udp [::1]:53" */
function listenerOf(text: string): Listener {
  const [, protocol, ip, port] = /^(\w+) \[?([^\]]*?)\]?:(\d+)$/.exec(text)!;
  return { protocol: protocol as "tcp" | "udp", ip: ip!, port: Number(port) };
}

function answer(rules: string, listener: string): string {
  const decision = decide(effectiveRules(rulesOf(rules), SSH_PORT), listenerOf(listener));
  if (decision.kind !== "forward") return decision.kind;
  return "socket" in decision.to ? decision.to.socket : `${decision.to.ip}:${decision.to.port}`;
}

describe("without rules", () => {
  test.each([
    ["tcp 127.0.0.1:80", "127.0.0.1:80"],
    ["udp 127.0.0.1:8053", "127.0.0.1:8053"],
    ["tcp 0.0.0.0:80", "127.0.0.1:80"],
    ["tcp [::]:80", "127.0.0.1:80"],
    ["tcp [::1]:80", "127.0.0.1:80"],
    ["tcp 127.0.0.2:80", "no-rule"],
    ["tcp 192.168.5.15:80", "no-rule"],
    ["tcp [fe80::1]:80", "no-rule"],
    // ssh, wherever it listens, and the port of the host that leads to it
    ["tcp 0.0.0.0:22", "ignored"],
    ["tcp [::]:22", "ignored"],
    ["tcp 127.0.0.1:22", "ignored"],
    ["udp 127.0.0.1:22", "ignored"],
    [`tcp 127.0.0.1:${SSH_PORT}`, "ignored"],
    [`tcp 192.168.5.15:${SSH_PORT}`, "ignored"],
    // what keeps the machine going
    ["tcp 127.0.0.1:53", "infrastructure"],
    ["udp 127.0.0.1:53", "infrastructure"],
    ["udp 0.0.0.0:67", "infrastructure"],
    ["udp 0.0.0.0:68", "infrastructure"],
    ["udp 0.0.0.0:123", "infrastructure"],
    ["udp 127.0.0.1:323", "infrastructure"],
    ["udp [::]:546", "infrastructure"],
    ["udp [::]:547", "infrastructure"],
    ["udp 0.0.0.0:5353", "infrastructure"],
    ["udp 0.0.0.0:5355", "infrastructure"],
    ["tcp 0.0.0.0:5355", "infrastructure"],
    // the same numbers of the other protocol are anybody's
    ["tcp 0.0.0.0:68", "127.0.0.1:68"],
    ["tcp 127.0.0.1:323", "127.0.0.1:323"],
  ])("%s: %s", (listener, expected) => expect(answer("", listener)).toBe(expected));
});

describe("with rules", () => {
  test.each([
    ["guestPort: 80, hostPort: 8080", "tcp 127.0.0.1:80", "127.0.0.1:8080"],
    ["guestPort: 80, hostPort: 8080", "tcp 127.0.0.1:81", "127.0.0.1:81"],
    // protocol
    ["guestPort: 80, hostPort: 8080, proto: udp", "tcp 127.0.0.1:80", "127.0.0.1:80"],
    ["guestPort: 80, hostPort: 8080, proto: udp", "udp 127.0.0.1:80", "127.0.0.1:8080"],
    ["guestPort: 80, hostPort: 8080, proto: tcp", "udp 127.0.0.1:80", "127.0.0.1:80"],
    // range: first, middle, last, beyond
    ["guestPortRange: [80, 89], hostPortRange: [8080, 8089]", "tcp 0.0.0.0:80", "127.0.0.1:8080"],
    ["guestPortRange: [80, 89], hostPortRange: [8080, 8089]", "tcp 0.0.0.0:85", "127.0.0.1:8085"],
    ["guestPortRange: [80, 89], hostPortRange: [8080, 8089]", "tcp 0.0.0.0:89", "127.0.0.1:8089"],
    ["guestPortRange: [80, 89], hostPortRange: [8080, 8089]", "tcp 0.0.0.0:90", "127.0.0.1:90"],
    // guest address
    ["guestIP: 192.168.5.15, hostIP: 0.0.0.0", "tcp 192.168.5.15:80", "0.0.0.0:80"],
    ["guestIP: 192.168.5.15, hostIP: 0.0.0.0", "tcp 0.0.0.0:80", "0.0.0.0:80"],
    ["guestIP: 192.168.5.15, hostIP: 0.0.0.0", "tcp [::]:80", "0.0.0.0:80"],
    ["guestIP: 192.168.5.15, hostIP: 0.0.0.0", "tcp 127.0.0.1:80", "127.0.0.1:80"],
    ['guestIP: "::1", hostIP: 127.0.0.9', "tcp [::1]:80", "127.0.0.9:80"],
    ['guestIP: "::1", hostIP: 127.0.0.9', "tcp 127.0.0.1:80", "127.0.0.1:80"],
    ["hostIP: 127.0.0.9", "tcp [::1]:80", "127.0.0.9:80"],
    ["guestIP: 0.0.0.0, hostIP: 127.0.0.9", "tcp 0.0.0.0:80", "127.0.0.9:80"],
    ["guestIP: 0.0.0.0, hostIP: 127.0.0.9", "tcp [::]:80", "127.0.0.9:80"],
    ["guestIP: 0.0.0.0, hostIP: 127.0.0.9", "tcp 127.0.0.1:80", "127.0.0.1:80"],
    ["guestIP: 0.0.0.0, hostIP: 127.0.0.9", "tcp 192.168.5.15:80", "no-rule"],
    [
      "guestIP: 0.0.0.0, guestIPMustBeZero: false, hostIP: 127.0.0.9",
      "tcp 192.168.5.15:80",
      "127.0.0.9:80",
    ],
    [
      "guestIP: 0.0.0.0, guestIPMustBeZero: false, hostIP: 127.0.0.9",
      "tcp [::1]:80",
      "127.0.0.9:80",
    ],
    ['guestIP: "::", hostIP: 127.0.0.9', "tcp 192.168.5.15:80", "127.0.0.9:80"],
    // ignore
    ["ignore: true, guestPort: 80", "tcp 127.0.0.1:80", "ignored"],
    ["ignore: true, guestPort: 80", "tcp [::1]:80", "ignored"],
    // a wildcard listener has more than the address that is ignored: the next rule is asked
    ["ignore: true, guestPort: 80", "tcp 0.0.0.0:80", "127.0.0.1:80"],
    ["ignore: true, guestPort: 80", "tcp [::]:80", "127.0.0.1:80"],
    [
      "ignore: true, guestPort: 80; guestPort: 80, hostPort: 8080",
      "tcp 0.0.0.0:80",
      "127.0.0.1:8080",
    ],
    ["ignore: true, guestIP: 0.0.0.0", "tcp 0.0.0.0:80", "ignored"],
    ["ignore: true, guestIP: 0.0.0.0", "tcp 127.0.0.1:80", "127.0.0.1:80"],
    ["ignore: true, guestIP: 0.0.0.0, guestIPMustBeZero: false", "tcp 127.0.0.1:80", "ignored"],
    // all of it
    ...["0.0.0.0", "[::]", "127.0.0.1", "[::1]", "192.168.5.15"].map(
      (ip) =>
        [
          "guestIP: 0.0.0.0, guestIPMustBeZero: false, ignore: true",
          `tcp ${ip}:80`,
          "ignored",
        ] as const,
    ),
    ["ignore: true, proto: udp", "tcp 127.0.0.1:80", "127.0.0.1:80"],
    ["ignore: true; guestPort: 80, hostPort: 8080", "tcp 127.0.0.1:80", "ignored"],
    ["guestPort: 80, hostPort: 8080; ignore: true", "tcp 127.0.0.1:80", "127.0.0.1:8080"],
    ["guestPort: 80, hostPort: 8080; ignore: true", "tcp 127.0.0.1:81", "ignored"],
    // sockets
    ["guestPort: 2375, hostSocket: /tmp/d.sock", "tcp 127.0.0.1:2375", "/tmp/d.sock"],
    ["guestSocket: /run/d.sock, hostPort: 80", "tcp 127.0.0.1:80", "127.0.0.1:80"],
    // infrastructure: by name only
    ["guestPort: 53, hostPort: 5300", "udp 127.0.0.1:53", "127.0.0.1:5300"],
    ["guestPort: 5353", "udp 0.0.0.0:5353", "127.0.0.1:5353"],
    ["guestPortRange: [50, 60], hostPortRange: [5050, 5060]", "udp 127.0.0.1:53", "infrastructure"],
    ["guestIP: 0.0.0.0, hostIP: 0.0.0.0", "udp 0.0.0.0:68", "infrastructure"],
    [`guestPort: ${SSH_PORT}`, `tcp 127.0.0.1:${SSH_PORT}`, "ignored"],
    ["guestPortRange: [20, 30]", "tcp 0.0.0.0:22", "ignored"],
  ])("{%s} and %s: %s", (rules, listener, expected) => {
    expect(answer(rules, listener)).toBe(expected);
  });
});

const IP = fc.constantFrom("0.0.0.0", "::", "127.0.0.1", "::1", "192.168.5.15", "127.0.0.2");
const PORT = fc.integer({ min: 1, max: 9 });
const LISTENER: fc.Arbitrary<Listener> = fc.record({
  protocol: fc.constantFrom("tcp", "udp"),
  ip: IP,
  port: PORT,
});
const RANGE = fc.tuple(PORT, PORT).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const RULE: fc.Arbitrary<PortForward> = fc.record({
  guestIP: IP,
  guestIPMustBeZero: fc.boolean(),
  guestPortRange: RANGE,
  hostIP: IP,
  hostPortRange: RANGE,
  proto: fc.constantFrom("tcp", "udp", "any"),
  reverse: fc.constant(false),
  ignore: fc.boolean(),
  static: fc.boolean(),
});
const RULES = fc.array(RULE, { maxLength: 6 });

describe("any rules", () => {
  test("what follows the rule that decides changes nothing", () => {
    fc.assert(
      fc.property(RULES, RULES, LISTENER, (rules, more, listener) => {
        const decision = decide(rules, listener);
        fc.pre(decision.kind !== "no-rule");
        expect(decide([...rules, ...more], listener)).toEqual(decision);
      }),
    );
  });

  test("the answer is that of the first rule which decides alone", () => {
    fc.assert(
      fc.property(RULES, LISTENER, (rules, listener) => {
        const alone = rules.map((rule) => decide([rule], listener));
        expect(decide(rules, listener)).toEqual(
          alone.find(({ kind }) => kind !== "no-rule") ?? { kind: "no-rule" },
        );
      }),
    );
  });

  test("rules that are there twice change nothing", () => {
    fc.assert(
      fc.property(RULES, LISTENER, (rules, listener) => {
        const once = decide(rules, listener);
        expect(decide([...rules, ...rules], listener)).toEqual(once);
        expect(
          decide(
            rules.flatMap((rule) => [rule, rule]),
            listener,
          ),
        ).toEqual(once);
      }),
    );
  });

  test("ssh is never forwarded", () => {
    fc.assert(
      fc.property(RULES, LISTENER, fc.constantFrom(22, SSH_PORT), (rules, listener, port) => {
        expect(decide(effectiveRules(rules, SSH_PORT), { ...listener, port }).kind).toBe("ignored");
      }),
    );
  });
});

test.each([
  ["", []],
  ["ignore: true", ["tcp", "udp"]],
  ["ignore: true, proto: tcp", ["tcp"]],
  ["ignore: true, proto: udp; ignore: true, proto: tcp", ["tcp", "udp"]],
  ["guestPort: 80; ignore: true", []],
  ["ignore: true, proto: tcp; guestPort: 80; ignore: true, proto: udp", ["tcp"]],
  ["ignore: true, guestPortRange: [2, 65535]", []],
])("{%s} silences %j", (rules, protocols) => {
  expect([...silencedProtocols(rulesOf(rules))].toSorted()).toEqual(protocols as never);
});

test.each([
  ["guestPort: 80, static: true", "tcp 0.0.0.0:80", true],
  ["guestPort: 80, static: true", "tcp 0.0.0.0:81", false],
  ["guestPort: 80, static: true, proto: udp", "tcp 0.0.0.0:80", false],
  ["guestPortRange: [80, 89], static: true", "udp [::1]:85", true],
  ["guestPort: 80", "tcp 0.0.0.0:80", false],
  ["guestSocket: /a, hostPort: 80, static: true", "tcp 0.0.0.0:80", false],
  ["guestPort: 80, static: true, ignore: true", "tcp 0.0.0.0:80", false],
])("{%s} holds for %s at once: %p", (rules, listener, expected) => {
  expect(isStatic(rulesOf(rules), listenerOf(listener))).toBe(expected);
});
