/** Turns of a network's engine on real sockets: they leave nothing for the garbage collector, and those of a stream let others run. */
import { heapStats } from "bun:jsc";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { systemHost } from "../../../lib/daemon/network/engine-host.ts";
import { NetworkEngine } from "../../../lib/daemon/network/network-engine.ts";
import { closeDescriptor, openSocket, openSocketPair } from "../../../lib/host/descriptors.ts";
import type { EventLoop } from "../../../lib/host/event-loop.ts";
import { Iovecs } from "../../../lib/host/iovecs.ts";
import { AF_INET, libc, MSG_DONTWAIT, SOCK_DGRAM, SOCK_STREAM } from "../../../lib/host/libc.ts";
import { MessageHeader } from "../../../lib/host/message-header.ts";
import { pinned } from "../../../lib/host/pinned.ts";
import { ipv4SocketAddress, portOfSocketAddress } from "../../../lib/host/socket-address.ts";
import { QEMU_FRAMING } from "../../../lib/link/stream-framing.ts";
import { GATEWAY, GATEWAY_MAC, PLAN } from "../../support/descriptor-network.ts";
import { echo, ethernet, ipv4, join, text, udp } from "../../support/injected-frames.ts";

const GUEST = "10.213.7.20";
const GUEST_MAC = "52:55:55:aa:bb:cc";
const LOOPBACK = 0x7f000001;
const ROUNDS = 4000;

let engine: NetworkEngine<EventLoop>;
let guest: number;
let peer: number;
let peerPort: number;
const room = new Uint8Array(4096);
const ROOM_AT = pinned(room);

/** a frame with its length in front, at a place of its own */
function framed(frame: Uint8Array): { at: ReturnType<typeof pinned>; length: number } {
  const octets = join(new Uint8Array([0, 0, frame.length >> 8, frame.length & 255]), frame);
  return { at: pinned(octets), length: octets.length };
}

beforeAll(() => {
  const pair = openSocketPair(SOCK_STREAM);
  if (typeof pair === "number") throw new Error("no socket pair");
  guest = pair[0];
  engine = new NetworkEngine(
    {
      plan: {
        ...PLAN,
        hostAliases: [GATEWAY],
        dns: "10.213.7.3",
        staticLeases: [{ mac: GUEST_MAC, ip: GUEST }],
      },
      leases: [],
      dnsTcpPath: "/nowhere",
    },
    () => {},
    systemHost,
  );
  engine.ports.attach(pair[1], QEMU_FRAMING);
  const address = ipv4SocketAddress(LOOPBACK, 0);
  peer = openSocket(AF_INET, SOCK_DGRAM);
  const length = new Uint32Array([address.length]);
  libc.bind(peer, pinned(address), address.length);
  libc.getsockname(peer, pinned(address), pinned(length));
  peerPort = portOfSocketAddress(address);
});
afterAll(() => {
  engine.close();
  closeDescriptor(guest);
  closeDescriptor(peer);
});

/** objects, arrays, closures and the like that a number of rounds made, of each kind */
function madeBy(round: () => void): Record<string, number> {
  // what is compiled, and flows and lists that grow once, are no garbage of a turn
  for (let i = 0; i < ROUNDS; i++) round();
  const before = heapStats().objectTypeCounts;
  for (let i = 0; i < ROUNDS; i++) round();
  const after = heapStats().objectTypeCounts;
  const made = Object.entries(after).map(([kind, n]) => [kind, n - (before[kind] ?? 0)] as const);
  // one in ten rounds may be the engine's own
  return Object.fromEntries(made.filter(([, n]) => n > ROUNDS / 10));
}

function say(frame: { at: ReturnType<typeof pinned>; length: number }): void {
  if (Number(libc.sendto(guest, frame.at, frame.length, 0, null, 0)) !== frame.length)
    throw new Error("the network does not read");
}

function hear(): void {
  for (let turns = 0; turns < 100; turns++) {
    engine.turn(100);
    if (Number(libc.recv(guest, ROOM_AT, room.length, MSG_DONTWAIT)) > 0) return;
  }
  throw new Error("no answer");
}

test("a turn without anything to do", () => {
  expect(madeBy(() => engine.turn(0))).toEqual({});
});

test("an echo request to the gateway, and its answer", () => {
  const request = framed(
    ethernet(GATEWAY_MAC, GUEST_MAC, "0800", ipv4(echo(GUEST, GATEWAY, "00010001", text("ping")))),
  );
  const round = () => {
    say(request);
    hear();
  };
  expect(madeBy(round)).toEqual({});
});

test.each([
  ["a stream's turn lets others run before it waits", 32, 1410, 1],
  ["a turn with fewer than 32 frames waits at once", 31, 1410, 0],
  ["a turn with as many octets in large frames waits at once", 3, 16_000, 0],
  ["a turn with as many small frames, acknowledgements for example, waits at once", 64, 60, 0],
])("%s", (_name, frames, length, times) => {
  const frame = framed(ethernet(GATEWAY_MAC, GUEST_MAC, "0800", new Uint8Array(length)));
  let gaveWay = 0;
  const loop = engine.loop as { giveWay(): void };
  loop.giveWay = () => void gaveWay++;
  for (let i = 0; i < frames; i++) say(frame);
  for (let turns = 0; turns < 3; turns++) engine.turn(1);
  expect(gaveWay).toBe(times);
});

test("a datagram to the host, and its answer", () => {
  const question = framed(
    ethernet(
      GATEWAY_MAC,
      GUEST_MAC,
      "0800",
      ipv4(udp(`${GUEST}:4000`, `${GATEWAY}:${peerPort}`, text("question"))),
    ),
  );
  const from = new Uint8Array(16);
  const iovecs = new Iovecs(1);
  iovecs.set(0, ROOM_AT, room.length);
  const message = new MessageHeader();
  message.setName(pinned(from), from.length);
  message.iovecCount = 1;
  message.setControl(0, 0);
  const round = () => {
    // from here, so that the array is kept: an address alone keeps nothing alive
    message.setIovecs(iovecs.at);
    say(question);
    let got = -1;
    for (let turns = 0; turns < 100 && got < 0; turns++) {
      engine.turn(0);
      got = Number(libc.recvmsg(peer, message.at, MSG_DONTWAIT));
    }
    if (got !== 8) throw new Error("the datagram has not come");
    libc.sendto(peer, ROOM_AT, got, 0, pinned(from), from.length);
    hear();
  };
  expect(madeBy(round)).toEqual({});
});
