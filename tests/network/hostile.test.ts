/** What a guest can send to harm the others of its network: it is dropped, counted and told once, and they notice nothing. */
import { beforeEach, describe, expect, test } from "bun:test";
import {
  arp,
  describe as describeFrame,
  echo,
  ethernet,
  hex,
  ipv4,
  text,
  udp,
  type Packet,
} from "../support/injected-frames.ts";
import {
  ALL,
  DNS,
  GATEWAY,
  GATEWAY_MAC,
  InjectedNetwork,
  type InjectedGuest,
} from "../support/injected-network.ts";

let net: InjectedNetwork;
let victim: InjectedGuest;
let mallory: InjectedGuest;
let third: InjectedGuest;

beforeEach(() => {
  net = new InjectedNetwork();
  victim = net.guest();
  mallory = net.guest();
  third = net.guest();
});

const VICTIM = "10.0.0.11";
const MALLORY = "10.0.0.12";
const THIRD = "10.0.0.13";
const VICTIM_MAC = "52:54:00:00:00:0b";
const MALLORY_MAC = "52:54:00:00:00:0c";
const THIRD_MAC = "52:54:00:00:00:0d";

const packetFrom = (mac: string, packet: Packet, to = THIRD_MAC) =>
  ethernet(to, mac, "0800", ipv4(packet));
const arpFrom = (mac: string, fields: Partial<Parameters<typeof arp>[0]>) =>
  ethernet(
    ALL,
    mac,
    "0806",
    arp({ operation: 2, sha: mac, spa: MALLORY, tpa: THIRD, tha: THIRD_MAC, ...fields }),
  );
/** behind a tag of IEEE 802.1Q */
const tagged = (frame: Uint8Array, tag = "0000") =>
  hex`${frame.slice(0, 12)} 8100 ${tag} ${frame.slice(12)}`;
/** RFC 8200: a packet of a link-local address to all */
const ipv6 = (next: string, payload: Uint8Array) =>
  ethernet(
    "33:33:00:00:00:01",
    MALLORY_MAC,
    "86dd",
    hex`
  60000000 ${payload.length.toString(16).padStart(4, "0")} ${next} ff
  fe800000000000005054 00fffe00000c ff020000000000000000000000000001 ${payload}`,
  );
const ROUTER_ADVERTISEMENT = hex`86 00 0000 40 00 0708 00000000 00000000`;
const dhcpReply = text("a DHCP message");

const rows: [name: string, reason: string, frame: () => Uint8Array][] = [
  [
    "speaks with another's card",
    "switch-foreign-source",
    () => packetFrom(VICTIM_MAC, echo(VICTIM, THIRD, "00070001", text("x"))),
  ],
  [
    "speaks with the gateway's card",
    "switch-gateway-source",
    () => arpFrom(GATEWAY_MAC, { spa: GATEWAY }),
  ],
  [
    "says that another's address is at its card",
    "guard-foreign-address",
    () => arpFrom(MALLORY_MAC, { spa: VICTIM }),
  ],
  [
    "says that the gateway's address is at its card",
    "guard-gateway-address",
    () => arpFrom(MALLORY_MAC, { spa: GATEWAY }),
  ],
  [
    "says that the name server's address is at its card",
    "guard-gateway-address",
    () => arpFrom(MALLORY_MAC, { spa: DNS }),
  ],
  [
    "says it in a request",
    "guard-foreign-address",
    () => arpFrom(MALLORY_MAC, { operation: 1, spa: VICTIM, tpa: VICTIM }),
  ],
  [
    "says it behind a priority tag",
    "guard-foreign-address",
    () => tagged(arpFrom(MALLORY_MAC, { spa: VICTIM })),
  ],
  [
    "says it behind two of them",
    "guard-foreign-address",
    () => tagged(tagged(arpFrom(MALLORY_MAC, { spa: VICTIM }), "e000")),
  ],
  [
    "says it behind five of them",
    "tag-depth",
    () => tagged(tagged(tagged(tagged(tagged(arpFrom(MALLORY_MAC, { spa: VICTIM })))))),
  ],
  [
    "says it in ARP for IEEE 802, which Linux takes",
    "arp-form",
    () => {
      const frame = arpFrom(MALLORY_MAC, { spa: VICTIM });
      frame[15] = 6;
      return frame;
    },
  ],
  [
    "says that its address is at another's card",
    "guard-hardware-address",
    () => arpFrom(MALLORY_MAC, { sha: VICTIM_MAC }),
  ],
  [
    "sends a packet in another's name",
    "guard-foreign-address",
    () => packetFrom(MALLORY_MAC, echo(VICTIM, THIRD, "00070001", text("x"))),
  ],
  [
    "sends a packet in another's name to the gateway",
    "guard-foreign-address",
    () => packetFrom(MALLORY_MAC, udp(`${VICTIM}:4000`, "8.8.8.8:53", text("x")), GATEWAY_MAC),
  ],
  [
    "answers in the name server's name",
    "guard-gateway-address",
    () => packetFrom(MALLORY_MAC, udp(`${DNS}:53`, `${THIRD}:4000`, text("x"))),
  ],
  [
    "answers DHCP",
    "rogue-dhcp-server",
    () => packetFrom(MALLORY_MAC, udp(`${MALLORY}:67`, "255.255.255.255:68", dhcpReply), ALL),
  ],
  [
    "answers DHCP from another port",
    "rogue-dhcp-server",
    () => packetFrom(MALLORY_MAC, udp(`${MALLORY}:4000`, `${THIRD}:68`, dhcpReply)),
  ],
  [
    "answers DHCP in fragments",
    "rogue-dhcp-server",
    () =>
      packetFrom(
        MALLORY_MAC,
        { ...udp(`${MALLORY}:67`, "255.255.255.255:68", text("of eight")), more: true },
        ALL,
      ),
  ],
  [
    "answers DHCP behind IPv4 options",
    "rogue-dhcp-server",
    () =>
      packetFrom(
        MALLORY_MAC,
        { ...udp(`${MALLORY}:67`, "255.255.255.255:68", dhcpReply), options: "01010101" },
        ALL,
      ),
  ],
  ["says that it is an IPv6 router", "rogue-router", () => ipv6("3a", ROUTER_ADVERTISEMENT)],
  ["says so behind a priority tag", "rogue-router", () => tagged(ipv6("3a", ROUTER_ADVERTISEMENT))],
  [
    "says so behind hop-by-hop options",
    "rogue-router",
    () => ipv6("00", hex`3a 00 0502 0000 0100 ${ROUTER_ADVERTISEMENT}`),
  ],
  [
    "says so in a first fragment",
    "rogue-router",
    () => ipv6("2c", hex`3a 00 0001 00000007 ${ROUTER_ADVERTISEMENT}`),
  ],
  [
    "says so where the first fragment ends before it",
    "ipv6-header-chain",
    () => ipv6("2c", hex`3c 00 0001 00000007 3a 01 0000`),
  ],
  [
    "says so behind nine headers",
    "ipv6-header-chain",
    () => ipv6("3c", hex`${"3c00010400000000".repeat(8)} 3a00010400000000 ${ROUTER_ADVERTISEMENT}`),
  ],
  [
    "sends others to another router",
    "rogue-router",
    () => ipv6("3a", hex`89 00 0000 00000000 ${"00".repeat(32)}`),
  ],
  ["answers DHCPv6", "rogue-dhcp-server", () => ipv6("11", hex`0223 0222 000c 0000 07000000`)],
];

/** the victim's traffic with the outside and with another guest goes on */
function expectPeace(): void {
  expect(victim.sendPacket(echo(VICTIM, GATEWAY, "00070001", text("x")))).toEqual([
    `10.0.0.1 > ${VICTIM} icmp 0/0 00070001 "x"`,
  ]);
  third.sendPacket(echo(THIRD, VICTIM, "00070002", text("y")), VICTIM_MAC);
  expect(victim.port.lines()).toEqual([`${THIRD} > ${VICTIM} icmp 8/0 00070002 "y"`]);
  expect(mallory.port.lines()).toEqual([]);
}

describe.each(rows)("a guest that %s", (_name, reason, frame) => {
  test(`is not heard (${reason})`, () => {
    mallory.send(frame());
    expect(third.port.take()).toEqual([]);
    expect(net.datagrams.sockets).toEqual([]);
    // it may be asked whether it lives, by a header with nothing in it or by the gateway
    for (const got of victim.port.take())
      if (got.length > 14)
        expect(describeFrame(got)).toBe(`arp request ${VICTIM} from ${GATEWAY} ${GATEWAY_MAC}`);
    expectPeace();
    mallory.send(frame());
    victim.port.take();
    expect(third.port.take()).toEqual([]);
    expectPeace();
    expect(net.count(reason)).toBe(2);
    expect(net.offences).toHaveLength(1);
    expect(net.offences[0]).toContain(`port=2 reason=${reason} source=`);
  });
});

test.each<[string, () => Uint8Array]>([
  [
    "ARP probes (RFC 5227)",
    () => arpFrom(MALLORY_MAC, { operation: 1, spa: "0.0.0.0", tpa: MALLORY }),
  ],
  [
    "packets of a network inside of a guest",
    () => packetFrom(MALLORY_MAC, echo("10.42.0.7", THIRD, "00070001", text("x"))),
  ],
  ["VLANs of the guests' own", () => tagged(arpFrom(MALLORY_MAC, { spa: VICTIM }), "0005")],
  ["IPv6 neighbours", () => ipv6("3a", hex`87 00 0000 00000000 ${"00".repeat(16)}`)],
  ["IPv6 fragments beyond the first", () => ipv6("2c", hex`3a 00 0009 00000007 8600000040000708`)],
  [
    "DHCP's requests",
    () => packetFrom(MALLORY_MAC, udp("0.0.0.0:68", "255.255.255.255:67", text("x")), ALL),
  ],
])("%s are carried", (_name, frame) => {
  mallory.send(frame());
  expect(third.port.take()).toHaveLength(1);
  expect(net.offences).toEqual([]);
});

describe("an address that a guest has set by hand", () => {
  const SET = "10.0.0.99";
  const use = (guest: InjectedGuest, spa = SET) => {
    guest.sendArp({ spa });
    const heard = third.port.lines().some((line) => line.includes(`from ${spa} ${guest.mac}`));
    // questions to the holder
    return {
      heard,
      asked: victim.port
        .lines()
        .filter((line) => line.includes(`arp request ${SET} from ${GATEWAY}`)).length,
    };
  };

  test("is that guest's, beside the one that it has", () => {
    expect(use(victim).heard).toBe(true);
    expect(use(victim, VICTIM).heard).toBe(true);
    expect(use(mallory)).toEqual({ heard: false, asked: 1 });
  });

  test("stays with a guest that answers for it, however often it is asked", () => {
    use(victim);
    for (let n = 0; n < 20; n++) {
      const { asked } = use(mallory);
      if (asked > 0) victim.sendArp({ operation: 2, spa: SET, tpa: GATEWAY }, GATEWAY_MAC);
      third.port.take();
      net.pass(500);
    }
    expect(net.count("guard-foreign-address")).toBe(20);
    expect(use(victim).heard).toBe(true);
  });

  test("goes to another when its holder does not answer three times, as a service's address does", () => {
    use(victim);
    const heard: boolean[] = [];
    for (let n = 0; n < 4; n++) {
      heard.push(use(mallory).heard);
      net.pass(500);
    }
    expect(heard).toEqual([false, false, false, true]);
    expect(use(victim).heard).toBe(false);
  });

  test("stays with a guest that is too busy to be asked", () => {
    use(victim);
    victim.port.busy = true;
    for (let n = 0; n < 10; n++) {
      expect(use(mallory)).toEqual({ heard: false, asked: 0 });
      net.pass(500);
    }
  });

  test("is free when its guest is detached", () => {
    use(victim);
    net.network.detach(victim.port);
    expect(use(mallory).heard).toBe(true);
  });

  test("is one of 64 at most; those not used for five minutes make room", () => {
    const nth = (n: number) => `10.0.0.${100 + n}`;
    // the guest's own is the first
    for (let n = 1; n < 64; n++) expect(use(mallory, nth(n)).heard).toBe(true);
    expect(use(mallory, nth(64)).heard).toBe(false);
    expect(net.count("guard-too-many-addresses")).toBe(1);
    net.pass(300_001);
    expect(use(mallory, nth(64)).heard).toBe(true);
  });
});

describe("a leased address", () => {
  const LEASED = "10.0.0.50";
  beforeEach(() => {
    net = new InjectedNetwork({ staticLeases: [{ ip: LEASED, mac: VICTIM_MAC }] });
    victim = net.guest(false);
    mallory = net.guest(false);
    third = net.guest();
  });
  const heard = (guest: InjectedGuest) => {
    guest.sendArp({ spa: LEASED });
    return third.port.lines().length > 0;
  };

  test("is its lease's, even when another was there first", () => {
    expect(heard(mallory)).toBe(true);
    expect(heard(victim)).toBe(true);
    expect(heard(mallory)).toBe(false);
    net.pass(10_000);
    for (let n = 0; n < 10; n++) expect(heard(mallory)).toBe(false);
  });

  test("may be used by another guest while its own is not there, and comes back", () => {
    heard(victim);
    net.network.detach(victim.port);
    expect(heard(mallory)).toBe(true);
    net.network.link.attach(victim.port);
    expect(heard(victim)).toBe(true);
    expect(heard(mallory)).toBe(false);
  });

  test("is told by INFORM to nobody as another's", () => {
    heard(victim);
    // ciaddr: the victim's address
    const inform = hex`
      01 01 06 00 00000001 0000 0000 0a000032 00000000 00000000 00000000
      52540000000c ${"00".repeat(10 + 192)} 63825363 350108 ff`;
    mallory.send(
      ethernet(ALL, MALLORY_MAC, "0800", ipv4(udp("0.0.0.0:68", "255.255.255.255:67", inform))),
    );
    for (const { port } of [victim, mallory, third]) port.take();
    expect(victim.sendPacket(echo(LEASED, GATEWAY, "00070001", text("x")))).toEqual([
      `10.0.0.1 > ${LEASED} icmp 0/0 00070001 "x"`,
    ]);
    expect(mallory.port.lines()).toEqual([]);
  });
});
