/** What a guest can try on its neighbours with frames of its own, each under the reason for which it is dropped. */
import { arp, echo, ethernet, hex, ipv4, text, udp } from "./injected-frames.ts";

const ALL = "ff:ff:ff:ff:ff:ff";

export interface Neighbour {
  ip: string;
  mac: string;
}

/** `mac` is the attacker's card, `stranger` an address that nobody has */
export interface Neighbourhood {
  mac: string;
  victim: Neighbour;
  third: Neighbour;
  gateway: string;
  stranger: string;
}

export const attacks = ({
  mac,
  victim,
  third,
  gateway,
  stranger,
}: Neighbourhood): [name: string, reason: string, frame: Uint8Array][] => [
  [
    "ARP poisoning of a guest",
    "guard-foreign-address",
    ethernet(
      third.mac,
      mac,
      "0806",
      arp({ operation: 2, sha: mac, spa: victim.ip, tha: third.mac, tpa: third.ip }),
    ),
  ],
  [
    "ARP poisoning of the gateway",
    "guard-gateway-address",
    ethernet(ALL, mac, "0806", arp({ operation: 2, sha: mac, spa: gateway, tpa: gateway })),
  ],
  [
    "ARP behind a priority tag, which Linux reads past",
    "guard-foreign-address",
    ethernet(
      third.mac,
      mac,
      "8100",
      hex`0000 0806 ${arp({ operation: 2, sha: mac, spa: victim.ip, tha: third.mac, tpa: third.ip })}`,
    ),
  ],
  [
    "another's card",
    "switch-foreign-source",
    ethernet(
      ALL,
      victim.mac,
      "0806",
      arp({ operation: 2, sha: victim.mac, spa: victim.ip, tpa: third.ip }),
    ),
  ],
  [
    "another's source address",
    "guard-foreign-address",
    ethernet(third.mac, mac, "0800", ipv4(echo(victim.ip, third.ip, "00070001", text("x")))),
  ],
  [
    "an answer in the name server's name",
    "guard-gateway-address",
    ethernet(third.mac, mac, "0800", ipv4(udp(`${gateway}:53`, `${third.ip}:4000`, text("x")))),
  ],
  [
    "a rogue DHCP server",
    "rogue-dhcp-server",
    ethernet(ALL, mac, "0800", ipv4(udp(`${stranger}:67`, "255.255.255.255:68", text("an offer")))),
  ],
];
