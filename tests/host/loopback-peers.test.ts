/** Ports below 1024 on loopback addresses, which macOS gives on all addresses only (specification, section 17.6). */
import { describe, expect, test } from "bun:test";
import { parseIpv4 } from "../../lib/addr/ipv4.ts";
import { EventLoop } from "../../lib/host/event-loop.ts";
import { ListeningSockets } from "../../lib/host/listening-sockets.ts";
import { isLoopbackPeer, listenPlan, portAdvice } from "../../lib/host/loopback-peers.ts";
import { ipv4SocketAddress, ipv6SocketAddress, parseIpv6 } from "../../lib/host/socket-address.ts";

test("advice about a port below 1024 names Linux' sysctl on Linux alone", () => {
  expect(portAdvice("linux", "80")).toContain("net.ipv4.ip_unprivileged_port_start=80");
  expect(portAdvice("darwin", "80")).not.toContain("sysctl");
});

describe("listenPlan()", () => {
  test.each([
    ["linux", "127.0.0.1", 80, "127.0.0.1", false],
    ["darwin", "127.0.0.1", 80, "0.0.0.0", true],
    ["darwin", "127.0.0.1", 1023, "0.0.0.0", true],
    ["darwin", "127.0.0.1", 1024, "127.0.0.1", false],
    ["darwin", "::1", 80, "::", true],
    ["darwin", "0.0.0.0", 80, "0.0.0.0", false],
    ["darwin", "192.0.2.1", 80, "192.0.2.1", false],
    // any free port is never one of them
    ["darwin", "127.0.0.1", 0, "127.0.0.1", false],
  ] as const)("on %s %s:%d is bound as %s", (platform, host, port, bound, loopbackOnly) => {
    expect(listenPlan(platform, host, port)).toEqual({ host: bound, loopbackOnly });
  });
});

test.each([
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["192.0.2.127", false],
  ["10.127.0.1", false],
])("the IPv4 peer %s is on this machine: %p", (ip, expected) => {
  expect(isLoopbackPeer(ipv4SocketAddress(parseIpv4(ip)!, 4000), "ipv4")).toBe(expected);
});

test.each([
  ["::1", true],
  ["::", false],
  ["fe80::1", false],
  ["::2", false],
  ["2001:db8::1", false],
])("the IPv6 peer %s is on this machine: %p", (ip, expected) => {
  expect(isLoopbackPeer(ipv6SocketAddress(parseIpv6(ip)!, 4000), "ipv6")).toBe(expected);
});

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("skipped: listening below port 1024 (needs root)\n");
test.skipIf(!isRoot)("as on macOS, peers on loopback are let in", async () => {
  const loop = new EventLoop();
  const listeners = new ListeningSockets(loop, () => 0, "darwin");
  let accepted = 0;
  const { handle } = listeners.listenTcp("127.0.0.1", 911, {
    onAccept: () => void accepted++,
  });
  const client = await Bun.connect({ hostname: "127.0.0.1", port: 911, socket: { data() {} } });
  loop.wait(1000);
  expect(accepted).toBe(1);
  client.end();
  listeners.close(handle);
});
