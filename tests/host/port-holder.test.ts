/** Who has a port: found in the kernel's tables, for processes of our own and of others. */
import { afterAll, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { createServer, type AddressInfo } from "node:net";
import { parseLsof, portHolder } from "../../lib/host/port-holder.ts";

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

// lsof has a name of its own for processes
test.skipIf(process.platform !== "linux")(
  "a UDP socket is found, with its process's name",
  async () => {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    closers.push(() => socket.close());
    expect(portHolder("udp", "127.0.0.1", socket.address().port)?.process).toEqual({
      pid: process.pid,
      name: (await Bun.file("/proc/self/comm").text()).trim(),
    });
  },
);

const isRoot = process.platform === "linux" && process.getuid?.() === 0;
if (!isRoot) process.stderr.write("skipped: processes of other users (needs root on Linux)\n");
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

/** as `lsof -nP -F pcun` prints it (lsof(8), "OUTPUT FOR OTHER PROGRAMS") */
const LSOF = [
  ...["p311", "clima", "u501", "f7", "n127.0.0.1:8080->127.0.0.1:50000", "f8", "n127.0.0.1:8080"],
  ...["p42", "cweb server", "u0", "f3", "n[::1]:8080"],
  ...["p77", "cother", "u502", "f3", "n192.0.2.9:8080", ""],
].join("\n");

test.each([
  ["127.0.0.1", { process: { pid: 311, name: "lima" }, uid: 501 }],
  ["::1", { process: { pid: 42, name: "web server" }, uid: 0 }],
  ["192.0.2.9", { process: { pid: 77, name: "other" }, uid: 502 }],
  ["0.0.0.0", { process: { pid: 311, name: "lima" }, uid: 501 }],
  ["192.0.2.1", undefined],
])("on macOS lsof tells who has %s", (ip, expected) => {
  expect<unknown>(parseLsof(LSOF, ip)).toEqual(expected);
});

test("on macOS a listener on all addresses is in everybody's way, and nothing found is nobody", () => {
  const all = "p5\ncnc\nu501\nf3\nn*:80\n";
  expect(parseLsof(all, "127.0.0.1")).toEqual({ process: { pid: 5, name: "nc" }, uid: 501 });
  expect(parseLsof("", "127.0.0.1")).toBeUndefined();
});
