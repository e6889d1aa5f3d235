/** In a network namespace: a host at 10.77.0.9 behind the TAP device vt0, who answers ARP and ping until it is killed. */
import { EventLoop } from "../../lib/host/event-loop.ts";
import { libc } from "../../lib/host/libc.ts";
import { READABLE } from "../../lib/host/poller.ts";
import { ShimInterface } from "../../lib/host/shim.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";

const MAC = [2, 0, 0, 0, 0, 9];
const size = Number(process.argv[2]);
const memory = new PacketMemory(1 << 20);
const { octets } = memory;
const shim = new ShimInterface(
  { tap: "vt0", offload: process.argv[3] === "offload", receiveSize: size, transmitSize: size },
  memory,
);
const header = Number(shim.facts.get("header"));
const loop = new EventLoop();
const counted = new Uint8Array(8);

function answer(start: number, end: number): void {
  const frame = start + header;
  const type = (octets[frame + 12]! << 8) | octets[frame + 13]!;
  const isArp = type === 0x806 && octets[frame + 41] === 9;
  const isPing = type === 0x800 && octets[frame + 23] === 1 && octets[frame + 34] === 8;
  if (!isArp && !isPing) return;
  const at = shim.transmit.put(end - start);
  if (at === 0) throw new Error("the transmit ring is full although it was flushed");
  octets.fill(0, at, at + header);
  const reply = at + header;
  octets.copyWithin(reply, frame, end);
  octets.copyWithin(reply, frame + 6, frame + 12);
  octets.set(MAC, reply + 6);
  if (isArp) {
    octets[reply + 21] = 2;
    octets.copyWithin(reply + 32, frame + 22, frame + 32);
    octets.set([...MAC, 10, 77, 0, 9], reply + 22);
  } else {
    octets.copyWithin(reply + 26, frame + 30, frame + 34);
    octets.copyWithin(reply + 30, frame + 26, frame + 30);
    octets[reply + 34] = 0;
    // RFC 1624: the type's octet went from 8 to 0
    const sum = ((octets[frame + 36]! << 8) | octets[frame + 37]!) + 0x800;
    octets[reply + 36] = ((sum >> 8) + (sum >> 16)) & 0xff;
    octets[reply + 37] = (sum + (sum >> 16)) & 0xff;
  }
}

function drain(): void {
  do
    while (shim.receive.take(64, answer) > 0) {
      shim.flush();
      shim.receive.release();
    }
  while (!shim.receive.arm());
}

loop.add(shim.bell, READABLE, {
  onEvents: () => {
    libc.read(shim.bell, counted, 8);
    drain();
  },
});
process.stdout.write(`ready ${header}\n`);
drain();
for (;;) loop.wait(-1);
