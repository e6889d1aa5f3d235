/**
 * What programs see of TCP on a Linux guest, over a wire that loses, doubles, swaps and breaks frames, and in what TCP seldom
 * does: the same rows with the daemon between guest and server, and with nothing but the wire between the two, where Linux is
 * its own peer.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { impair, type ImpairedFrames } from "../support/impaired-wire.ts";
import { canMakeNamespaces, FAR_ADDRESS, Lab, plugIn, Space, type Pump } from "../support/lab.ts";
import { RawGuest } from "../support/raw-guest.ts";

const PORT = 7300;
const SEED = 20_261_129;
const BAD = { loss: 0.02, duplicate: 0.02, reorder: 0.05, corrupt: 0.01 };
const GOOD = { loss: 0, duplicate: 0, reorder: 0, corrupt: 0 };

/** `c` is the accepted, or the connected socket; what the row says of them is what they print */
interface Row {
  name: string;
  /** in both programs, before sockets are made */
  common?: string;
  /** before the client connects, with `c` not connected yet */
  prepare?: string;
  server: string;
  client: string;
  /** instead of the program's own connecting */
  connect?: string;
  says: { server: string; client: string };
  isBad?: true;
}

const COMMON = `
import errno, random, socket, struct, time
def data(seed, count): return random.Random(seed).randbytes(count)
def read_all(c, most=65536):
    heard = b""
    while True:
        piece = c.recv(most)
        if not piece: return heard
        heard += piece
def read(c, count):
    heard = b""
    while len(heard) < count:
        piece = c.recv(count - len(heard))
        if not piece: raise SystemExit("closed at %d" % len(heard))
        heard += piece
    return heard
def says(what): print(what, flush=True)
`;

const SAME = "the octets that were sent\n";
const BOTH = { server: SAME, client: SAME };
const EXCHANGE = (server: number, client: number) => ({
  server: `
c.sendall(data(1, ${server})); c.shutdown(socket.SHUT_WR)
says("the octets that were sent" if read_all(c) == data(2, ${client}) else "others")`,
  client: `
import threading
sender = threading.Thread(target=lambda: (c.sendall(data(2, ${client})), c.shutdown(socket.SHUT_WR)))
sender.start()
says("the octets that were sent" if read_all(c) == data(1, ${server}) else "others")
sender.join()`,
});

const ROWS: Row[] = [
  {
    name: "loss, reordering, doubles and wrong checksums (RFC 9293 3.8, RFC 6675, RFC 7323)",
    ...EXCHANGE(200_000, 150_000),
    says: BOTH,
    isBad: true,
  },
  {
    name: "the same without selective acknowledgements and timestamps (RFC 5681, RFC 6582)",
    common: `
for name in ("sack", "timestamps"): open("/proc/sys/net/ipv4/tcp_" + name, "w").write("0")`,
    ...EXCHANGE(100_000, 80_000),
    says: BOTH,
    isBad: true,
  },
  {
    name: "a guest whose window is tiny (RFC 9293 3.8.6.2)",
    prepare: "c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)",
    ...EXCHANGE(60_000, 1000),
    says: BOTH,
  },
  {
    name: "segments of one octet, there and back (RFC 9293 3.7.4)",
    server: `
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for octet in data(3, 200):
    heard = read(c, 1)
    if heard[0] != octet: raise SystemExit("another octet")
    c.sendall(heard)
says("echoed")`,
    client: `
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for octet in data(3, 200): c.sendall(bytes([octet]))
says("the octets that were sent" if read(c, 200) == data(3, 200) else "others")`,
    says: { server: "echoed\n", client: SAME },
  },
  {
    name: "half-close by the guest: the answer comes after its end (RFC 9293 3.6)",
    server: `
heard = read_all(c)
c.sendall(data(1, 100000)); c.close()
says("the octets that were sent" if heard == data(2, 40000) else "others")`,
    client: `
c.sendall(data(2, 40000)); c.shutdown(socket.SHUT_WR)
says("the octets that were sent" if read_all(c) == data(1, 100000) else "others")`,
    says: BOTH,
  },
  {
    name: "half-close by the server: the guest goes on (RFC 9293 3.6)",
    server: `
c.shutdown(socket.SHUT_WR)
says("the octets that were sent" if read_all(c) == data(2, 40000) else "others")`,
    client: `
says("end" if c.recv(1) == b"" else "octets")
c.sendall(data(2, 40000)); c.close()`,
    says: { server: SAME, client: "end\n" },
  },
  {
    name: "urgent data stands in its place (RFC 9293 3.8.5, RFC 6093)",
    server: `
c.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
c.sendall(b"go")
says(read_all(c).decode())`,
    client: `
read(c, 2)
c.sendall(b"one "); c.send(b"!", socket.MSG_OOB); c.sendall(b" two"); c.close()
says("said")`,
    says: { server: "one ! two\n", client: "said\n" },
  },
  {
    name: "keepalive: a silent connection is asked, and lives (RFC 9293 3.8.4)",
    server: "c.sendall(read(c, 3)); says(read(c, 3).decode())",
    client: `
c.sendall(b"ask"); read(c, 3)
for name, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
    c.setsockopt(socket.IPPROTO_TCP, name, value)
c.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
# with two questions unanswered it would be over
time.sleep(4.5)
c.sendall(b"yet"); says("alive")`,
    says: { server: "yet\n", client: "alive\n" },
  },
  {
    name: "zero window: the server does not read, and then does (RFC 9293 3.8.6.1)",
    server: `
time.sleep(2)
heard = read_all(c)
says("the octets that were sent" if heard == data(2, 4000000) else "others")`,
    client: `
c.settimeout(60)
c.sendall(data(2, 4000000)); c.close(); says("said")`,
    says: { server: SAME, client: "said\n" },
  },
  {
    name: "zero window: the guest does not read, and then does (RFC 9293 3.8.6.1)",
    server: `
c.settimeout(60)
c.sendall(data(1, 4000000)); c.close(); says("said")`,
    client: `
time.sleep(2)
says("the octets that were sent" if read_all(c) == data(1, 4000000) else "others")`,
    says: { server: "said\n", client: SAME },
  },
  {
    name: "text with the SYN, by TCP fast open without a cookie (RFC 9293 3.10.7.2, RFC 7413)",
    common: `open("/proc/sys/net/ipv4/tcp_fastopen", "w").write("5")`,
    connect: `c.sendto(b"early", socket.MSG_FASTOPEN, TO)`,
    server: `says(read(c, 5).decode()); c.sendall(b"late")`,
    client: `says(read(c, 4).decode())`,
    says: { server: "early\n", client: "late\n" },
  },
  {
    name: "the same ports again and again, out of the server's TIME-WAIT (RFC 9293 3.6.1, RFC 1122 4.2.2.13)",
    prepare: "c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)",
    server: `
for n in range(20):
    c.sendall(b"%02d" % n); c.shutdown(socket.SHUT_WR); read_all(c); c.close()
    if n < 19: c, _ = l.accept()
says("twenty")`,
    client: `
for n in range(20):
    if read_all(c) != b"%02d" % n: raise SystemExit("another connection")
    port = c.getsockname()[1]; c.close()
    if n == 19: break
    while True:
        c = socket.socket(); c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); c.settimeout(60)
        try:
            c.bind(("", port)); c.connect(TO)
            break
        except OSError as error:
            # the last acknowledgement of before is not here yet
            if error.errno != errno.EADDRNOTAVAIL: raise
            c.close(); time.sleep(0.01)
says("twenty")`,
    says: { server: "twenty\n", client: "twenty\n" },
  },
  {
    name: "resets that somebody else injects, within the window and not exact, end nothing (RFC 5961 3.2)",
    server: `
while True:
    heard = c.recv(100)
    if not heard: break
    c.sendall(heard)
says("end")`,
    client: `
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
sniffer.bind(("tap0", 0x0003)); sniffer.settimeout(10)
c.sendall(b"first"); read(c, 5)
port = struct.pack("!H", c.getsockname()[1])
while True:
    packet = sniffer.recv(2000)
    at = (packet[0] & 15) * 4
    if packet[0] >> 4 == 4 and packet[9] == 6 and packet[at:at + 2] == port and packet[-5:] == b"first": break
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def total(octets):
    if len(octets) & 1: octets += bytes(1)
    n = sum(struct.unpack("!%dH" % (len(octets) // 2), octets))
    while n >> 16: n = (n & 65535) + (n >> 16)
    return n
seq, = struct.unpack("!I", packet[at + 4:at + 8])
for beyond in (6, 100, 1000, 5000, 10000):
    segment = packet[at:at + 4] + struct.pack("!IIBBHHH", (seq + beyond) & 0xffffffff, 0, 0x50, 4, 0, 0, 0)
    pseudo = packet[12:20] + struct.pack("!BBH", 0, 6, 20)
    segment = segment[:16] + struct.pack("!H", 65535 - total(pseudo + segment)) + segment[18:]
    raw.sendto(bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]) + packet[12:20] + segment, (TO[0], 0))
    c.sendall(b"still"); read(c, 5)
says("still there"); c.close()`,
    says: { server: "end\n", client: "still there\n" },
  },
];

/** Where a row is played: a guest, a server's place, and the server's address as the guest sees it. */
interface Place {
  guest: Space;
  server: Space;
  address: string;
  close(): Promise<void>;
}

let impaired: ImpairedFrames;
let folder: string;

/** A socket at which a guest's wire begins, which leads to `other` and is as bad as told. */
async function wireTo(name: string, isBad: boolean, other: () => Promise<RawGuest>) {
  const path = join(folder, `${name}.sock`);
  const near = RawGuest.awaitOne(path);
  const joined = near.then(async (one) => {
    const far = await other();
    impaired = impair(one, far, isBad ? BAD : GOOD, SEED);
    return [one, far];
  });
  return { path, close: async () => (await joined).forEach((end) => end.close()) };
}

async function withDaemon(isBad: boolean): Promise<Place> {
  const lab = await Lab.open();
  const wire = await wireTo("daemon", isBad, async () => new RawGuest(lab.socket("stream")));
  const guest = await lab.guest({ socket: wire.path });
  await guest.ip("addr", "add", "192.168.104.77/24", "dev", "tap0");
  await guest.ip("route", "add", "default", "via", "192.168.104.2");
  return {
    guest,
    server: lab.far,
    address: FAR_ADDRESS,
    async close() {
      await lab.close();
      await wire.close();
    },
  };
}

async function linuxAlone(isBad: boolean): Promise<Place> {
  const spaces = ["a", "b"].map((name) => new Space(`peer${process.pid}${name}`));
  const pumps: Pump[] = [];
  const far = RawGuest.awaitOne(join(folder, "far.sock"));
  const wire = await wireTo("near", isBad, () => far);
  for (const [index, path] of [wire.path, join(folder, "far.sock")].entries()) {
    const space = spaces[index]!;
    await space.open({});
    pumps.push(await plugIn(space, path, "stream", `52:55:55:00:01:0${index}`, 1500));
    await space.ip("addr", "add", `192.168.104.${77 + index}/24`, "dev", "tap0");
  }
  return {
    guest: spaces[0]!,
    server: spaces[1]!,
    address: "192.168.104.78",
    async close() {
      for (const pump of pumps) pump.kill("SIGTERM");
      for (const space of spaces) await space.close();
      await wire.close();
    },
  };
}

async function play(row: Row, { guest, server, address }: Place): Promise<Row["says"]> {
  const listening = await server.serve(
    ...(["tcp", PORT, "python3", "-u", "-c"] as const),
    `${COMMON}${row.common ?? ""}
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(("${address}", ${PORT})); l.listen(); c, _ = l.accept(); c.settimeout(60)
${row.server}`,
  );
  const client = await guest.run(
    ...["python3", "-u", "-c"],
    `${COMMON}${row.common ?? ""}
TO = ("${address}", ${PORT})
c = socket.socket(); c.settimeout(60)
${row.prepare ?? ""}
${row.connect ?? "c.connect(TO)"}
${row.client}`,
  );
  // nobody else comes
  if (client.code !== 0) listening.kill("SIGTERM");
  const said = await new Response(listening.stdout).text();
  const wrong = await new Response(listening.stderr).text();
  return { server: said + wrong, client: client.stdout + client.stderr };
}

describe.skipIf(!canMakeNamespaces).each([
  ["a daemon between guest and server", withDaemon],
  ["two Linux machines on one wire", linuxAlone],
] as const)("%s", (_name, makePlace) => {
  describe.each([
    ["a good wire", false],
    ["a bad wire", true],
  ] as const)("%s", (_wire, isBad) => {
    let place: Place;
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "limanet-peers-"));
      place = await makePlace(isBad);
    }, 120_000);
    afterAll(async () => {
      await place.close();
      rmSync(folder, { recursive: true });
      if (!isBad) return;
      for (const count of Object.values(impaired)) expect(count).toBeGreaterThan(0);
    });

    test.each(ROWS.filter((row) => (row.isBad === true) === isBad))(
      "$name",
      async (row) => {
        expect(await play(row, place)).toEqual(row.says);
      },
      120_000,
    );
  });
});
