/** Which forwards there are to be: one row per rule of the specification's section 17 and of docs/port-forwarding.md. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseInstance } from "../../../lib/config/instance.ts";
import type { Listener } from "../../../lib/config/port-forward-matching.ts";
import {
  forwardKey,
  planForwards,
  type ForwardFacts,
} from "../../../lib/daemon/forwards/forward-plan.ts";

const ADDRESS = "192.168.5.15";
const OWN = { hasSockets: true, hasIpv6: true };
const QEMU = { hasSockets: false, hasIpv6: false };

function facts(rules: string, listeners?: string, more: Partial<ForwardFacts> = {}): ForwardFacts {
  const items = rules.split(";").filter((item) => item.trim() !== "");
  const yaml = `images: [{location: /x}]\nportForwards: [${items.map((item) => `{${item}}`).join(", ")}]\n`;
  const { config, diagnostics } = parseInstance(yaml, "lima.yaml");
  expect(diagnostics).toEqual([]);
  return {
    rules: config!.portForwards,
    plain: false,
    sshPort: 60022,
    address: ADDRESS,
    listeners: listeners
      ?.split(", ")
      .filter((text) => text !== "")
      .map((text) => {
        const [, protocol, ip, port] = /^(\w+) \[?([^\]]*?)\]?:(\d+)$/.exec(text)!;
        return { protocol: protocol as "tcp" | "udp", ip: ip!, port: Number(port) };
      }),
    network: OWN,
    ...more,
  };
}

/** "tcp HOST <- GUEST by the network to REMOTE" */
const forwards = (of: ForwardFacts) =>
  planForwards(of).forwards.map(
    ({ protocol, host, guest, way }) =>
      `${protocol} ${host} <- ${guest} by ${way.via} to ${way.via === "network" ? way.remote : way.target}`,
  );
const refused = (of: ForwardFacts) =>
  planForwards(of)
    .refused.filter(({ silent }) => !silent)
    .map(({ protocol, guest, why }) => `${protocol} ${guest}: ${why}`);

describe("the way to what listens", () => {
  test.each([
    ["tcp 0.0.0.0:80", "tcp 127.0.0.1:80 <- 0.0.0.0:80 by network to 192.168.5.15:80"],
    ["tcp [::]:80", "tcp 127.0.0.1:80 <- [::]:80 by network to 192.168.5.15:80"],
    ["tcp 127.0.0.1:80", "tcp 127.0.0.1:80 <- 127.0.0.1:80 by ssh to 127.0.0.1:80"],
    ["tcp [::1]:80", "tcp 127.0.0.1:80 <- [::1]:80 by ssh to [::1]:80"],
    ["udp 0.0.0.0:80", "udp 127.0.0.1:80 <- 0.0.0.0:80 by network to 192.168.5.15:80"],
    // of several the one that is reached best, in whatever order they come
    ["tcp [::1]:80, tcp 127.0.0.1:80", "tcp 127.0.0.1:80 <- 127.0.0.1:80 by ssh to 127.0.0.1:80"],
    ["tcp 127.0.0.1:80, tcp [::]:80", "tcp 127.0.0.1:80 <- [::]:80 by network to 192.168.5.15:80"],
    ["tcp [::]:80, tcp 0.0.0.0:80", "tcp 127.0.0.1:80 <- 0.0.0.0:80 by network to 192.168.5.15:80"],
    [
      "udp 127.0.0.1:80, udp 0.0.0.0:80",
      "udp 127.0.0.1:80 <- 0.0.0.0:80 by network to 192.168.5.15:80",
    ],
  ])("%s: %s", (listeners, expected) => {
    expect(forwards(facts("", listeners))).toEqual([expected]);
    expect(refused(facts("", listeners))).toEqual([]);
  });

  test("an address of the guest that is on no network of ours is reached by ssh", () => {
    const rule = "guestIP: 0.0.0.0, guestIPMustBeZero: false";
    expect(forwards(facts(rule, "tcp 172.17.0.1:80"))).toEqual([
      "tcp 127.0.0.1:80 <- 172.17.0.1:80 by ssh to 172.17.0.1:80",
    ]);
    expect(forwards(facts(rule, `tcp ${ADDRESS}:80`))).toEqual([
      "tcp 127.0.0.1:80 <- 192.168.5.15:80 by network to 192.168.5.15:80",
    ]);
  });

  test("UDP on the guest's loopback is refused, and why is said", () => {
    const of = facts("", "udp 127.0.0.1:80");
    expect(forwards(of)).toEqual([]);
    expect(refused(of)).toEqual([
      "udp 127.0.0.1:80: UDP on the guest's own 127.0.0.1 cannot be reached from outside of it (let the program listen on 0.0.0.0)",
    ]);
  });

  test("a socket of the host goes through the network, or by ssh where that has none", () => {
    const rule = "guestPort: 80, hostSocket: /tmp/h.sock";
    expect(forwards(facts(rule, "tcp 0.0.0.0:80"))).toEqual([
      "tcp /tmp/h.sock <- 0.0.0.0:80 by network to 192.168.5.15:80",
    ]);
    expect(forwards(facts(rule, "tcp 0.0.0.0:80", { network: QEMU }))).toEqual([
      "tcp /tmp/h.sock <- 0.0.0.0:80 by ssh to 127.0.0.1:80",
    ]);
    expect(refused(facts(rule, "udp 0.0.0.0:80"))).toEqual([
      "udp 0.0.0.0:80: UDP cannot lead to a unix socket of the host",
    ]);
  });
});

describe("what is bound", () => {
  const locals = (rule: string, network = OWN) =>
    planForwards(facts(`${rule}, static: true, proto: tcp`, "", { network })).forwards.map(
      (forward) => forward.locals,
    );
  test.each([
    ["guestPort: 80", ["127.0.0.1:80", "[::1]:80"]],
    ["guestPort: 80, hostIP: 127.0.0.2", ["127.0.0.2:80"]],
    ["guestPort: 80, hostIP: 0.0.0.0", ["0.0.0.0:80"]],
    ['guestPort: 80, hostIP: "::1"', ["[::1]:80"]],
    ['guestPort: 80, hostIP: "::"', ["[::]:80"]],
    ["guestPort: 80, hostSocket: /tmp/h.sock", ["/tmp/h.sock"]],
  ])("{%s}: %j", (rule, expected) => expect(locals(rule)).toEqual([expected]));

  test("QEMU's own network has no ::1", () => {
    expect(locals("guestPort: 80", QEMU)).toEqual([["127.0.0.1:80"]]);
  });
});

describe("static rules", () => {
  test("they are there before the guest listens, each port of a range, both protocols", () => {
    expect(
      forwards(facts("guestPortRange: [80, 81], hostPortRange: [8080, 8081], static: true")),
    ).toEqual([
      "tcp 127.0.0.1:8080 <- 127.0.0.1:80 by network to 192.168.5.15:80",
      "udp 127.0.0.1:8080 <- 127.0.0.1:80 by network to 192.168.5.15:80",
      "tcp 127.0.0.1:8081 <- 127.0.0.1:81 by network to 192.168.5.15:81",
      "udp 127.0.0.1:8081 <- 127.0.0.1:81 by network to 192.168.5.15:81",
    ]);
  });

  test("they stay when the guest stops listening, and go by ssh while only its loopback listens", () => {
    const rule = "guestPort: 80, static: true, proto: tcp";
    const way = (listeners: string) => forwards(facts(rule, listeners))[0]!.replace(/.* by/, "by");
    expect(way("")).toBe("by network to 192.168.5.15:80");
    expect(way("tcp 127.0.0.1:80")).toBe("by ssh to 127.0.0.1:80");
    expect(way("tcp 127.0.0.1:80, tcp 0.0.0.0:80")).toBe("by network to 192.168.5.15:80");
    expect(way("tcp 0.0.0.0:80")).toBe("by network to 192.168.5.15:80");
  });

  test("UDP on the guest's loopback is remarked on", () => {
    const [forward] = planForwards(
      facts("guestPort: 80, static: true, proto: udp", "udp 127.0.0.1:80"),
    ).forwards;
    expect(forward).toMatchObject({ way: { via: "network" } });
    expect(forward!.remark).toMatch(/cannot be reached from outside/);
  });

  test("one port of the guest may have several places on the host", () => {
    const rules =
      "guestPort: 80, hostPort: 8080, static: true, proto: tcp; guestPort: 80, hostIP: 0.0.0.0, hostPort: 8081, static: true, proto: tcp";
    expect(forwards(facts(rules)).map((text) => text.split(" ")[1])).toEqual([
      "127.0.0.1:8080",
      "0.0.0.0:8081",
    ]);
  });

  test("ssh and the machine's own services are left out of a range", () => {
    const of = facts("guestPortRange: [21, 53], static: true, proto: udp");
    const ports = planForwards(of).forwards.map(({ host }) => Number(host.split(":")[1]));
    expect(ports).not.toContain(22);
    expect(ports).not.toContain(53);
    expect(ports).toHaveLength(31);
    expect(refused(of)).toEqual([
      "udp 127.0.0.1:53: it is DNS of the guest itself (a rule for this one port forwards it)",
    ]);
    expect(forwards(facts("guestPort: 60022, static: true"))).toEqual([]);
  });

  test("a static rule for all ports is refused", () => {
    const of = facts("static: true");
    expect(forwards(of)).toEqual([]);
    expect(refused(of)).toEqual([
      "tcp 127.0.0.1:1-65535: a static rule is for 1024 ports at most (name them, or do without static)",
    ]);
  });

  test("a listener they hold for is not forwarded once more", () => {
    const rules = "guestPort: 80, hostPort: 8080, static: true, proto: tcp";
    expect(forwards(facts(rules, "tcp 0.0.0.0:80, udp 0.0.0.0:80"))).toEqual([
      "tcp 127.0.0.1:8080 <- 127.0.0.1:80 by network to 192.168.5.15:80",
      "udp 127.0.0.1:80 <- 0.0.0.0:80 by network to 192.168.5.15:80",
    ]);
  });
});

describe("sockets of the guest", () => {
  test.each([
    ["guestSocket: /g, hostSocket: /h", ["tcp /h <- /g by ssh to /g"]],
    ["guestSocket: /g, hostPort: 2375", ["tcp 127.0.0.1:2375 <- /g by ssh to /g"]],
    ["guestSocket: /g, hostSocket: /h, reverse: true", ["tcp /h <- /g by ssh-reverse to /g"]],
    ["guestSocket: /g, hostSocket: /h, ignore: true", []],
  ])("{%s}: %j", (rule, expected) => expect(forwards(facts(rule))).toEqual(expected));
});

describe("plain instances", () => {
  test("have their static rules only", () => {
    const rules =
      "guestPort: 80, static: true, proto: tcp; guestPort: 81; guestSocket: /g, hostSocket: /h; guestSocket: /s, hostSocket: /t, static: true";
    const of = facts(rules, "tcp 0.0.0.0:81, tcp 0.0.0.0:82", { plain: true });
    expect(forwards(of)).toEqual([
      "tcp /t <- /s by ssh to /s",
      "tcp 127.0.0.1:80 <- 127.0.0.1:80 by network to 192.168.5.15:80",
    ]);
    expect(planForwards(of)).toMatchObject({ refused: [], waiting: [] });
  });
});

describe("what is told besides", () => {
  test("rules for one port wait for the guest to listen", () => {
    const rules =
      "guestPort: 80, hostPort: 8080; guestPortRange: [90, 99]; guestPort: 81, ignore: true";
    expect(planForwards(facts(rules)).waiting).toEqual([
      { protocol: "any", guest: "127.0.0.1:80", host: "127.0.0.1:8080" },
    ]);
    expect(planForwards(facts(rules, "tcp 0.0.0.0:80")).waiting).toEqual([]);
  });

  test("why a listener is not forwarded", () => {
    const listeners = "tcp 0.0.0.0:22, tcp 127.0.0.1:60022, tcp 127.0.0.1:80, tcp 192.168.5.15:81";
    expect(refused(facts("guestPort: 80, ignore: true", listeners))).toEqual([
      "tcp 0.0.0.0:22: it is for ssh, which limanet itself uses",
      "tcp 192.168.5.15:81: no rule is for this address",
      "tcp 127.0.0.1:80: a rule says so",
      "tcp 127.0.0.1:60022: it is for ssh, which limanet itself uses",
    ]);
  });

  test("a second port of the guest for one place on the host is refused", () => {
    const of = facts("guestPort: 80, hostPort: 81, proto: tcp", "tcp 0.0.0.0:80, tcp 0.0.0.0:81");
    expect(forwards(of)).toEqual(["tcp 127.0.0.1:81 <- 0.0.0.0:80 by network to 192.168.5.15:80"]);
    expect(refused(of)).toEqual(["tcp 0.0.0.0:81: 127.0.0.1:81 leads to 0.0.0.0:80 already"]);
  });

  test("leading rules that ignore all ports are silent about them", () => {
    expect(refused(facts("ignore: true, proto: tcp", "tcp 127.0.0.1:80, udp 0.0.0.0:68"))).toEqual([
      "udp 0.0.0.0:68: it is DHCP of the guest itself (a rule for this one port forwards it)",
    ]);
    expect(refused(facts("ignore: true", "tcp 127.0.0.1:80, udp 0.0.0.0:68"))).toEqual([]);
  });
});

test("the order in which a guest tells its listeners changes nothing", () => {
  const listener: fc.Arbitrary<Listener> = fc.record({
    protocol: fc.constantFrom("tcp", "udp"),
    ip: fc.constantFrom("0.0.0.0", "::", "127.0.0.1", "::1", ADDRESS, "127.0.0.2"),
    port: fc.integer({ min: 79, max: 82 }),
  });
  const base = facts("guestPort: 80, hostPort: 8080; guestPort: 81, static: true");
  const keyOf = ({ protocol, ip, port }: Listener) => `${protocol} ${ip} ${port}`;
  fc.assert(
    fc.property(
      fc.uniqueArray(listener, { selector: keyOf }).chain((listeners) =>
        fc.tuple(
          fc.constant(listeners),
          fc.shuffledSubarray(listeners, {
            minLength: listeners.length,
            maxLength: listeners.length,
          }),
        ),
      ),
      ([listeners, shuffled]) => {
        const one = forwards({ ...base, listeners });
        const other = forwards({ ...base, listeners: shuffled });
        expect(other.toSorted()).toEqual(one.toSorted());
        const { forwards: all } = planForwards({ ...base, listeners });
        expect(new Set(all.map(forwardKey)).size).toBe(all.length);
      },
    ),
  );
});
