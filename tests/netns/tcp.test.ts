/** TCP between a guest's real stack and servers of the host's. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  canMakeNamespaces,
  DEAD_ADDRESS,
  FAR_ADDRESS,
  GATEWAY,
  HOSTS,
  NETTOOL,
  testOf,
  UNREACHABLE_ADDRESS,
  type Guest,
  type Lab,
} from "../support/lab.ts";

const HTTP = 8080;
const ECHO = 7001;
const IPERF = 5201;
/** where a small server of a test's own listens */
const OWN = 7100;

describe.skipIf(!canMakeNamespaces).each(HOSTS)("TCP over %s", (host, openLab) => {
  let lab: Lab;
  let guest: Guest;
  beforeAll(async () => {
    lab = await openLab();
    writeFileSync(join(lab.folder, "index.html"), "hello from the host's loopback\n");
    await lab.host.serve(
      ...(["tcp", HTTP, "busybox", "httpd", "-f", "-p", `127.0.0.1:${HTTP}`] as const),
      ...["-h", lab.folder],
    );
    await lab.host.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), "127.0.0.1");
    await lab.far.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), FAR_ADDRESS);
    await lab.host.serve("tcp", IPERF, "iperf3", "-s", "-B", "127.0.0.1");
    guest = await lab.guest();
    await guest.dhcp();
  });
  afterAll(() => lab.close());

  test("curl fetches from a server on the host's loopback by name", async () => {
    const { stdout } = await guest.run(
      "curl",
      "-s",
      "-m",
      "5",
      `http://host.lima.internal:${HTTP}/`,
    );
    expect(stdout).toBe("hello from the host's loopback\n");
  });

  /** what connect() of a guest says: "connected", or the error's name */
  const connect = async (address: string, port: number, seconds = 3) => {
    const script = `
import socket, errno
try:
    socket.create_connection(("${address}", ${port}), ${seconds})
    print("connected")
except socket.timeout:
    print("timeout")
except OSError as error:
    print(errno.errorcode[error.errno])`;
    return (await guest.run("python3", "-c", script)).stdout.trim();
  };

  test("a port where nobody listens is refused", async () => {
    expect(await connect(GATEWAY, 9)).toBe("ECONNREFUSED");
    expect(await connect(FAR_ADDRESS, 9)).toBe("ECONNREFUSED");
  });

  // the runtime tells whatever has failed as refused
  testOf(host)("what the host cannot reach is told as unreachable", async () => {
    expect(await connect(UNREACHABLE_ADDRESS, 80)).toBe("EHOSTUNREACH");
  });

  test("a dead machine is never answered for", async () => {
    expect(await connect(DEAD_ADDRESS, 80, 1.5)).toBe("timeout");
  });

  /** Runs one Python program as a server (variable `c`: the accepted connection), one as client (`c`: connected). */
  const talk = async (server: string, client: string) => {
    const indent = (text: string) => text.trim().replaceAll(/^/gm, "");
    const listening = lab.host.serve(
      ...(["tcp", OWN, "python3", "-u", "-c"] as const),
      `import socket, struct
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(("127.0.0.1", ${OWN})); l.listen(); c, _ = l.accept(); c.settimeout(5)
RESET = struct.pack("ii", 1, 0)
${indent(server)}`,
    );
    const process = await listening;
    const outcome = await guest.run(
      ...["python3", "-u", "-c"],
      `import socket, struct
c = socket.create_connection(("${GATEWAY}", ${OWN}), 5)
RESET = struct.pack("ii", 1, 0)
${indent(client)}`,
    );
    await process.exited;
    const said = await new Response(process.stdout).text();
    const wrong = await new Response(process.stderr).text();
    return { server: said + wrong, client: outcome.stdout + outcome.stderr };
  };
  const READ_ALL = `
data = bytearray()
while True:
    piece = c.recv(65536)
    if not piece: break
    data += piece`;

  test("the guest closes its side first and still gets all of the answer", async () => {
    const { client, server } = await talk(
      `${READ_ALL}\nprint(len(data))\nc.sendall(b"a" * 300000)\nc.close()`,
      `c.sendall(b"q" * 100000)\nc.shutdown(socket.SHUT_WR)\n${READ_ALL}\nprint(len(data))`,
    );
    expect({ client, server }).toEqual({ client: "300000\n", server: "100000\n" });
  });

  test("the host's server closes its side first and still gets all that the guest has to say", async () => {
    const { client, server } = await talk(
      `c.sendall(b"greeting")\nc.shutdown(socket.SHUT_WR)\n${READ_ALL}\nprint(len(data))`,
      `${READ_ALL}\nprint(data.decode())\nc.sendall(b"z" * 300000)\nc.close()`,
    );
    expect({ client, server }).toEqual({ client: "greeting\n", server: "300000\n" });
  });

  const EXPECT_RESET = `
try:
    while c.recv(1000): pass
    print("end")
except ConnectionResetError:
    print("reset")`;
  const RESET = `c.recv(1)\nc.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)\nc.close()`;

  test("a reset by the host's server reaches the guest as a reset", async () => {
    const { client } = await talk(RESET, `c.sendall(b"x")\n${EXPECT_RESET}`);
    expect(client).toBe("reset\n");
  });

  test("a reset by the guest reaches the host's server as a reset", async () => {
    const { server } = await talk(`c.sendall(b"x")\n${EXPECT_RESET}`, RESET);
    expect(server).toBe("reset\n");
  });

  test("a server that does not read stops the guest, and nothing is lost when it goes on", async () => {
    const { client, server } = await talk(
      `import time, hashlib
c.recv(1, socket.MSG_PEEK)
time.sleep(1.5)
${READ_ALL}
print(hashlib.sha256(data).hexdigest())`,
      `import hashlib, random
data = random.Random(7).randbytes(24 << 20)
c.settimeout(20)
c.sendall(data)
c.close()
print(hashlib.sha256(data).hexdigest())`,
    );
    expect(server).toBe(client);
    expect(client).toMatch(/^[0-9a-f]{64}\n$/);
  });

  const transfers = async (address: string, count: number, octets: number) => {
    const outcome = await guest.run(
      ...[NETTOOL, "xfer", address, String(ECHO), String(count), "16", String(octets)],
    );
    return JSON.parse(outcome.stdout) as { ok: number; bad: number };
  };

  test("1000 transfers, half-closed and echoed, 16 at once, arrive octet for octet and leave nothing", async () => {
    const { tcpFlows } = await lab.stats();
    expect(await transfers(GATEWAY, 1000, 300_000)).toMatchObject({ ok: 1000, bad: 0 });
    // TIME-WAIT lasts two seconds
    while ((await lab.stats())["tcpFlows"]! > tcpFlows!) await Bun.sleep(50);
  });

  test("transfers of 200 sizes from one octet to 2.9 MB come back octet for octet", async () => {
    const { stdout } = await guest.run(NETTOOL, "sizes", GATEWAY, String(ECHO), "200", "16");
    expect(JSON.parse(stdout)).toMatchObject({ ok: 200, bad: 0 });
  });

  test("transfers over a link that loses 3 % each way arrive octet for octet", async () => {
    const lose = (action: string, chain: string) =>
      guest.run(
        ...["iptables", action, chain, "-m", "statistic", "--mode", "random"],
        ...["--probability", "0.03", "-j", "DROP"],
      );
    for (const chain of ["INPUT", "OUTPUT"]) expect((await lose("-A", chain)).code).toBe(0);
    expect(await transfers(GATEWAY, 24, 300_000)).toMatchObject({ ok: 24, bad: 0 });
    for (const chain of ["INPUT", "OUTPUT"]) expect((await lose("-D", chain)).code).toBe(0);
  });

  test("transfers to a machine beyond the host arrive octet for octet", async () => {
    expect(await transfers(FAR_ADDRESS, 50, 200_000)).toMatchObject({ ok: 50, bad: 0 });
  });

  test.each([
    ["up", []],
    ["down", ["-R"]],
    ["up, 8 at once", ["-P", "8"]],
    ["down, 8 at once", ["-R", "-P", "8"]],
  ])("iperf3 %s moves data", async (_name, options) => {
    const { stdout } = await guest.run(
      ...["iperf3", "-c", GATEWAY, "-p", String(IPERF), "-t", "1", "-J", ...options],
    );
    const { end } = JSON.parse(stdout) as { end: { sum_received: { bytes: number } } };
    expect(end.sum_received.bytes).toBeGreaterThan(1e6);
  });
});

describe.skipIf(!canMakeNamespaces).each(HOSTS)("large segments over %s", (_host, openLab) => {
  test.each([9000, 65_520])("transfers at MTU %d arrive octet for octet", async (mtu) => {
    const lab = await openLab("--mtu", String(mtu));
    try {
      await lab.host.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), "127.0.0.1");
      const guest = await lab.guest({ mtu });
      await guest.dhcp();
      const before = await lab.stats();
      const { stdout } = await guest.run(
        ...[NETTOOL, "xfer", GATEWAY, String(ECHO), "20", "4", "4000000"],
      );
      expect(JSON.parse(stdout)).toMatchObject({ ok: 20, bad: 0 });
      const after = await lab.stats();
      const octets = after["BytesSent"]! - before["BytesSent"]!;
      const frames = after["framesSent"]! - before["framesSent"]!;
      expect(octets / frames).toBeGreaterThan(mtu / 8);
      const sizes = await guest.run(NETTOOL, "sizes", GATEWAY, String(ECHO), "200", "16");
      expect(JSON.parse(sizes.stdout)).toMatchObject({ ok: 200, bad: 0 });
    } finally {
      await lab.close();
    }
  });
});
