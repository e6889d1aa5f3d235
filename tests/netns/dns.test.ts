/** Names, asked for by dig and by the guest's own resolver, over UDP and TCP. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { queryOctets, recordsText } from "../../lib/service/dns/message.ts";
import { canMakeNamespaces, GATEWAY, HOSTS, type Guest, type Lab } from "../support/lab.ts";

const RECORDS = [
  ["--address", "/a.example.test/203.0.113.21"],
  ["--cname", "alias.example.test,target.example.test"],
  ["--host-record", "target.example.test,203.0.113.22"],
  ["--txt-record", "text.example.test,first string,second"],
  [
    "--txt-record",
    `long.example.test,${Array.from({ length: 9 }, () => "x".repeat(250)).join(",")}`,
  ],
  ["--mx-host", "example.test,mail.example.test,10"],
  ["--srv-host", "_sip._tcp.example.test,sip.example.test,5060,1,2"],
  ["--ptr-record", "9.113.0.203.in-addr.arpa,far.example.test"],
  ["--dns-rr", "example.test,2,036e73310765786d706c65047465737400"],
].map(([option, value]) => `${option}=${value}`);

describe.skipIf(!canMakeNamespaces).each(HOSTS)("DNS over %s", (_host, openLab) => {
  let lab: Lab;
  let guest: Guest;
  beforeAll(async () => {
    lab = await openLab();
    await lab.host.serve(
      ...(["udp", 53, "dnsmasq", "-d", "-C", "/dev/null", "-R", "-h", "-i", "lo", "-z"] as const),
      ...[
        "-u",
        "root",
        "--local-ttl=60",
        "--local=/example.test/",
        "--edns-packet-max=4096",
        ...RECORDS,
      ],
    );
    guest = await lab.guest();
    await guest.dhcp();
    const add = await lab.api("POST", "/services/dns/add", {
      Name: "lima-other.internal.",
      Records: [],
      DefaultIP: "192.168.104.44",
    });
    expect(add.status).toBe(200);
  });
  afterAll(() => lab.close());

  const dig = async (...words: string[]) =>
    (await guest.run("dig", "+tries=1", "+time=3", ...words)).stdout;

  test.each([
    ["the host", "host.lima.internal", "A", GATEWAY],
    ["the gateway", "gateway.lima.internal", "A", GATEWAY],
    ["another machine", "lima-other.internal", "A", "192.168.104.44"],
    ["a name of the host's hosts file", "only-in-hosts.example.test", "A", "203.0.113.7"],
    ["a name of the host's name server", "a.example.test", "A", "203.0.113.21"],
    ["text", "text.example.test", "TXT", '"first string" "second"'],
    ["a mail exchanger", "example.test", "MX", "10 mail.example.test."],
    ["a service", "_sip._tcp.example.test", "SRV", "1 2 5060 sip.example.test."],
    ["the name of an address", "9.113.0.203.in-addr.arpa", "PTR", "far.example.test."],
  ])("dig finds %s over UDP and over TCP", async (_what, name, type, answer) => {
    expect((await dig("+short", name, type)).trim()).toBe(answer);
    expect((await dig("+short", "+tcp", name, type)).trim()).toBe(answer);
  });

  test("a CNAME is shown and followed", async () => {
    const text = await dig("+noall", "+answer", "alias.example.test", "A");
    expect(text).toMatch(/alias\.example\.test\.\s+\d+\s+IN\s+CNAME\s+target\.example\.test\./);
    expect(text).toMatch(/target\.example\.test\.\s+\d+\s+IN\s+A\s+203\.0\.113\.22/);
    expect((await dig("+short", "alias.example.test", "CNAME")).trim()).toBe(
      "target.example.test.",
    );
  });

  test("a name that does not exist is NXDOMAIN", async () => {
    expect(await dig("nowhere.example.test", "A")).toContain("status: NXDOMAIN");
  });

  test("an answer too long for the client's datagram is truncated, and whole over TCP", async () => {
    const short = await dig("+ignore", "+noedns", "long.example.test", "TXT");
    expect(short).toMatch(/flags: [^;]*\btc\b/);
    const whole = await dig("+short", "+noedns", "long.example.test", "TXT");
    expect(whole.match(/x{250}/g)).toHaveLength(9);
  });

  test("the question's spelling is kept", async () => {
    expect(await dig("HoSt.LiMa.InTeRnAl", "A")).toMatch(
      /^HoSt\.LiMa\.InTeRnAl\.\s.*192\.168\.104\.2$/m,
    );
  });

  test("several queries go over one TCP connection", async () => {
    const text = await dig(
      ...[
        "+tcp",
        "+keepopen",
        "+short",
        "host.lima.internal",
        "a.example.test",
        "lima-other.internal",
      ],
    );
    expect(text.trim().split("\n")).toEqual([GATEWAY, "203.0.113.21", "192.168.104.44"]);
  });

  test("the control API asks as a guest would, and says which source answers", async () => {
    const explain = async (name: string, type = "A") =>
      JSON.parse(
        (await lab.api("GET", `/limanet/dns/explain?name=${name}&type=${type}`)).body,
      ) as unknown;
    expect(await explain("lima-other.internal")).toMatchObject({
      source: "zone",
      status: "NOERROR",
      answers: [expect.stringContaining("192.168.104.44")],
    });
    expect(await explain("only-in-hosts.example.test")).toMatchObject({ status: "NOERROR" });
    expect(await explain("example.test", "CAA")).toMatchObject({
      source: "upstream",
      servers: ["127.0.0.1"],
    });
    const query = queryOctets(77, "a.example.test", 1, { payloadSize: 1232 });
    const asked = await lab.api("POST", "/limanet/dns/query", {
      transport: "udp",
      query: query.toHex(),
    });
    const { reply } = JSON.parse(asked.body) as { reply: string };
    expect(recordsText(Uint8Array.fromHex(reply))[0]!.text).toMatch(
      /^a\.example\.test\. \d+ A 203\.0\.113\.21$/,
    );
    for (const target of [
      "/limanet/dns/explain?name=a..b&type=A",
      "/limanet/dns/explain?name=a&type=NONE",
    ])
      expect((await lab.api("GET", target)).status).toBe(400);
    for (const body of [{}, { transport: "udp", query: "xyz" }])
      expect((await lab.api("POST", "/limanet/dns/query", body)).status).toBe(400);
    // what is no message gets no reply
    const silence = await lab.api("POST", "/limanet/dns/query", { transport: "udp", query: "00" });
    expect(JSON.parse(silence.body)).toEqual({ reply: null });
  });

  test("the guest's own resolver uses it", async () => {
    const { stdout } = await guest.run("getent", "ahostsv4", "a.example.test");
    expect(stdout).toContain("203.0.113.21");
  });

  test("a query that is no DNS message hurts nobody", async () => {
    const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(0, 40):
    s.sendto(bytes([n * 7 & 255] * n), ("${GATEWAY}", 53))
t = socket.create_connection(("${GATEWAY}", 53), 3)
t.send(b"\\xff\\xff" + b"z" * 100)
t.close()`;
    expect((await guest.run("python3", "-c", script)).code).toBe(0);
    expect((await dig("+short", "a.example.test")).trim()).toBe("203.0.113.21");
  });
});
