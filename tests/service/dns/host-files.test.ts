/** The host's files about names, as their manuals and systems write them. */
import { expect, test } from "bun:test";
import {
  hasResolvedStub,
  hostsFileComesFirst,
  parseHostsFile,
  parseResolvConf,
  parseResolvedLink,
  parseResolverFile,
  parseScutilDns,
} from "../../../lib/service/dns/host-files.ts";

const at53 = (address: string) => ({ address, port: 53 });

test.each<[string, string[], string[]]>([
  ["nameserver 192.0.2.1\nnameserver 2001:db8::1\n", ["192.0.2.1", "2001:db8::1"], []],
  ["nameserver fe80::1%eth0", ["fe80::1%eth0"], []],
  ["  nameserver\t192.0.2.1 # ours", ["192.0.2.1"], []],
  ["# nameserver 192.0.2.1\n;nameserver 192.0.2.2", [], []],
  ["nameserver dns.example\nnameserver", [], []],
  ["search a.test b.test\nsearch c.test", [], ["c.test"]],
  ["search a.test\ndomain b.test c.test", [], ["b.test"]],
  ["search . a.test -", [], ["a.test", "-"]],
  ["", [], []],
])("resolv.conf %j names servers %j and searches %j", (text, servers, search) => {
  expect(parseResolvConf(text)).toEqual({ nameservers: servers.map(at53), search });
});

test("a hosts file gives a name all its addresses", () => {
  const text = `
127.0.0.1 localhost
::1       localhost ip6-localhost # both families
192.0.2.1 Server.Test alias. server.test
192.0.2.2 server.test
not-an-address name
192.0.2.3`;
  expect(Object.fromEntries(parseHostsFile(text))).toEqual({
    localhost: ["127.0.0.1", "::1"],
    "ip6-localhost": ["::1"],
    "server.test": ["192.0.2.1", "192.0.2.2"],
    alias: ["192.0.2.1"],
  });
});

test.each([
  ["hosts: files dns", true],
  ["passwd: files\nhosts:\tfiles mdns4_minimal [NOTFOUND=return] dns", true],
  ["hosts: dns files", false],
  ["hosts: mymachines resolve files", false],
  ["# hosts: dns", true],
  ["", true],
])("nsswitch.conf %j asks the hosts file first: %p", (text, first) =>
  expect(hostsFileComesFirst(text)).toBe(first),
);

test.each<[string, [string, string[]][]]>([
  [
    "# This is private data. Do not parse.\nLLMNR=no\nSERVERS=192.0.2.1 2001:db8::1\nDOMAINS=corp.test ~lab.test\n",
    [
      ["corp.test", ["192.0.2.1", "2001:db8::1"]],
      ["lab.test", ["192.0.2.1", "2001:db8::1"]],
    ],
  ],
  [
    "DNS=192.0.2.1\nDOMAINS=a.test\nROUTE_DOMAINS=b.test",
    [
      ["a.test", ["192.0.2.1"]],
      ["b.test", ["192.0.2.1"]],
    ],
  ],
  ["SERVERS=192.0.2.1\nDOMAINS=~.", [["", ["192.0.2.1"]]]],
  ["SERVERS=192.0.2.1#dns.test\nDOMAINS=a.test", [["a.test", ["192.0.2.1"]]]],
  ["SERVERS=dns.test\nDOMAINS=a.test", [["a.test", []]]],
  ["SERVERS=192.0.2.1", []],
])("a link of systemd-resolved with %j routes %j", (text, routes) => {
  expect(parseResolvedLink(text, "link")).toEqual(
    routes.map(([domain, servers]) => ({ domain, servers: servers.map(at53), origin: "link" })),
  );
});

test("a link's server may have a port", () => {
  const text = "SERVERS=192.0.2.1:5353 [2001:db8::1]:5354\nDOMAINS=a.test";
  expect(parseResolvedLink(text, "link")[0]!.servers).toEqual([
    { address: "192.0.2.1", port: 5353 },
    { address: "2001:db8::1", port: 5354 },
  ]);
});

test("systemd-resolved's stub is known by its address", () => {
  expect(hasResolvedStub([at53("127.0.0.53")])).toBe(true);
  expect(hasResolvedStub([at53("127.0.0.1"), at53("192.0.2.53")])).toBe(false);
});

/** made after what macOS 14 prints with a VPN that has a domain of its own */
const SCUTIL = `DNS configuration

resolver #1
  search domain[0] : lan
  search domain[1] : corp.test
  nameserver[0] : 192.0.2.1
  nameserver[1] : 2001:db8::1
  if_index : 14 (en0)
  flags    : Request A records
  reach    : 0x00020002 (Reachable,Directly Reachable Address)

resolver #2
  domain   : local
  options  : mdns
  timeout  : 5
  flags    : Request A records
  reach    : 0x00000000 (Not Reachable)
  order    : 300000

resolver #3
  domain   : corp.test
  nameserver[0] : 192.0.2.53
  port     : 5353
  flags    : Supplemental, Request A records
  order    : 101800

DNS configuration (for scoped queries)

resolver #1
  search domain[0] : lan
  nameserver[0] : 192.0.2.99
  if_index : 14 (en0)
  flags    : Scoped, Request A records
`;

test("scutil --dns tells name servers, searches and the domains with servers of their own", () => {
  expect(parseScutilDns(SCUTIL)).toEqual({
    nameservers: [at53("192.0.2.1"), at53("2001:db8::1")],
    search: ["lan", "corp.test"],
    routes: [
      {
        domain: "corp.test",
        servers: [{ address: "192.0.2.53", port: 5353 }],
        origin: "scutil --dns",
      },
    ],
  });
  expect(parseScutilDns("No DNS configuration available")).toEqual({
    nameservers: [],
    search: [],
    routes: [],
  });
});

test("a file of /etc/resolver is for the domain of its name, or that it says", () => {
  const text = "# corp\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nport 5353\n";
  const servers = [
    { address: "192.0.2.1", port: 5353 },
    { address: "192.0.2.2", port: 5353 },
  ];
  expect(parseResolverFile("corp.test", text)).toEqual([
    { domain: "corp.test", servers, origin: "/etc/resolver/corp.test" },
  ]);
  expect(parseResolverFile("x", `${text}domain other.test`)[0]!.domain).toBe("other.test");
  expect(parseResolverFile("x", "port 53")).toEqual([]);
});
