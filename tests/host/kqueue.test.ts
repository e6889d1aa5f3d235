/** macOS' event loop: struct kevent as xnu's bsd/sys/event.h has it, and real sockets over a model of kqueue. */
import { describe, expect, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import { openPipe, openSocket } from "../../lib/host/descriptors.ts";
import { KEVENT_SIZE, KqueuePoller, putChange, readiness } from "../../lib/host/kqueue.ts";
import { abi, AF_INET, libc, SHUT_WR, SOCK_STREAM } from "../../lib/host/libc.ts";
import {
  EDGE_TRIGGERED,
  FAILED,
  HUNG_UP,
  PEER_DONE,
  READABLE,
  WRITABLE,
} from "../../lib/host/poller.ts";
import { ipv4SocketAddress } from "../../lib/host/socket-address.ts";

const EV_EOF = 0x8000;
const EV_ERROR = 0x4000;

test("a change has the octets of struct kevent", () => {
  const view = new DataView(new ArrayBuffer(KEVENT_SIZE));
  new Uint8Array(view.buffer).fill(0xff);
  putChange(view, 0, 0x102, -2, 0x21, 0x0a0b0c0d);
  expect([...new Uint8Array(view.buffer)]).toEqual([
    ...[0x02, 0x01, 0, 0, 0, 0, 0, 0],
    ...[0xfe, 0xff, 0x21, 0x00, 0, 0, 0, 0],
    ...[0, 0, 0, 0, 0, 0, 0, 0],
    ...[0x0d, 0x0c, 0x0b, 0x0a, 0, 0, 0, 0],
  ]);
});

test.each([
  ["octets to read", -1, 0, 0, READABLE],
  ["room to write", -2, 0, 0, WRITABLE],
  ["the peer writes no more", -1, EV_EOF, 0, READABLE | PEER_DONE],
  ["the peer broke the connection", -1, EV_EOF, 54, READABLE | PEER_DONE | FAILED],
  ["nothing can be written any more", -2, EV_EOF, 0, WRITABLE | HUNG_UP],
  ["a connection refused", -2, EV_EOF, 61, WRITABLE | HUNG_UP | FAILED],
  ["a filter that failed", -1, EV_ERROR, 0, READABLE | FAILED],
])("%s", (_what, filter, flags, fflags, expected) => {
  const view = new DataView(new ArrayBuffer(KEVENT_SIZE));
  view.setInt16(8, filter, true);
  view.setUint16(10, flags, true);
  view.setUint32(12, fflags, true);
  expect(readiness(view, 0)).toBe(expected);
});

/** On a Mac its own kqueue; elsewhere the model, which scripts/side-by-side/build builds. */
const openQueue = () =>
  new KqueuePoller(
    process.platform === "darwin"
      ? abi.libraries
      : [new URL("../../.cache/side-by-side/kqueue.so", import.meta.url).pathname],
  );

describe("KqueuePoller", () => {
  /** events of one wait as [descriptor, tag, mask], those of writing left out unless there is an end */
  const wait = (poller: KqueuePoller, timeoutMs = 2000) => {
    const count = poller.wait(timeoutMs);
    const all = Array.from({ length: count }, (_, i) => [
      poller.fdOf(i),
      poller.tagOf(i),
      poller.eventsOf(i),
    ]);
    return all.filter(([, , events]) => events !== WRITABLE);
  };
  const one = new Uint8Array(64);

  test("tells of a pipe as long as there is something, edge-triggered once", () => {
    const poller = openQueue();
    const [level, edge] = [openPipe(), openPipe()];
    if (typeof level === "number" || typeof edge === "number") throw new Error("no pipe");
    expect(poller.add(level.from, READABLE, -7)).toBe(0);
    expect(poller.add(edge.from, READABLE | EDGE_TRIGGERED, 8)).toBe(0);
    expect(poller.wait(0)).toBe(0);
    for (const pipe of [level, edge]) libc.write(pipe.to, one, 1);
    const both = wait(poller);
    expect(both).toHaveLength(2);
    expect(both).toContainEqual([level.from, -7, READABLE]);
    expect(both).toContainEqual([edge.from, 8, READABLE]);
    expect(wait(poller)).toEqual([[level.from, -7, READABLE]]);
    poller.remove(level.from);
    expect(poller.wait(10)).toBe(0);
    libc.write(edge.to, one, 1);
    expect(wait(poller)).toEqual([[edge.from, 8, READABLE]]);
    for (const { from, to } of [level, edge]) for (const fd of [from, to]) libc.close(fd);
    poller.close();
  });

  test("tells of writing only while that is watched", () => {
    const poller = openQueue();
    const pipe = openPipe();
    if (typeof pipe === "number") throw new Error("no pipe");
    expect(poller.add(pipe.to, WRITABLE | EDGE_TRIGGERED, 3)).toBe(0);
    expect([poller.wait(2000), poller.eventsOf(0)]).toEqual([1, WRITABLE]);
    expect(poller.change(pipe.to, READABLE | EDGE_TRIGGERED, 3)).toBe(0);
    expect(poller.wait(10)).toBe(0);
    expect(poller.change(pipe.to, READABLE | WRITABLE | EDGE_TRIGGERED, 3)).toBe(0);
    expect([poller.wait(2000), poller.eventsOf(0)]).toEqual([1, WRITABLE]);
    for (const fd of [pipe.from, pipe.to]) libc.close(fd);
    poller.close();
  });

  test("tells of a connection's end and of a refused one", async () => {
    const poller = openQueue();
    const accepted = Promise.withResolvers<Socket>();
    const server = createServer({ allowHalfOpen: true }, accepted.resolve);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const connect = (to: number) => {
      const fd = openSocket(AF_INET, SOCK_STREAM);
      const address = ipv4SocketAddress(0x7f000001, to);
      libc.connect(fd, address, address.length);
      poller.add(fd, READABLE | WRITABLE | PEER_DONE | EDGE_TRIGGERED, fd);
      return fd;
    };
    const fd = connect(port);
    expect(poller.wait(2000)).toBe(1);
    expect([poller.fdOf(0), poller.eventsOf(0)]).toEqual([fd, WRITABLE]);
    (await accepted.promise).end();
    let ended: number[][] = [];
    while (ended.length === 0) {
      await Bun.sleep(1);
      ended = wait(poller, 0);
    }
    expect(ended).toEqual([[fd, fd, READABLE | PEER_DONE]]);
    libc.shutdown(fd, SHUT_WR);
    poller.remove(fd);
    libc.close(fd);
    server.close();
    await new Promise((resolve) => server.once("close", resolve));
    const refused = connect(port);
    const masks = wait(poller).map(([, , events]) => events!);
    expect(masks.every((mask) => (mask & FAILED) !== 0)).toBe(true);
    expect(masks.length).toBeGreaterThan(0);
    libc.close(refused);
    poller.close();
  });
});
