/** The SOCKS proxy of a network, by curl and by sockets of the host. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  canMakeNamespaces,
  FAR_ADDRESS,
  GATEWAY,
  Lab,
  UNREACHABLE_ADDRESS,
  type Guest,
} from "../support/lab.ts";

const HTTP = 8000;
const TALK = 7004;

/** Answers what it has heard up to the end of stream; "reset me" by a reset. */
const TALKER = `
import socket, struct
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", ${TALK})); s.listen()
while True:
    c, _ = s.accept()
    asked = b""
    while asked != b"reset me":
        piece = c.recv(65536)
        if not piece: break
        asked += piece
    if asked == b"reset me":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        c.sendall(b"%d octets" % len(asked))
    c.close()
`;
/** A client that says something, ends its stream, and tells what it hears. */
const CLIENT = `
import socket, struct, sys
proxy, address, said = int(sys.argv[1]), sys.argv[2], sys.argv[3]
c = socket.create_connection(("127.0.0.1", proxy))
c.sendall(b"\\x05\\x01\\x00"); assert c.recv(2) == b"\\x05\\x00"
c.sendall(b"\\x05\\x01\\x00\\x01" + socket.inet_aton(address) + struct.pack("!H", ${TALK}))
assert c.recv(10)[1] == 0
if said == "reset me":
    c.sendall(said.encode())
else:
    c.sendall(b"x" * int(said)); c.shutdown(socket.SHUT_WR)
try:
    heard = b""
    while True:
        piece = c.recv(65536)
        if not piece: break
        heard += piece
    print(heard.decode())
except ConnectionResetError:
    print("reset")
`;

describe.skipIf(!canMakeNamespaces)("the proxy of a network", () => {
  let lab: Lab;
  let guest: Guest;
  let ip: string;
  let port: number;
  const open = async (wanted: number) => {
    const { status, body } = await lab.api("POST", "/limanet/socks", { port: wanted });
    return status === 200
      ? Number((JSON.parse(body) as { local: string }).local.split(":")[1])
      : body;
  };
  beforeAll(async () => {
    lab = await Lab.open();
    guest = await lab.guest();
    ip = (await guest.dhcp())["ip"]!;
    writeFileSync(join(lab.folder, "index.html"), "hello\n");
    for (const space of [guest, lab.far, lab.host]) {
      const address = space === lab.host ? "127.0.0.1:" : "";
      await space.serve(
        "tcp",
        HTTP,
        "busybox",
        "httpd",
        "-f",
        "-p",
        `${address}${HTTP}`,
        "-h",
        lab.folder,
      );
    }
    for (const space of [guest, lab.far]) await space.serve("tcp", TALK, "python3", "-c", TALKER);
    const zone = { Name: "internal.", Records: [{ Name: "lima-beta", IP: ip }] };
    await lab.api("POST", "/services/dns/add", zone);
    port = (await open(0)) as number;
  });
  afterAll(() => lab?.close());

  const curl = (url: string, kind = "--socks5-hostname", proxy = port) =>
    lab.host.run("curl", "-s", "-m", "10", kind, `127.0.0.1:${proxy}`, url);

  test.each([
    ["a machine by its name", "lima-beta.internal"],
    ["whatever the case", "LIMA-Beta.Internal"],
    ["the host by its name", "host.lima.internal"],
    ["the outside by its address", FAR_ADDRESS],
  ])("leads to %s", async (_what, host) => {
    expect((await curl(`http://${host}:${HTTP}/`)).stdout).toBe("hello\n");
  });

  test("takes addresses of the network from clients that have looked names up themselves", async () => {
    expect((await curl(`http://${ip}:${HTTP}/`, "--socks5")).stdout).toBe("hello\n");
    expect((await curl(`http://${GATEWAY}:${HTTP}/`, "--socks5")).stdout).toBe("hello\n");
  });

  test("looks up names of the host's own /etc/hosts as a guest would have them looked up", async () => {
    // the router knows no way to that address: what is told is that, and not that there is no such name
    const { code, stderr } = await lab.host.run(
      ...["curl", "-sS", "-m", "10", "--socks5-hostname", `127.0.0.1:${port}`],
      "http://only-in-hosts.example.test/",
    );
    expect([code, stderr]).toEqual([97, expect.stringMatching(/\(4\)|\(5\)|\(3\)/)]);
  });

  test.each([
    ["a port where nobody listens", () => `http://${ip}:81/`, "(5)"],
    ["one of the outside", () => `http://${FAR_ADDRESS}:81/`, "(5)"],
    ["an address that is unreachable", () => `http://${UNREACHABLE_ADDRESS}/`, "(4)"],
    ["a name that the network does not have", () => "http://lima-nobody.internal/", "(4)"],
    ["the host's loopback by its own name", () => "http://127.0.0.1:8000/", "(2)"],
    ["a machine that is not there", () => "http://192.168.104.77/", "timed out"],
  ])("says that it cannot lead to %s", async (_what, url, said) => {
    const { code, stderr } = await lab.host.run(
      ...["curl", "-sS", "-m", "2", "--socks5-hostname", `127.0.0.1:${port}`, url()],
    );
    expect(code).not.toBe(0);
    expect(stderr).toContain(said);
  });

  test.each(["a guest", "the outside"])(
    "half-close, much text and reset arrive at %s as what they are",
    async (what) => {
      const address = what === "a guest" ? ip : FAR_ADDRESS;
      const client = (said: string) =>
        lab.host.run("python3", "-c", CLIENT, String(port), address, said);
      expect(await client("5")).toMatchObject({ stdout: "5 octets\n", stderr: "" });
      expect(await client("5000000")).toMatchObject({ stdout: "5000000 octets\n", stderr: "" });
      expect(await client("reset me")).toMatchObject({ stdout: "reset\n", stderr: "" });
    },
  );

  test("many clients at once are all served, and nothing of them is left", async () => {
    // one that has given up on a machine that is not there stays until ours gives up
    const before = (await lab.stats())["socksConnections"]!;
    const all = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        curl(`http://${i % 2 === 0 ? "lima-beta.internal" : FAR_ADDRESS}:${HTTP}/`),
      ),
    );
    expect(new Set(all.map(({ stdout }) => stdout))).toEqual(new Set(["hello\n"]));
    while ((await lab.stats())["socksConnections"]! > before) await Bun.sleep(10);
    expect((await lab.stats())["socks-clients"]).toBeGreaterThan(40);
  });

  test("asked again it is the same port; another can be had besides; one in use is said", async () => {
    expect(port).toBeGreaterThanOrEqual(20_000);
    expect(await open(0)).toBe(port);
    expect(await open(port)).toBe(port);
    expect(await open(18_001)).toBe(18_001);
    expect((await curl(`http://${ip}:${HTTP}/`, "--socks5", 18_001)).stdout).toBe("hello\n");
    expect(await open(HTTP)).toBe(
      "Cannot listen on 127.0.0.1:8000: the address is in use (stop the other program or choose another port)\n",
    );
    expect((await lab.api("POST", "/limanet/socks", { port: "x" })).status).toBe(400);
  });

  test("it is on the host's loopback only", async () => {
    const { stdout } = await lab.host.run("ss", "-Htln", `sport = :${port}`);
    expect(stdout).toContain(`127.0.0.1:${port} `);
    expect(stdout.trim().split("\n")).toHaveLength(1);
  });
});
