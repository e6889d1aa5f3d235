/**
 * Darwin's layouts, octet by octet, as the headers of xnu that `lib/host/darwin.ts` names state them; and the same calls
 * on this system for what both tables are used for.
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { DARWIN } from "../../lib/host/darwin.ts";
import { passedDescriptors } from "../../lib/host/descriptor-passing.ts";
import { acceptConnection, duplicate, openPipe, openSocket } from "../../lib/host/descriptors.ts";
import type { HostAbi } from "../../lib/host/host-abi.ts";
import { abi, AF_INET, errnoName, libc, SOCK_STREAM } from "../../lib/host/libc.ts";
import { LINUX } from "../../lib/host/linux.ts";
import { MessageHeader } from "../../lib/host/message-header.ts";
import {
  familyOf,
  ipv4SocketAddress,
  ipv6SocketAddress,
  portOfSocketAddress,
  unixSocketAddress,
} from "../../lib/host/socket-address.ts";

const LOOPBACK6 = new Uint8Array(16).fill(1, 15);

test.each<[string, Uint8Array, number[]]>([
  // sin_len, sin_family, sin_port, sin_addr, sin_zero
  [
    "sockaddr_in",
    ipv4SocketAddress(0x7f000001, 0x1f90, DARWIN),
    [16, 2, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
  ],
  // sin6_len, sin6_family, sin6_port, sin6_flowinfo, sin6_addr, sin6_scope_id
  [
    "sockaddr_in6",
    ipv6SocketAddress(LOOPBACK6, 0x1f90, DARWIN),
    [28, 30, 0x1f, 0x90, 0, 0, 0, 0, ...LOOPBACK6, 0, 0, 0, 0],
  ],
  // sun_len with the final zero, sun_family, sun_path
  ["sockaddr_un", unixSocketAddress("/a/s", DARWIN), [7, 1, 0x2f, 0x61, 0x2f, 0x73, 0]],
])("Darwin's %s", (_name, octets, expected) => {
  expect([...octets]).toEqual(expected);
  expect(familyOf(new DataView(octets.buffer), 0, DARWIN)).toBe(octets[1]!);
});

test("Linux' addresses have a family of 16 bits", () => {
  expect([...ipv6SocketAddress(LOOPBACK6, 1, LINUX).subarray(0, 4)]).toEqual([10, 0, 0, 1]);
  expect([...ipv4SocketAddress(1, 1, LINUX).subarray(0, 4)]).toEqual([2, 0, 0, 1]);
  expect([...unixSocketAddress("s", LINUX)]).toEqual([1, 0, 0x73, 0]);
});

test.each<[string, HostAbi, number]>([
  ["Linux", LINUX, 108],
  ["Darwin", DARWIN, 104],
])("a socket's path on %s has room for its final zero", (_name, system, size) => {
  expect(unixSocketAddress("x".repeat(size - 1), system)).toHaveLength(2 + size);
  expect(() => unixSocketAddress("x".repeat(size), system)).toThrow(RangeError);
});

test("struct msghdr fits both systems: what Darwin has as flags is nothing before a call", () => {
  const header = new MessageHeader();
  header.octets.fill(0xff, 40, 48);
  header.setName(0x0102030405, 16);
  header.setIovecs(0x1000);
  header.iovecCount = 3;
  header.setControl(0x2000, 256);
  expect([...header.octets.subarray(0, 48)]).toEqual([
    ...[5, 4, 3, 2, 1, 0, 0, 0], // msg_name
    ...[16, 0, 0, 0], // msg_namelen
    ...[0, 0, 0, 0], // padding
    ...[0, 0x10, 0, 0, 0, 0, 0, 0], // msg_iov
    ...[3, 0, 0, 0], // msg_iovlen
    ...[0, 0, 0, 0], // padding; Linux: its upper half
    ...[0, 0x20, 0, 0, 0, 0, 0, 0], // msg_control
    ...[0, 1, 0, 0], // msg_controllen
    ...[0, 0, 0, 0], // msg_flags; Linux: the upper half of msg_controllen
  ]);
  // the kernel tells flags on Darwin
  new DataView(header.octets.buffer).setUint32(44, 0x20, true);
  expect(header.controlLength).toBe(256);
});

describe("descriptors in a control message", () => {
  const words = (...numbers: number[]) => new DataView(new Uint32Array(numbers).buffer);
  test.each<[string, DataView, number, HostAbi, number[]]>([
    ["Darwin: one", words(16, 0xffff, 1, 9), 16, DARWIN, [9]],
    ["Darwin: two", words(20, 0xffff, 1, 9, 10), 20, DARWIN, [9, 10]],
    ["Darwin: cut short", words(20, 0xffff, 1, 9, 10), 16, DARWIN, [9]],
    ["Darwin: none", words(12, 0xffff, 1, 9), 12, DARWIN, []],
    ["Darwin: another level", words(16, 1, 1, 9), 16, DARWIN, []],
    ["Darwin: another type", words(16, 0xffff, 2, 9), 16, DARWIN, []],
    ["Linux: one", words(20, 0, 1, 1, 9, 0), 24, LINUX, [9]],
    ["Linux: two", words(24, 0, 1, 1, 9, 10), 24, LINUX, [9, 10]],
    ["Linux: none", words(16, 0, 1, 1, 9, 0), 16, LINUX, []],
    ["Linux: another level", words(20, 0, 0xffff, 1, 9, 0), 24, LINUX, []],
  ])("%s", (_what, octets, length, system, expected) => {
    expect(passedDescriptors(octets, length, system)).toEqual(expected);
  });
});

test("both tables name the same errors, and this system's numbers are those its runtime knows", () => {
  const names = (system: HostAbi) => Object.values(system.errnoNames).toSorted();
  expect(names(DARWIN)).toEqual(names(LINUX));
  for (const [code, name] of Object.entries(abi.errnoNames))
    expect([name, constants.errno[name as keyof typeof constants.errno]]).toEqual([
      name,
      Number(code),
    ]);
  expect(errnoName(-9999)).toBe("errno 9999");
});

/** F_GETFD and F_GETFL of a descriptor, asked of the system by another way than ours */
function flagsOf(fd: number): { closeOnExec: boolean; nonBlocking: boolean } {
  const flags = Number.parseInt(
    /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))![1]!,
    8,
  );
  return { closeOnExec: (flags & 0o2000000) !== 0, nonBlocking: (flags & 0o4000) !== 0 };
}

// reads flags in /proc, which only Linux has
describe.skipIf(process.platform !== "linux")("descriptors on Linux", () => {
  test("sockets, accepted connections and pipes do not block and are not inherited", () => {
    const listener = openSocket(AF_INET, SOCK_STREAM);
    const address = ipv4SocketAddress(0x7f000001, 0);
    expect(libc.bind(listener, address, address.length)).toBe(0);
    expect(libc.listen(listener, 1)).toBe(0);
    const length = new Uint32Array([16]);
    libc.getsockname(listener, address, length);
    expect(portOfSocketAddress(address)).toBeGreaterThan(0);
    const client = openSocket(AF_INET, SOCK_STREAM);
    libc.connect(client, address, address.length);
    const accepted = acceptConnection(listener, address, length);
    const pipe = openPipe();
    if (typeof pipe === "number") throw new Error("no pipe");
    const copy = duplicate(client);
    const all = [listener, client, accepted, pipe.from, pipe.to, copy];
    for (const fd of all) {
      expect([fd, flagsOf(fd)]).toEqual([fd, { closeOnExec: true, nonBlocking: true }]);
    }
    for (const fd of all) libc.close(fd);
    expect(errnoName(duplicate(client))).toBe("EBADF");
  });

  test("a broken connection does not end the program: Bun ignores SIGPIPE", () => {
    const ignored = BigInt(
      `0x${/SigIgn:\s*([0-9a-f]+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]!}`,
    );
    const SIGPIPE = 13n;
    expect((ignored >> (SIGPIPE - 1n)) & 1n).toBe(1n);
  });
});
