/** Connections of the host that are made, or refused, while they are started, and how their owners hear of it. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostTarget } from "../../lib/flow/host-sockets.ts";
import { EventLoop } from "../../lib/host/event-loop.ts";
import { StreamSockets } from "../../lib/host/stream-sockets.ts";
import { VectoredIo } from "../../lib/host/vectored-io.ts";
import { Gather } from "../../lib/storage/gather.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { until } from "../support/until.ts";

const LOOPBACK = 0x7f000001;
let folder: string;
let server: Server;
let loop: EventLoop;
let sockets: StreamSockets;
let told: string[];
const owner = {
  onHostConnected: () => void told.push("connected"),
  onHostConnectFailed: (_now: number, why: string) => void told.push(why),
  onHostReadable: () => {},
  onHostWritable: () => void told.push("room"),
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-streams-"));
  server = createServer();
  loop = new EventLoop();
  sockets = new StreamSockets(loop, new VectoredIo(new PacketMemory(1 << 20)), () => 0);
  told = [];
});
afterEach(() => {
  server.close();
  loop.close();
  rmSync(folder, { recursive: true, force: true });
});

/** a target where somebody listens */
async function served(kind: HostTarget["kind"]): Promise<HostTarget> {
  const path = join(folder, "s");
  await new Promise<void>((resolve) =>
    kind === "unix" ? server.listen(path, resolve) : server.listen(0, "127.0.0.1", resolve),
  );
  const address = server.address();
  if (typeof address !== "object" || address === null) return { kind: "unix", path };
  return { kind: "ipv4", address: LOOPBACK, port: address.port };
}

test.each(["ipv4", "unix"] as const)(
  "%s: a connection is made at once, and nobody is told",
  async (kind) => {
    const handle = sockets.connect(await served(kind), owner) as number;
    expect(sockets.isConnected(handle)).toBe(true);
    loop.wait(100);
    expect(told).toEqual([]);
    sockets.close(handle);
  },
);

test("a refusal is told at once", async () => {
  const target = await served("ipv4");
  await new Promise((resolve) => server.close(resolve));
  expect(sockets.connect(target, owner)).toBe("refused");
});

test.each(["ipv4", "unix"] as const)(
  "%s: room is told of once a write has come short, and again each time",
  async (kind) => {
    const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
    const handle = sockets.connect(await served(kind), owner) as number;
    const peer = await accepted;
    peer.pause();
    const whole = new Gather(1);
    whole.add(0, 1 << 19);
    const fill = (): void => {
      while (sockets.write(handle, whole) === whole.octets) loop.wait(0);
    };
    for (let times = 0; times < 2; times++) {
      fill();
      loop.wait(0);
      told.length = 0;
      // a full socket takes nothing, and nobody is told that it does
      expect(sockets.write(handle, whole)).toBe(0);
      loop.wait(0);
      expect(told).toEqual([]);
      peer.resume();
      for (let tries = 0; tries < 500 && told.length === 0; tries++) {
        await Bun.sleep(2);
        loop.wait(0);
      }
      expect(told[0]).toBe("room");
      peer.pause();
    }
    sockets.close(handle);
    peer.destroy();
  },
);

test("a descriptor that is used again has events of its own alone", async () => {
  const target = await served("ipv4");
  const first = sockets.connect(target, owner) as number;
  loop.wait(0);
  sockets.close(first);
  loop.wait(0);
  const other: string[] = [];
  const second = sockets.connect(target, {
    ...owner,
    onHostReadable: () => void other.push("readable"),
  }) as number;
  expect(second).toBe(first);
  // the first one's peer ends its side as well
  await Bun.sleep(20);
  loop.wait(20);
  expect(told).toEqual([]);
  expect(other).toEqual([]);
  sockets.close(second);
});

/** connections that came, and how many of them have ended */
async function counted(): Promise<{ target: HostTarget; came: number; ended: number }> {
  const found = { target: await served("ipv4"), came: 0, ended: 0 };
  server.on("connection", (peer) => {
    found.came++;
    peer.resume();
    peer.on("end", () => found.ended++);
  });
  return found;
}

test.each(["shutdownWrite", "close"] as const)(
  "%s is carried out when the loop waits, which a turn does once its answers have left",
  async (end) => {
    const found = await counted();
    const handle = sockets.connect(found.target, owner) as number;
    sockets[end](handle);
    await until(() => found.came === 1);
    await Bun.sleep(20);
    expect(found.ended).toBe(0);
    loop.wait(0);
    await until(() => found.ended === 1);
    expect(found.ended).toBe(1);
    if (end === "shutdownWrite") sockets.close(handle);
  },
);

test("not more than 64 sockets are open after they were closed", async () => {
  const found = await counted();
  for (let i = 0; i < 70; i++) sockets.close(sockets.connect(found.target, owner) as number);
  await until(() => found.came === 70 && found.ended === 64);
  await Bun.sleep(20);
  expect([found.came, found.ended]).toEqual([70, 64]);
});

test("sockets are closed with the loop", async () => {
  const found = await counted();
  sockets.close(sockets.connect(found.target, owner) as number);
  loop.close();
  await until(() => found.ended === 1);
  expect(found.ended).toBe(1);
  loop = new EventLoop();
});
