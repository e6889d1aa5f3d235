import { expect, test } from "bun:test";
import { openPipe } from "../../lib/host/descriptors.ts";
import { EventLoop } from "../../lib/host/event-loop.ts";
import { libc } from "../../lib/host/libc.ts";
import { addressOf } from "../../lib/host/pinned.ts";
import { READABLE } from "../../lib/host/poller.ts";

test("whoever keeps the time learns that a wait is over before the handlers run", () => {
  const loop = new EventLoop();
  const pipe = openPipe() as { from: number; to: number };
  const told: string[] = [];
  loop.onWake = () => told.push("awake");
  loop.add(pipe.from, READABLE, { onEvents: () => told.push("event") });
  expect(loop.wait(0)).toBe(0);
  libc.write(pipe.to, addressOf(new Uint8Array([1])), 1);
  expect(loop.wait(-1)).toBe(1);
  expect(told).toEqual(["awake", "awake", "event"]);
  loop.remove(pipe.from);
  loop.close();
  for (const fd of [pipe.from, pipe.to]) libc.close(fd);
});
