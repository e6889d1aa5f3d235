/** A guest's stream: when its port is busy, and that those who wait for it are told when it is not any more. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { ptr } from "bun:ffi";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventLoop } from "../../lib/host/event-loop.ts";
import { openSocket } from "../../lib/host/descriptors.ts";
import { AF_UNIX, libc, SOCK_STREAM } from "../../lib/host/libc.ts";
import { unixSocketAddress } from "../../lib/host/socket-address.ts";
import { reservePortMemory, StreamPort } from "../../lib/host/stream-port.ts";
import { VectoredIo } from "../../lib/host/vectored-io.ts";
import { QEMU_FRAMING } from "../../lib/link/stream-framing.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";

const FRAME = 60_000;
let folder: string;
let server: Server;
let guest: Socket;
let port: StreamPort;
let loop: EventLoop;
let drained = 0;
let later: { receive(): void }[] = [];
let detached: string[] = [];
let frame: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "limanet-port-"));
  const path = join(folder, "s");
  const accepted = new Promise<Socket>((resolve) => {
    server = createServer(resolve).listen(path);
  });
  await new Promise((resolve) => server.once("listening", resolve));
  const fd = openSocket(AF_UNIX, SOCK_STREAM);
  const address = unixSocketAddress(path) as Uint8Array<ArrayBuffer>;
  expect(libc.connect(fd, ptr(address), address.length)).toBe(0);
  guest = await accepted;
  guest.pause();
  const memory = new PacketMemory(8 << 20);
  frame = memory.reserve(FRAME + 64) + 64;
  drained = 0;
  later = [];
  detached = [];
  loop = new EventLoop();
  port = new StreamPort(
    0,
    fd,
    QEMU_FRAMING,
    reservePortMemory(memory),
    new VectoredIo(memory),
    memory.octets,
    {
      now: () => 0,
      onFrame: () => {},
      settle: () => {},
      receiveLater: (put) => void later.push(put),
      flushLater: () => {},
      portDrained: () => drained++,
      detach: (_port, why) => void detached.push(why),
    },
  );
  port.watch(loop);
});
afterEach(() => {
  guest.destroy();
  libc.close(port.fd);
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test("a port with much to send is busy, and says so when it has sent it", () => {
  while (!port.busy) expect(port.transmit(frame, FRAME, 0, 0, 0, 0)).toBe(true);
  expect(drained).toBe(0);
  port.flush();
  expect<unknown[]>([port.busy, drained]).toEqual([false, 1]);
});

test("a port whose guest does not read is busy until it reads, and nothing that was taken is lost", async () => {
  let taken = 0;
  for (;;) {
    if (!port.transmit(frame, FRAME, 0, 0, 0, 0)) break;
    taken++;
    port.flush();
  }
  expect(port.busy).toBe(true);
  expect(port.dropped).toBe(1);
  const before = drained;
  let octets = 0;
  guest.on("data", (piece: Buffer) => (octets += piece.length));
  guest.resume();
  while (octets < taken * (FRAME + 4)) {
    loop.wait(0);
    await Bun.sleep(1);
  }
  expect(octets).toBe(taken * (FRAME + 4));
  expect(port.busy).toBe(false);
  expect(drained).toBeGreaterThan(before);
});

test("a guest that reads wakes nobody, unless its port waits for room", async () => {
  let octets = 0;
  guest.on("data", (piece: Buffer) => (octets += piece.length));
  guest.resume();
  port.transmit(frame, FRAME, 0, 0, 0, 0);
  port.flush();
  while (octets < FRAME + 4) await Bun.sleep(1);
  expect(loop.wait(0)).toBe(0);
  guest.pause();
  while (port.transmit(frame, FRAME, 0, 0, 0, 0)) port.flush();
  guest.resume();
  expect(loop.wait(0)).toBe(0);
  while (port.busy) {
    await Bun.sleep(1);
    loop.wait(0);
  }
  await Bun.sleep(50);
  expect(loop.wait(0)).toBe(0);
});

test("a guest that vanishes together with its last octets is noticed, once", async () => {
  loop.wait(0);
  await new Promise<void>((resolve) => guest.end(Uint8Array.of(0), resolve));
  guest.destroy();
  await Bun.sleep(50);
  // both are told by one event, or by one for each filter, and never again
  loop.wait(1000);
  while (later.length > 0) later.shift()!.receive();
  expect(port.octetsIn.total).toBe(1);
  expect(detached).toEqual(["the guest has gone"]);
  port.receive();
  expect(detached).toHaveLength(1);
});
