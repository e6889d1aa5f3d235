import { expect, test } from "bun:test";
import { openPipe } from "../../lib/host/descriptors.ts";
import { EventLoop } from "../../lib/host/event-loop.ts";
import { libc } from "../../lib/host/libc.ts";
import { EDGE_TRIGGERED, READABLE, WRITABLE } from "../../lib/host/poller.ts";

test("rest() keeps a descriptor quiet for its time, and then tells what is still so", () => {
  const loop = new EventLoop();
  const pipe = openPipe() as { from: number; to: number };
  let told = 0;
  loop.add(pipe.from, READABLE, { onEvents: () => void told++ });
  libc.write(pipe.to, new Uint8Array([1]), 1);
  loop.rest(pipe.from, READABLE, 30);
  expect([loop.wait(0), told]).toEqual([0, 0]);
  // a wait without an end is one until then
  while (told === 0) loop.wait(-1);
  loop.rest(pipe.from, READABLE, 1);
  loop.remove(pipe.from);
  libc.usleep(2000);
  expect([loop.wait(0), told]).toEqual([0, 1]);
  loop.close();
  for (const fd of [pipe.from, pipe.to]) libc.close(fd);
});

test("whoever keeps the time learns that a wait is over before the handlers run", () => {
  const loop = new EventLoop();
  const pipe = openPipe() as { from: number; to: number };
  const told: string[] = [];
  loop.onWake = () => told.push("awake");
  loop.add(pipe.from, READABLE, { onEvents: () => told.push("event") });
  expect(loop.wait(0)).toBe(0);
  libc.write(pipe.to, new Uint8Array([1]), 1);
  expect(loop.wait(-1)).toBe(1);
  expect(told).toEqual(["awake", "awake", "event"]);
  loop.remove(pipe.from);
  loop.close();
  for (const fd of [pipe.from, pipe.to]) libc.close(fd);
});

test("a change of what is watched tells of what is there already", () => {
  const loop = new EventLoop();
  const pipe = openPipe() as { from: number; to: number };
  const told: number[] = [];
  loop.add(pipe.to, READABLE | EDGE_TRIGGERED, { onEvents: (events) => told.push(events) });
  expect(loop.wait(0)).toBe(0);
  loop.change(pipe.to, WRITABLE | EDGE_TRIGGERED);
  expect(loop.wait(1000)).toBe(1);
  expect(told).toEqual([WRITABLE]);
  loop.change(pipe.to, READABLE | EDGE_TRIGGERED);
  expect(loop.wait(0)).toBe(0);
  loop.remove(pipe.to);
  loop.close();
  for (const fd of [pipe.from, pipe.to]) libc.close(fd);
});
