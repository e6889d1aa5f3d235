/** TCP connections to descriptors, with real sockets on both sides. */
import { afterEach, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { proxyToDescriptors } from "../../lib/host/descriptor-proxy.ts";
import { SOCK_STREAM } from "../../lib/host/libc.ts";
import { openSocketPair } from "../../lib/host/descriptors.ts";

const LARGE = Buffer.alloc(8 << 20, "octets that tell their order 0123456789 ");
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** The guest's end of each connection, as a stream of Bun's. */
function proxy(guest: Bun.SocketHandler<undefined>): number {
  const listener = proxyToDescriptors(0, async () => {
    const [ours, theirs] = openSocketPair(SOCK_STREAM) as [number, number];
    const options = { fd: theirs, allowHalfOpen: true, socket: guest };
    await Bun.connect(options as unknown as Bun.UnixSocketOptions<undefined>);
    return ours;
  });
  closers.push(() => listener.stop(true));
  return listener.port;
}
const client = (port: number): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => resolve(socket));
  });
async function all(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of socket) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

test("octets pass both ways, and so does the end of sending", async () => {
  const heard: Buffer[] = [];
  const port = proxy({
    data: (_, octets) => void heard.push(octets),
    end(socket) {
      socket.write(`heard ${Buffer.concat(heard).toString()}`);
      socket.shutdown();
    },
  });
  const socket = await client(port);
  socket.end("SSH-2.0 hello");
  expect((await all(socket)).toString()).toBe("heard SSH-2.0 hello");
});

test.each(["shutdown", "end"] as const)(
  "what is large arrives whole at a slow reader before %s, and its writer waits",
  async (close) => {
    let sent = 0;
    const more = (socket: Bun.Socket<undefined>) => {
      while (sent < LARGE.length) {
        const taken = Math.max(socket.write(LARGE.subarray(sent)), 0);
        sent += taken;
        if (taken === 0) return;
      }
      socket[close]();
    };
    const socket = await client(proxy({ open: more, drain: more, data() {} }));
    socket.pause();
    await Bun.sleep(100);
    expect(sent).toBeLessThan(LARGE.length);
    expect((await all(socket)).equals(LARGE)).toBe(true);
  },
);

test("a large upload arrives whole, too", async () => {
  let heard = 0;
  const { promise, resolve } = Promise.withResolvers<number>();
  const port = proxy({
    data: (_, octets) => void (heard += octets.length),
    end: () => resolve(heard),
  });
  const socket = await client(port);
  socket.end(LARGE);
  expect(await promise).toBe(LARGE.length);
});

test("a guest that closes closes the client's connection, and the other way round", async () => {
  let closed = 0;
  const port = proxy({
    data: (socket) => void socket.end(),
    close: () => void closed++,
  });
  const first = await client(port);
  first.write("go");
  await all(first);
  const second = await client(port);
  await Bun.sleep(20);
  second.destroy();
  while (closed < 2) await Bun.sleep(5);
});

test("a guest that does not take the connection resets the client", async () => {
  const listener = proxyToDescriptors(0, () => Promise.reject(new Error("reset")));
  closers.push(() => listener.stop(true));
  const socket = await client(listener.port);
  await new Promise((resolve) => {
    socket.on("error", resolve);
    socket.on("close", resolve);
  });
});

test("a port that is taken is told", async () => {
  const server: Server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  expect(() => proxyToDescriptors(port, () => Promise.resolve(-1))).toThrow();
  server.close();
});
