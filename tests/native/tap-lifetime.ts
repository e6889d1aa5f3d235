/** In a network namespace: starts, failures, a ring that nobody empties, and stops; prints what was seen as JSON. */
import { readdirSync } from "node:fs";
import { ShimInterface, shimCapabilities } from "../../lib/host/shim.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";

const CYCLES = 200;
const memory = new PacketMemory(64 << 20);
const start = (tap: string, receiveSize = 4096) =>
  new ShimInterface({ tap, offload: false, receiveSize, transmitSize: 4096 }, memory);
const failure = (act: () => unknown) => {
  try {
    act();
    return "none";
  } catch (error) {
    return (error as Error).message;
  }
};
const held = () => ({
  descriptors: readdirSync("/proc/self/fd").length,
  threads: readdirSync("/proc/self/task").length,
});
const ip = (...words: string[]) => {
  if (!Bun.spawnSync(["ip", ...words]).success) throw new Error(`ip ${words.join(" ")} failed`);
};

const first = start("vt0");
const taken = failure(() => start("vt0"));
const long = failure(() => start("a-name-of-sixteen"));
const size = failure(() => start("vt1", 5000));
ip("addr", "add", "10.77.0.1/24", "dev", "vt0");
ip("link", "set", "vt0", "up");
ip("neigh", "add", "10.77.0.9", "lladdr", "02:00:00:00:00:09", "dev", "vt0");
// nobody answers, nobody takes the frames
Bun.spawnSync(["ping", "-q", "-c", "50", "-i", "0.002", "-W", "1", "-s", "1000", "10.77.0.9"]);
const { framesIn, dropped } = first.stats();
const counted = first.receive.dropped;
first.stop();
const stopped = failure(() => first.stop());
start("vt0").stop();
const before = held();
for (let i = 0; i < CYCLES; i++) start("vt0").stop();
const after = held();
const capabilities = Object.fromEntries(shimCapabilities());
process.stdout.write(
  JSON.stringify({
    taken,
    long,
    size,
    framesIn,
    dropped,
    counted,
    stopped,
    before,
    after,
    capabilities,
  }),
);
