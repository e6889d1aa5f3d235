/**
 * Every parser of octets: what was right is mangled, and read at two places of buffers that are poisoned in two ways. The same
 * octets must read the same, whatever stands around them, and nothing may throw.
 */
import { deframe, QEMU_FRAMING, VPNKIT_FRAMING } from "../../lib/link/stream-framing.ts";
import { rogueDrop, typeOffset } from "../../lib/link/rogue.ts";
import { readQuery, recordsText, repliesTo, shapeOf } from "../../lib/service/dns/message.ts";
import { arpOperation, arpSha, arpSpa, arpTpa, checkArp, emitArp } from "../../lib/wire/arp.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { emitDhcp, parseDhcp } from "../../lib/wire/dhcpv4.ts";
import { checkIcmp, icmpRest, icmpType } from "../../lib/wire/icmpv4.ts";
import { emitIpv4, Ipv4View } from "../../lib/wire/ipv4.ts";
import { Ipv6Upper } from "../../lib/wire/ipv6.ts";
import { u16 } from "../../lib/wire/octets.ts";
import {
  parseSocksRequest,
  socksGreetingLength,
  socksRequestLength,
} from "../../lib/wire/socks5.ts";
import { TcpView } from "../../lib/wire/tcp.ts";
import { checkUdp, udpDstPort, udpLength, udpSrcPort } from "../../lib/wire/udp.ts";
import {
  arp,
  echo,
  ethernet,
  hex,
  ipv4,
  join,
  pattern,
  tcp,
  text,
  udp,
} from "../support/injected-frames.ts";
import type { Target } from "./dice.ts";

const A = "10.0.0.11";
const B = "8.8.8.8";
const SRC = 0x0a00000b;
const DST = 0x08080808;
const MAC = "52:54:00:00:00:0b";

interface Parser {
  name: string;
  valid: Uint8Array[];
  /** What is read in [start, end), as text; nothing beyond it may matter. */
  read(buf: Uint8Array, start: number, end: number): unknown;
}

const DHCP = (options: string) => hex`
  01 01 06 00 00000001 0000 8000 00000000 00000000 00000000 00000000
  52540000000b ${"00".repeat(10 + 192)} 63825363 ${options}`;
const QUERY = hex`1234 0100 0001 0000 0000 0001 03 777777 04 74657374 00 0001 0001 00 0029 04d0 0000 0000 0000`;
const REPLY = hex`1234 8180 0001 0002 0000 0000 01 61 04 74657374 00 0001 0001
  c00c 0005 0001 00000005 0004 01 62 c00e c023 0001 0001 00000006 0004 c0000201`;

const ipv4View = new Ipv4View();
const tcpView = new TcpView();
const upper = new Ipv6Upper();

/** at a place's own beginning, so that two places can be compared */
const PARSERS: Parser[] = [
  {
    name: "ARP",
    valid: [arp({ operation: 1, sha: MAC, spa: A, tpa: B })],
    read(buf, start, end) {
      const drop = checkArp(buf, start, end);
      if (drop !== undefined) return drop;
      const fields = [arpOperation, arpSha, arpSpa, arpTpa].map((field) => field(buf, start));
      const [operation, sha, spa, tpa] = fields as [number, number, number, number];
      // what is read is what is written, but for the target's hardware address, which nobody reads
      const again = new Uint8Array(28).fill(0xa5);
      emitArp(again, 0, operation, sha, spa, 0, tpa);
      again.set(buf.subarray(start + 18, start + 24), 18);
      if (Buffer.compare(again, buf.subarray(start, start + 28)) !== 0)
        throw new Error("ARP is not written as it is read");
      return fields;
    },
  },
  {
    name: "IPv4",
    valid: [
      ipv4(udp(`${A}:1`, `${B}:2`, text("x"))),
      ipv4({ ...echo(A, B, "00070001", pattern(64)), options: "94040000", more: true, offset: 64 }),
    ],
    read(buf, start, end) {
      const drop = ipv4View.read(buf, start, end, sumOctetsOf(buf));
      if (drop !== undefined) return drop;
      const { payload, end: behind, start: _start, ...fields } = ipv4View;
      if (payload < start + 20 || payload > behind || behind > end)
        throw new Error("IPv4 payload outside of its packet");
      if (payload === start + 20 && buf[start + 1] === 0) {
        const flags = u16(buf, start + 6);
        const again = new Uint8Array(20);
        emitIpv4({ ...fields, fragment: flags, payloadLength: behind - payload }, again, 0);
        if (Buffer.compare(again, buf.subarray(start, start + 20)) !== 0)
          throw new Error("IPv4 is not written as it is read");
      }
      return [payload - start, behind - start, fields];
    },
  },
  {
    name: "IPv6 and what only the network may say",
    valid: [
      hex`60000000 0010 3a ff ${"fe80".padEnd(32, "0")} ${"ff02".padEnd(32, "0")} 8600000040000708 0000000000000000`,
      hex`60000000 0018 00 ff ${"fe80".padEnd(32, "0")} ${"ff02".padEnd(32, "0")} 2c00050200000100 3a00000100000007 8600000040000708`,
    ],
    read(buf, start, end) {
      const drop = upper.find(buf, start, end);
      if (drop === undefined && upper.at > end)
        throw new Error("IPv6 payload outside of its packet");
      const rogue = [0x0800, 0x86dd].map((type) => rogueDrop(type, buf, start, end));
      return [drop ?? [upper.protocol, upper.at - start], rogue];
    },
  },
  {
    name: "tags",
    valid: [
      ethernet(
        "ff:ff:ff:ff:ff:ff",
        MAC,
        "8100",
        hex`0000 8100 0005 0806 ${arp({ operation: 1, sha: MAC, spa: A, tpa: B })}`,
      ),
    ],
    read(buf, start, end) {
      if (end - start < 14) return "runt";
      const at = typeOffset(buf, start, end);
      if (typeof at === "string" || at === -1) return at;
      if (at + 2 > end) throw new Error("type outside of its frame");
      return at - start;
    },
  },
  {
    name: "ICMP",
    valid: [echo(A, B, "00070001", text("abc")).payload],
    read(buf, start, end) {
      return (
        checkIcmp(start, end, sumOctetsOf(buf)) ?? [icmpType(buf, start), icmpRest(buf, start)]
      );
    },
  },
  {
    name: "UDP",
    valid: [udp(`${A}:1`, `${B}:2`, text("abc")).payload],
    read(buf, start, end) {
      const drop = checkUdp(buf, start, end, SRC, DST, sumOctetsOf(buf));
      if (drop !== undefined) return drop;
      const length = udpLength(buf, start);
      if (start + length > end) throw new Error("UDP payload outside of its packet");
      return [udpSrcPort(buf, start), udpDstPort(buf, start), length];
    },
  },
  {
    name: "TCP",
    valid: [
      tcp(`${A}:1`, `${B}:2`, {
        flags: "S",
        options: "020405b4 0402 080a 00000001 00000000 01 030307".replaceAll(" ", ""),
      }).payload,
      tcp(`${A}:1`, `${B}:2`, {
        flags: "P.",
        seq: 9,
        ack: 8,
        options: "0101050a0000000100000002",
        payload: text("abc"),
      }).payload,
    ],
    read(buf, start, end) {
      const drop = tcpView.read(buf, start, end, SRC, DST, sumOctetsOf(buf));
      if (drop !== undefined) return drop;
      const { payload, end: behind, sackStarts, sackEnds, ...fields } = tcpView;
      if (payload > behind || behind > end) throw new Error("TCP payload outside of its packet");
      const { sackCount } = fields;
      return [
        payload - start,
        behind - start,
        fields,
        [...sackStarts.subarray(0, sackCount)],
        [...sackEnds.subarray(0, sackCount)],
      ];
    },
  },
  {
    name: "DHCP",
    valid: [
      DHCP("350101 3d0701525400 00000b 3204c0a86809 0c02766d ff".replaceAll(" ", "")),
      DHCP("350103 3604c0a86802 340103 ff".replaceAll(" ", "")),
    ],
    read(buf, start, end) {
      const message = parseDhcp(buf.slice(start, end));
      if (typeof message === "string") return message;
      const { options, ...fields } = message;
      // what can be said again is read as the same
      const kept = new Map([...options].filter(([code]) => code !== 52 && code !== 53));
      const again = parseDhcp(asRequest(emitDhcp({ ...message, options: kept })));
      if (typeof again === "string" || again.xid !== message.xid || again.chaddr !== message.chaddr)
        throw new Error("DHCP is not read as it is written");
      return [fields, [...options].map(([code, octets]) => [code, [...octets]])];
    },
  },
  {
    name: "DNS",
    valid: [QUERY, REPLY],
    read(buf, start, end) {
      const octets = buf.slice(start, end);
      const shape = shapeOf(octets);
      for (const { end: behind } of shape?.records ?? [])
        if (behind > octets.length) throw new Error("DNS record outside of its message");
      const query = readQuery(octets);
      if (shape !== undefined) recordsText(octets);
      return [shape?.records.length, query?.type, query?.questionEnd, repliesTo(octets, QUERY)];
    },
  },
  {
    name: "SOCKS",
    valid: [hex`05 01 00`, hex`05 01 00 01 08080808 0050`, hex`05 01 00 03 04 74657374 0050`],
    read(buf, start, end) {
      const have = end - start;
      const greeting = socksGreetingLength(buf, start, have);
      const length = socksRequestLength(buf, start, have);
      return [
        greeting,
        length,
        length > 0 && length <= have ? parseSocksRequest(buf, start, length) : "more",
      ];
    },
  },
  ...[QEMU_FRAMING, VPNKIT_FRAMING].map((framing): Parser => ({
    name: `frames behind lengths of ${framing.prefix} octets`,
    valid: [
      join(
        ...[60, 0, 1500, 14].map((length) => {
          const octets = new Uint8Array(framing.prefix + length);
          framing.putLength(octets, 0, length);
          return octets;
        }),
      ),
    ],
    read(buf, start, end) {
      const places: number[] = [];
      const outcome = deframe(framing, buf, start, end, 65_550, (from, to) => {
        if (from < start || to > end || to < from) throw new Error("a frame outside of the stream");
        places.push(from - start, to - start);
      });
      return [typeof outcome === "string" ? outcome : outcome - start, places];
    },
  })),
];

/** a reply of ours as a request of a client's */
function asRequest(octets: Uint8Array): Uint8Array {
  octets[0] = 1;
  return octets;
}

/** [offset, poison] */
const PLACES = [
  [0, 0xa5],
  [3, 0x5a],
] as const;

export const WIRE_TARGETS: Target[] = PARSERS.map((parser) => ({
  name: parser.name,
  unit: "messages",
  batch: 1,
  round(dice) {
    const octets = dice.chance(0.05)
      ? dice.octets(dice.below(300))
      : dice.mangle(dice.pick(parser.valid), parser.valid);
    const [first, second] = PLACES.map(([offset, poison]) => {
      const buf = new Uint8Array(offset + octets.length + 300).fill(poison);
      buf.set(octets, offset);
      return JSON.stringify(parser.read(buf, offset, offset + octets.length));
    });
    if (first !== second)
      throw new Error(`${Buffer.from(octets).toString("hex")} reads ${first} and ${second}`);
  },
}));
