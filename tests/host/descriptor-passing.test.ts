import { expect, test } from "bun:test";
import { openSync } from "node:fs";
import { socketKind } from "../../lib/host/descriptor-passing.ts";
import { openSocket } from "../../lib/host/descriptors.ts";
import { AF_INET, AF_UNIX, libc, SOCK_DGRAM, SOCK_STREAM } from "../../lib/host/libc.ts";

test.each<[string, () => number, string]>([
  ["a connection of unix sockets", () => openSocket(AF_UNIX, SOCK_STREAM), "stream"],
  ["a unix datagram socket", () => openSocket(AF_UNIX, SOCK_DGRAM), "datagram"],
  ["TCP, whose close may wait", () => openSocket(AF_INET, SOCK_STREAM), "other"],
  ["no socket", () => openSync("/dev/null", "r"), "other"],
  ["nothing", () => -1, "other"],
])("socketKind() of %s", (_what, open, kind) => {
  const fd = open();
  expect<string>(socketKind(fd)).toBe(kind);
  libc.close(fd);
});
