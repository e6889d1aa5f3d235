/**
 * lib/host/shim.ts on the fake of vmnet: in a copy of the project whose native library that is (vmnet.test.ts makes it).
 * Prints what was seen as JSON.
 */
import { dlopen } from "bun:ffi";
import { EventLoop } from "../../../lib/host/event-loop.ts";
import { libc } from "../../../lib/host/libc.ts";
import { READABLE } from "../../../lib/host/poller.ts";
import { bridgeableInterfaces, ShimInterface, shimIdentity } from "../../../lib/host/shim.ts";
import { PacketMemory } from "../../../lib/storage/packet-memory.ts";

const FRAMES = 20_000;
/** places of native/fake/fake.h's enum fake_call */
const FAKE_READ = 3;
const library = new URL(`../../../dist/native/limanet-linux-${process.arch}.so`, import.meta.url)
  .pathname;
const fake = dlopen(library, {
  fake_echo: { args: ["u32"], returns: "void" },
  fake_fail: { args: ["u32", "u32", "u32"], returns: "void" },
  fake_inject: { args: ["ptr", "u32"], returns: "i32" },
}).symbols;
const memory = new PacketMemory(32 << 20);
const { octets } = memory;
const rings = { offload: true, receiveSize: 1 << 18, transmitSize: 1 << 18 };
const failure = (act: () => unknown) => {
  try {
    act();
    return "none";
  } catch (error) {
    return (error as Error).message;
  }
};

fake.fake_echo(1);
const shim = new ShimInterface({ ...rings, mode: "shared", isolation: true }, memory);
const loop = new EventLoop();
const counted = new Uint8Array(64);
let received = 0;
let wrong = 0;

/** The echo of frame number `received`: its addresses exchanged, the rest as it was sent. */
function judge(start: number, end: number): void {
  const frame = start + 12;
  const view = new DataView(octets.buffer, frame);
  const length = 60 + (received % 1400);
  if (end - frame !== length || octets[frame] !== 2 || octets[frame + 6] !== 1) wrong++;
  if (view.getUint32(14) !== received || octets[end - 1] !== (received & 0xff)) wrong++;
  received++;
}

function drain(): void {
  do while (shim.receive.take(64, judge) > 0) shim.receive.release();
  while (!shim.receive.arm());
}

loop.add(shim.bell, READABLE, {
  onEvents: () => {
    libc.read(shim.bell, counted, 64);
    drain();
  },
});
let sent = 0;
while (received < FRAMES) {
  while (sent < FRAMES && sent - received < 64) {
    const length = 60 + (sent % 1400);
    const at = shim.transmit.put(12 + length);
    octets.fill(0, at, at + 12);
    octets.fill(sent & 0xff, at + 12, at + 12 + length);
    octets[at + 12] = 1;
    octets[at + 18] = 2;
    new DataView(octets.buffer, at + 12).setUint32(14, sent++);
  }
  shim.flush();
  drain();
  if (received < sent) loop.wait(-1);
}

fake.fake_fail(FAKE_READ, 1005, 1);
fake.fake_inject(counted, 64);
while (shim.receive.status === 0) loop.wait(-1);
const { framesOut, framesIn, dropped, refused } = shim.stats();
loop.remove(shim.bell);
const { status } = shim.receive;
shim.stop();
process.stdout.write(
  JSON.stringify({
    wrong,
    stats: { framesOut, framesIn, dropped, refused },
    status,
    header: shim.facts.get("header"),
    capabilities: shimIdentity().capabilities,
    bridgeable: bridgeableInterfaces(),
    stopped: failure(() => shim.stop()),
    noInterface: failure(() => new ShimInterface({ ...rings, mode: "bridged" }, memory)),
    twoLines: failure(
      () => new ShimInterface({ ...rings, mode: "shared", nat66: "fd00::\nmode=host" }, memory),
    ),
  }),
);
