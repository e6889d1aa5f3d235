/** Ports of the host that lead into guests, made and ended through the control API. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  canMakeNamespaces,
  GATEWAY,
  HOSTS,
  NETTOOL,
  testOf,
  type Guest,
  type Lab,
} from "../support/lab.ts";

const GUEST_HTTP = 8000;
const GUEST_ECHO = 7003;
const GUEST_HALF_CLOSE = 7004;
const GUEST_TCP_ECHO = 7005;

describe.skipIf(!canMakeNamespaces).each(HOSTS)("forwards and the API over %s", (host, openLab) => {
  let lab: Lab;
  let guest: Guest;
  let ip: string;
  beforeAll(async () => {
    lab = await openLab();
    guest = await lab.guest();
    ip = (await guest.dhcp())["ip"]!;
    writeFileSync(join(lab.folder, "index.html"), "hello from the guest\n");
    await guest.serve(
      ...(["tcp", GUEST_HTTP, "busybox", "httpd", "-f", "-p", String(GUEST_HTTP)] as const),
      ...["-h", lab.folder],
    );
    await guest.serve("udp", GUEST_ECHO, NETTOOL, "udpecho", String(GUEST_ECHO), "0.0.0.0");
  });
  afterAll(() => lab.close());

  const expose = (local: string, port: number, protocol: string) =>
    lab.api("POST", "/services/forwarder/expose", { local, remote: `${ip}:${port}`, protocol });
  const unexpose = (local: string, protocol: string) =>
    lab.api("POST", "/services/forwarder/unexpose", { local, protocol });
  const curl = (...words: string[]) => lab.host.run("curl", "-s", "-m", "5", ...words);

  test("a TCP forward leads to the guest until it is ended", async () => {
    expect(await expose("127.0.0.1:18000", GUEST_HTTP, "tcp")).toMatchObject({ status: 200 });
    expect((await curl("http://127.0.0.1:18000/")).stdout).toBe("hello from the guest\n");
    const all = JSON.parse((await lab.api("GET", "/services/forwarder/all")).body) as unknown;
    expect(all).toEqual([
      { local: "127.0.0.1:18000", remote: `${ip}:${GUEST_HTTP}`, protocol: "tcp" },
    ]);
    expect(await unexpose("127.0.0.1:18000", "tcp")).toMatchObject({ status: 200 });
    expect((await curl("http://127.0.0.1:18000/")).code).toBe(7);
  });

  test("through a TCP forward 200 sizes from one octet to 2.9 MB come back octet for octet", async () => {
    await guest.serve(
      ...(["tcp", GUEST_TCP_ECHO, NETTOOL, "serve", String(GUEST_TCP_ECHO), "0.0.0.0"] as const),
    );
    expect(await expose("127.0.0.1:18005", GUEST_TCP_ECHO, "tcp")).toMatchObject({ status: 200 });
    const { stdout } = await lab.host.run(NETTOOL, "sizes", "127.0.0.1", "18005", "200", "16");
    expect(JSON.parse(stdout)).toMatchObject({ ok: 200, bad: 0 });
    await unexpose("127.0.0.1:18005", "tcp");
  });

  test("through a TCP forward a half-close and a reset arrive as what they are", async () => {
    const server = `
import socket, struct, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", ${GUEST_HALF_CLOSE})); s.listen()
while True:
    c, _ = s.accept()
    asked = b""
    while True:
        piece = c.recv(65536)
        if not piece: break
        asked += piece
        if asked == b"reset me": break
    if asked == b"reset me":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        c.sendall(b"all of it: %d " % len(asked) + b"x" * 300000)
    c.close()
`;
    await guest.serve("tcp", GUEST_HALF_CLOSE, "python3", "-c", server);
    expect(await expose("127.0.0.1:18005", GUEST_HALF_CLOSE, "tcp")).toMatchObject({
      status: 200,
    });
    const client = `
import socket
s = socket.create_connection(("127.0.0.1", 18005), 10)
s.sendall(b"y" * 200000)
s.shutdown(socket.SHUT_WR)
got = b""
while True:
    piece = s.recv(65536)
    if not piece: break
    got += piece
print(got[:18].decode(), len(got))
s = socket.create_connection(("127.0.0.1", 18005), 10)
s.sendall(b"reset me")
try:
    print("end" if s.recv(1) == b"" else "text")
except ConnectionResetError:
    print("reset")
`;
    const { stdout, stderr } = await lab.host.run("python3", "-c", client);
    expect(stderr).toBe("");
    expect(stdout).toBe("all of it: 200000  300018\nreset\n");
  });

  test("a UDP forward carries datagrams of several clients both ways", async () => {
    expect(await expose("127.0.0.1:18001", GUEST_ECHO, "udp")).toMatchObject({ status: 200 });
    const { stdout } = await lab.host.run(NETTOOL, "udpflows", "127.0.0.1", "18001", "50");
    expect(JSON.parse(stdout)).toMatchObject({ replied: 50 });
    expect(await unexpose("127.0.0.1:18001", "udp")).toMatchObject({ status: 200 });
  });

  test("a unix socket of the host leads to the guest", async () => {
    const path = join(lab.folder, "guest-http.sock");
    expect(await expose(path, GUEST_HTTP, "unix")).toMatchObject({ status: 200 });
    const { stdout } = await curl("--unix-socket", path, "http://guest/");
    expect(stdout).toBe("hello from the guest\n");
  });

  test("a forward to a guest's closed port is closed, not left hanging", async () => {
    expect(await expose("127.0.0.1:18002", 9, "tcp")).toMatchObject({ status: 200 });
    // 52: no answer; 56: reset; 7: the reset came before curl had looked at its connection
    expect([7, 52, 56]).toContain((await curl("http://127.0.0.1:18002/")).code);
  });

  // the sentences are the fast host's
  testOf(host)("what cannot be forwarded is told in a sentence", async () => {
    await lab.host.serve("tcp", 18003, NETTOOL, "serve", "18003", "127.0.0.1");
    const taken = await expose("127.0.0.1:18003", GUEST_HTTP, "tcp");
    expect(taken.status).toBe(500);
    expect(taken.body).toMatch(/127\.0\.0\.1:18003.*in use/);
    await expose("127.0.0.1:18004", GUEST_HTTP, "tcp");
    const twice = await expose("127.0.0.1:18004", GUEST_HTTP, "tcp");
    expect(twice).toMatchObject({ status: 500 });
    expect(twice.body).toContain("proxy already running");
    expect((await unexpose("127.0.0.1:18999", "tcp")).body).toContain("proxy not found");
    expect((await expose("nowhere", GUEST_HTTP, "tcp")).status).toBe(400);
  });

  test("/extension/wait_port waits for a guest's port", async () => {
    const open = await lab.api("GET", `/extension/wait_port?ip=${ip}&port=${GUEST_HTTP}&timeout=5`);
    expect(open.status).toBe(200);
    const closed = await lab.api("GET", `/extension/wait_port?ip=${ip}&port=9&timeout=0`);
    expect(closed.status).toBe(408);
  });

  // the plain host takes over no descriptors
  testOf(host)("/tunnel becomes a connection to a guest's port", async () => {
    const script = `
import socket
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect("${lab.socket("api")}")
s.sendall(b"GET /tunnel?ip=${ip}&port=${GUEST_HTTP} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
data = s.recv(2)
assert data == b"OK", data
s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
while True:
    piece = s.recv(4096)
    if not piece: break
    data += piece
print(data.decode())`;
    const { stdout, stderr } = await lab.host.run("python3", "-c", script);
    expect(stderr).toBe("");
    expect(stdout).toContain("hello from the guest");
  });

  test("the API's socket is the user's alone, and no guest reaches the API by any port", async () => {
    expect(statSync(lab.socket("api")).mode & 0o777).toBe(0o600);
    const { stdout } = await guest.run(
      ...["python3", "-c"],
      `import socket
for port in (80, 443, 8080, 22, 10809):
    s = socket.socket(); s.settimeout(2)
    print(s.connect_ex(("${GATEWAY}", port)))`,
    );
    expect(stdout).toBe("111\n".repeat(5));
  });

  test("/cam and /stats tell of the guests", async () => {
    expect(Object.keys(JSON.parse((await lab.api("GET", "/cam")).body) as object)).toEqual([
      "52:55:55:00:00:10",
    ]);
    const stats = await lab.stats();
    // a datagram socket is a port only once a guest has come by it
    expect(stats["ports"]).toBe(1);
    expect(stats["BytesReceived"]).toBeGreaterThan(0);
  });
});
