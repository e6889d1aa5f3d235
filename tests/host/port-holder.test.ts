/** Who has a port: found in the kernel's tables, for processes of our own and of others. */
import { afterAll, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { createServer, type AddressInfo } from "node:net";
import { portHolder } from "../../lib/host/port-holder.ts";

const closers: (() => void)[] = [];
afterAll(() => closers.forEach((close) => close()));

async function tcpServer(host: string): Promise<number> {
  const server = createServer().listen(0, host);
  await new Promise((resolve) => server.once("listening", resolve));
  closers.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

const SELF = { pid: process.pid };

test.each([
  ["127.0.0.1", "127.0.0.1"],
  ["0.0.0.0", "127.0.0.1"],
  ["127.0.0.1", "0.0.0.0"],
  ["::1", "::1"],
  ["::", "127.0.0.1"],
])("a TCP listener on %s is found by whoever wants %s", async (host, wanted) => {
  const port = await tcpServer(host);
  expect(portHolder("tcp", wanted, port)).toMatchObject({
    process: SELF,
    uid: process.getuid!(),
  });
  expect(portHolder("udp", wanted, port)).toBeUndefined();
});

test("a listener on another address is in nobody's way", async () => {
  const port = await tcpServer("127.0.0.1");
  expect(portHolder("tcp", "127.0.0.2", port)).toBeUndefined();
});

test("a UDP socket is found, with its process's name", async () => {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  closers.push(() => socket.close());
  expect(portHolder("udp", "127.0.0.1", socket.address().port)?.process).toEqual({
    pid: process.pid,
    name: (await Bun.file("/proc/self/comm").text()).trim(),
  });
});

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("skipped: processes of other users (needs root)\n");
test.skipIf(!isRoot)("a process of another user is told by the user alone", async () => {
  const port = await tcpServer("127.0.0.1");
  const script = `
import { portHolder } from "${new URL("../../lib/host/port-holder.ts", import.meta.url).pathname}";
console.log(JSON.stringify(portHolder("tcp", "127.0.0.1", ${port})));`;
  const asNobody = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
  ];
  const child = Bun.spawn([...asNobody, process.execPath, "-e", script], {
    env: { HOME: "/tmp", BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0" },
  });
  expect(JSON.parse(await new Response(child.stdout).text())).toEqual({ uid: 0 });
});
