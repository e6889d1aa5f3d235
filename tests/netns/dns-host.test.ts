/**
 * The host's side of DNS, by `limanet dns serve` in a namespace whose resolver files and name servers change: what the
 * operating system's resolver says, how soon a change counts, and what an outage costs.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canMakeNamespaces, LIMANET, MUSL_LIBRARIES, Space } from "../support/lab.ts";

const NAME_SERVER = join(import.meta.dir, "../support/name-server.ts");
const LISTEN = "127.0.0.9:5300";
const NAMESERVERS = "options timeout:1 attempts:1\n";
const MUSL = ["env", `LD_LIBRARY_PATH=${MUSL_LIBRARIES}`, `${LIMANET}-linux-x64-musl`];

describe
  .skipIf(!canMakeNamespaces)
  .each([
    { library: "glibc", limanet: [LIMANET] },
    ...(process.arch === "x64" ? [{ library: "musl", limanet: MUSL }] : []),
  ])("the host's DNS, by $library", ({ library, limanet }) => {
  const space = new Space(`dns${library}${process.pid}`);
  const file = (name: string, text: string) =>
    writeFileSync(`/etc/netns/${space.name}/${name}`, text);
  const useServers = (...addresses: string[]) =>
    file(
      "resolv.conf",
      `${addresses.map((address) => `nameserver ${address}\n`).join("")}search search.test\n${NAMESERVERS}`,
    );

  beforeAll(async () => {
    await space.open({
      "resolv.conf": "nameserver 127.0.0.1\n",
      hosts: "127.0.0.1 localhost\n192.0.2.70 only-in-hosts.test other-name.test\n",
      "nsswitch.conf": "hosts: files dns\n",
    });
    useServers("127.0.0.1");
    for (const tag of ["1", "2"])
      await space.serve("tcp", 53, process.execPath, NAME_SERVER, `127.0.0.${tag}`, "53", tag);
    await space.serve(
      "tcp",
      5300,
      ...limanet,
      ...["dns", "serve", "--listen", LISTEN],
      ...["--host", "static.test=only-in-hosts.test", "--host", "*.apps.test=192.0.2.71"],
    );
  });
  afterAll(() => space.close());

  const dig = async (...words: string[]) =>
    (await space.run("dig", "@127.0.0.9", "-p", "5300", "+tries=1", "+time=4", ...words)).stdout;
  const short = async (...words: string[]) => (await dig("+short", ...words)).trim().split("\n");
  // kdig is strict where dig is lenient
  const kdig = async (...words: string[]) =>
    (await space.run("kdig", "@127.0.0.9", "-p", "5300", "+retry=0", "+time=4", ...words)).stdout;
  const status = async (...words: string[]) => /status: (\w+)/.exec(await dig(...words))?.[1];
  const ttls = async (...words: string[]) =>
    [...(await dig("+noall", "+answer", ...words)).matchAll(/^\S+\s+(\d+)\s+IN/gm)].map(
      ([, ttl]) => ttl,
    );

  test.each([
    ["a.test", "A", ["192.0.2.1"]],
    ["only-in-hosts.test", "A", ["192.0.2.70"]],
    ["OTHER-name.test", "A", ["192.0.2.70"]],
    ["static.test", "A", ["only-in-hosts.test.", "192.0.2.70"]],
    ["x.apps.test", "A", ["192.0.2.71"]],
    ["alias.a.test", "A", ["target.a.test.", "192.0.2.1"]],
    ["alias.a.test", "CNAME", ["target.a.test."]],
    ["a.test", "MX", ["1 mail.example.test."]],
    ["a.test", "TXT", ['"1"']],
    ["a.test", "NS", ["ns1.example.test."]],
    ["_x._tcp.a.test", "SRV", ["1 2 1 srv.example.test."]],
    ["a.test", "HINFO", ['"1" "x"']],
    ["a.test", "AAAA", [""]],
    ["cut.a.test", "HINFO", ['"1" "x"']],
    ["liar.a.test", "HINFO", ['"1" "x"']],
    ["cut.a.test", "TXT", ['"1"']],
  ])("%s %s is %j over UDP and TCP", async (name, type, answer) => {
    for (const transport of ["+notcp", "+tcp"]) {
      expect(await short(transport, name, type)).toEqual(answer);
      expect((await kdig("+short", transport, name, type)).trim().split("\n")).toEqual(answer);
    }
  });

  test.each([
    ["nx.a.test", "A", "NXDOMAIN"],
    // the guest's own resolver does the searching
    ["nx", "A", "NXDOMAIN"],
    ["nx.a.test", "MX", "NXDOMAIN"],
    ["nx.a.test", "SOA", "NXDOMAIN"],
    ["servfail.a.test", "A", "SERVFAIL"],
    ["servfail.a.test", "MX", "SERVFAIL"],
    ["servfail.a.test", "SOA", "SERVFAIL"],
    ["a.test", "SOA", "NOERROR"],
    ["lima-nobody.internal", "A", "NXDOMAIN"],
  ])("%s %s is %s", async (name, type, code) => expect(await status(name, type)).toBe(code));

  test("the TTL is DNS's own, of every record, and grows less in the cache", async () => {
    expect(await ttls("alias.ttl.test", "A")).toEqual(["33", "60"]);
    expect(await ttls("ttl-7.test", "A")).toEqual(["7"]);
    await Bun.sleep(1100);
    expect(["32", "31"]).toContain((await ttls("alias.ttl.test", "A"))[0]!);
    expect(await ttls("only-in-hosts.test", "A")).toEqual(["5"]);
  });

  test("a name in the hosts file is found while all name servers are dead, and so are static names", async () => {
    await Promise.all([
      // more than there are threads
      ...Array.from({ length: 12 }, (_, i) => dig(`silent.${i}.test`, "A")),
      (async () => {
        await Bun.sleep(300);
        expect(await short("only-in-hosts.test")).toEqual(["192.0.2.70"]);
        // other names are asked for although threads wait
        expect(await short("not-silent.test")).toEqual(["192.0.2.1"]);
      })(),
    ]);
    expect(await status("silent.x.test", "A")).toBe("SERVFAIL");
  }, 30_000);

  test("a change of resolv.conf counts a second later, for every kind of question", async () => {
    const types = [
      ["A", "192.0.2.1", "192.0.2.2"],
      ["MX", "1 mail.example.test.", "2 mail.example.test."],
      ["HINFO", '"1" "x"', '"2" "x"'],
    ] as const;
    for (const [type, before] of types) expect(await short("swap.test", type)).toEqual([before]);
    useServers("127.0.0.2");
    await Bun.sleep(1000);
    for (const [type, , after] of types) expect(await short("swap.test", type)).toEqual([after]);
    useServers("127.0.0.1");
    await Bun.sleep(1000);
    for (const [type, before] of types) expect(await short("swap.test", type)).toEqual([before]);
  });

  test("a change of the hosts file counts a second later", async () => {
    file("hosts", "192.0.2.72 only-in-hosts.test new.test\n");
    await Bun.sleep(1000);
    expect(await short("only-in-hosts.test")).toEqual(["192.0.2.72"]);
    expect(await short("new.test")).toEqual(["192.0.2.72"]);
    file("hosts", "192.0.2.70 only-in-hosts.test\n");
    await Bun.sleep(1000);
    expect(await short("new.test")).toEqual(["192.0.2.1"]);
  });

  // musl knows no nsswitch.conf
  test.skipIf(library === "musl")(
    "a change of nsswitch.conf counts: no DNS, no names of DNS",
    async () => {
      file("nsswitch.conf", "hosts: files\n");
      await Bun.sleep(1000);
      expect(await status("fresh.test", "A")).toBe("NXDOMAIN");
      file("nsswitch.conf", "hosts: files dns\n");
      await Bun.sleep(1000);
      expect(await short("fresh.test", "A")).toEqual(["192.0.2.1"]);
    },
  );

  test("a first name server that is silent costs a relayed question little", async () => {
    await space.serve(
      ...(["udp", 530, "python3", "-c"] as const),
      `import socket, time
for port in 53, 530:
    globals()[f"s{port}"] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    globals()[f"s{port}"].bind(("127.0.0.3", port))
time.sleep(1000)`,
    );
    useServers("127.0.0.3", "127.0.0.2");
    await Bun.sleep(1000);
    // dig itself gives up after a second
    expect(await short("+time=1", "hedge.test", "HINFO")).toEqual(['"2" "x"']);
    useServers("127.0.0.1");
    await Bun.sleep(1000);
  });

  test("domains of a link of systemd-resolved are asked of its servers", async () => {
    const folder = "/run/systemd/resolve/netif";
    await space.run("mkdir", "-p", folder);
    const link = `${folder}/${space.name}`;
    mkdirSync(folder, { recursive: true });
    writeFileSync(link, "SERVERS=127.0.0.2\nDOMAINS=corp.test ~lab.test\n");
    try {
      await Bun.sleep(1000);
      expect(await short("www.corp.test", "HINFO")).toEqual(['"2" "x"']);
      expect(await short("www.lab.test", "HINFO")).toEqual(['"2" "x"']);
      expect(await short("www.other.test", "HINFO")).toEqual(['"1" "x"']);
    } finally {
      rmSync(link);
    }
  });

  test("several queries go over one connection, and EDNS sizes are heeded", async () => {
    expect(await short("+tcp", "+keepopen", "a.test", "b.test", "c.test")).toEqual([
      "192.0.2.1",
      "192.0.2.1",
      "192.0.2.1",
    ]);
    const long = await dig("+bufsize=512", "+ignore", "only-in-hosts.test", "A");
    expect(long).toContain("EDNS: version: 0");
  });

  test("kdig: many queries over one kept connection, EDNS answered as it was asked", async () => {
    const kept = await kdig("+tcp", "+keepopen", "+short", "a.test", "b.test", "a.test", "MX");
    expect(kept.trim().split("\n")).toEqual(["192.0.2.1", "192.0.2.1", "1 mail.example.test."]);
    const plain = await kdig("+noedns", "a.test", "A");
    expect(plain).toContain("status: NOERROR");
    expect(plain).not.toContain("EDNS PSEUDOSECTION");
    // an unknown option is no fault (RFC 6891 section 6.1.2), a version that nobody speaks is (6.1.3)
    const options = await kdig(
      "+edns=0",
      "+ednsopt=65001:01020304",
      "+bufsize=4096",
      "a.test",
      "A",
    );
    expect(options).toContain("status: NOERROR");
    expect(options).toContain("EDNS PSEUDOSECTION");
    expect(await kdig("+edns=1", "a.test", "A")).toMatch(/BADVERS/);
  });

  test("dns query and explain say what a guest is told, and why", async () => {
    const query = await space.run(...limanet, "dns", "query", "a.test", "HINFO", "--json");
    expect(JSON.parse(query.stdout)).toMatchObject({
      status: "NOERROR",
      records: [{ section: "answer", text: expect.stringContaining("a.test. 60 HINFO") }],
    });
    const server = await space.run(
      ...limanet,
      ...["dns", "query", "static.test", "A", "--server", LISTEN],
    );
    expect(server.stdout).toContain("static.test. 5 CNAME only-in-hosts.test.");
    const explain = await space.run(...limanet, "dns", "explain", "a.test", "SOA", "--json");
    expect(JSON.parse(explain.stdout)).toMatchObject({
      source: "upstream",
      servers: ["127.0.0.1"],
      status: "NOERROR",
    });
    const wrong = await space.run(...limanet, "dns", "query", "a..b");
    expect([wrong.code, wrong.stderr]).toEqual([
      2,
      "limanet: Cannot ask for a..b: it is no DNS name\n",
    ]);
  });

  test("without a name server the public ones are asked, but not with --no-public-dns", async () => {
    // the namespace's own, nothing leads out of it
    await space.ip("addr", "add", "8.8.8.8/32", "dev", "lo");
    await space.serve("tcp", 53, process.execPath, NAME_SERVER, "8.8.8.8", "53", "8");
    file("resolv.conf", "# none\n");
    const [asked, refused] = await Promise.all(
      [[], ["--no-public-dns"]].map(async (flags, i) => {
        const port = 5301 + i;
        const listen = `127.0.0.1:${port}`;
        await space.serve("tcp", port, ...limanet, "dns", "serve", "--listen", listen, ...flags);
        const words = ["@127.0.0.1", "-p", String(port), "+tries=1", "a.test", "HINFO"];
        return (await space.run("dig", ...words)).stdout;
      }),
    );
    expect(asked).toContain('"8" "x"');
    expect(refused).toContain("status: SERVFAIL");
    const { stdout } = await space.run(...limanet, "dns", "explain", "a.test", "SOA", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ servers: ["8.8.8.8", "1.1.1.1"] });
    useServers("127.0.0.1");
  });
});
