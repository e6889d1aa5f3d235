/** A guest by vhost-user: what its virtual machine says, and what the driver of its card does, the right and the wrong. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import fc from "fast-check";
import { closeDescriptor, openSocketPair } from "../../lib/host/descriptors.ts";
import { EventLoop } from "../../lib/host/event-loop.ts";
import { SOCK_STREAM } from "../../lib/host/libc.ts";
import { reserveVhostMemory } from "../../lib/host/vhost-port.ts";
import { VhostSession } from "../../lib/host/vhost-session.ts";
import { VectoredIo } from "../../lib/host/vectored-io.ts";
import { Segmenter } from "../../lib/link/segmentation.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { Scratch } from "../../lib/storage/scratch.ts";
import { Counters } from "../../lib/trace/counters.ts";
import { sumOctetsOf } from "../../lib/wire/checksum.ts";
import { dump, hex } from "../support/octets.ts";
import { GUEST_BASE, QUEUE_SIZE, VhostFrontEnd } from "../support/vhost-front-end.ts";

const TO_GUEST = 0;
const FROM_GUEST = 1;
const NEXT = 1;
const WRITE = 2;
const VERSION_1 = 1n << 32n;
const MERGED_BUFFERS = 1n << 15n;
const TAKES_LARGE = (1n << 1n) | (1n << 7n);
const PROTOCOL_FEATURES = 1n << 30n;
const GATEWAY = 0x5a_94_ef_e4_0c_ee;
const HEADER = 12;

let machine: VhostFrontEnd;
let machineEnd: number;
let sessionEnd: number;
let session: VhostSession;
let loop: EventLoop;
let octets: Uint8Array;
let counters: Counters;
let frames: Uint8Array<ArrayBuffer>[];
/** of each of them: its port said that its checksum is not there */
let lacking: boolean[];
let later: { receive(): void }[];
let detached: string[];
let drained = 0;
/** what the engine says of the port */
let isHeld = false;
let isObserved = false;

function open(isSealed = true): void {
  const [ours, theirs] = openSocketPair(SOCK_STREAM) as [number, number];
  machineEnd = theirs;
  sessionEnd = ours;
  machine = new VhostFrontEnd(theirs, isSealed);
  const memory = new PacketMemory(4 << 20);
  const scratchSize = 1 << 20;
  ({ octets } = memory);
  counters = new Counters();
  frames = [];
  lacking = [];
  later = [];
  detached = [];
  drained = 0;
  isHeld = false;
  isObserved = false;
  loop = new EventLoop();
  const sum = sumOctetsOf(octets);
  const keep = (...pieces: [number, number][]) => {
    const whole = pieces.flatMap(([start, length]) => [...octets.subarray(start, start + length)]);
    frames.push(Uint8Array.from(whole));
  };
  session = new VhostSession(
    0,
    ours,
    reserveVhostMemory(memory),
    new VectoredIo(memory),
    {
      now: () => 0,
      onFrame: (_now, port, start, end) => {
        lacking.push(port.lacksChecksum === true);
        keep([start, end - start]);
      },
      settle: () => {},
      holds: () => isHeld,
      receiveLater: (port) => void later.push(port),
      flushLater: () => {},
      portDrained: () => drained++,
      detach: (_port, why) => {
        detached.push(why);
        session.close();
        loop.remove(ours);
        closeDescriptor(ours);
      },
    },
    {
      segmenter: new Segmenter(
        octets,
        sum,
        new Scratch(octets, memory.reserve(scratchSize), scratchSize, () => {}),
      ),
      sum,
      counters,
      onPieces: (_now, _port, head, headLength, body, length) =>
        keep([head, headLength], [body, length]),
      isObserved: () => isObserved,
      takesLarge: (mac) => mac === GATEWAY,
      mtu: 1500,
      gatewayMac: GATEWAY,
    },
  );
  session.watch(loop);
}

/** everything that has been said is taken in */
const settle = () => {
  while (loop.wait(0) > 0);
  for (const port of later.splice(0)) port.receive();
};

/** As QEMU does it. */
function startQueues(features = VERSION_1 | MERGED_BUFFERS | PROTOCOL_FEATURES): void {
  machine.say(3);
  machine.say(2, [features]);
  machine.shareMemory();
  machine.startQueue(TO_GUEST);
  machine.startQueue(FROM_GUEST);
  settle();
}

function close(): void {
  if (detached.length === 0) {
    session.close();
    loop.remove(sessionEnd);
    closeDescriptor(sessionEnd);
  }
  loop.close();
  machine.close();
  closeDescriptor(machineEnd);
}

function reopen(isSealed = true): void {
  close();
  open(isSealed);
}

beforeEach(() => open());
afterEach(close);

/** a frame of `length` octets to `mac`, of which each says where it is */
const frameOf = (length: number, mac = 0x02_00_00_00_00_02): Uint8Array<ArrayBuffer> => {
  const frame = Uint8Array.from({ length }, (_, i) => i * 7);
  for (let i = 0; i < 6; i++) frame[i] = Math.floor(mac / 2 ** (40 - 8 * i));
  return frame;
};

/** Lists a frame in one buffer, a virtio header in front of it. */
const put = (index: number, frame: Uint8Array, header = new Uint8Array(HEADER)): void => {
  const at = machine.buffer(FROM_GUEST, index);
  machine.octets.set(header, at);
  machine.octets.set(frame, at + header.length);
  machine.describe(FROM_GUEST, index, header.length + frame.length, 0);
  machine.list(FROM_GUEST, index);
};

describe("what the machine says", () => {
  test("is told what we have, and that we answer", () => {
    machine.say(1);
    machine.say(15);
    settle();
    const features = machine.answer()!;
    expect(features.request).toBe(1);
    expect(
      features.word & (VERSION_1 | MERGED_BUFFERS | PROTOCOL_FEATURES | 1n | (1n << 11n)),
    ).toBe(VERSION_1 | MERGED_BUFFERS | PROTOCOL_FEATURES | 1n | (1n << 11n));
    expect(machine.answer()).toEqual({ request: 15, word: 8n });
  });

  test("a message that comes in pieces is one", () => {
    const message = new Uint8Array(12);
    message[0] = 1;
    message[4] = 1;
    machine.send(message.subarray(0, 5));
    settle();
    machine.send(message.subarray(5));
    settle();
    expect(machine.answer()?.request).toBe(1);
  });

  test("whoever wants to know is told that memory was taken", () => {
    machine.shareMemory(undefined, 9);
    settle();
    expect(machine.answer()).toEqual({ request: 5, word: 0n });
  });

  test("a queue that is taken back says where it was, and goes on there", () => {
    startQueues();
    put(0, frameOf(60));
    put(1, frameOf(61));
    machine.kick(FROM_GUEST);
    settle();
    machine.say(11, [BigInt(FROM_GUEST)]);
    settle();
    expect(machine.answer()).toEqual({ request: 11, word: BigInt(FROM_GUEST) | (2n << 32n) });
    put(2, frameOf(62));
    machine.kick(FROM_GUEST);
    settle();
    expect(frames).toHaveLength(2);
  });

  test.each([
    ["a version that is not one", () => machine.send(hex("01000000 02000000 00000000"))],
    ["a body too long", () => machine.send(hex("01000000 01000000 ffff0000"))],
    ["a request that is not known", () => machine.say(77, [0n])],
    ["a third queue", () => machine.say(8, [2n | (8n << 32n)])],
    ["a queue of no size", () => machine.say(8, [0n])],
    ["a queue whose size is no power of two", () => machine.say(8, [100n << 32n])],
    ["memory without descriptors", () => machine.say(5, [1n, 0n, 4096n, 0n, 0n])],
    ["more memory than there is", () => machine.shareMemory(1 << 30)],
    [
      "memory at addresses beyond 2^53",
      () => machine.say(5, [1n, 1n << 60n, 4096n, 0n, 0n], [machine.memfd]),
    ],
    ["no kicks", () => machine.say(12, [256n])],
    ["the guest's end", () => closeDescriptor(machineEnd)],
    [
      "areas outside of the memory",
      () => {
        machine.shareMemory();
        machine.say(8, [BigInt(QUEUE_SIZE) << 32n]);
        machine.say(9, [0n, 4096n, 8192n, 12_288n, 0n]);
        machine.say(12, [0n], [machine.kicks[0]!]);
        machine.say(18, [1n << 32n]);
      },
    ],
  ])("%s ends the session with a reason", (_, say) => {
    say();
    settle();
    expect(detached).toHaveLength(1);
    expect(detached[0]).not.toBe("");
    if (_ === "the guest's end") [machineEnd] = openSocketPair(SOCK_STREAM) as [number, number];
  });

  test("memory that may be shortened while we read it is not taken", () => {
    reopen(false);
    machine.shareMemory();
    settle();
    expect(detached[0]).toMatch(/memory-backend-memfd/);
  });
});

describe("frames from the guest", () => {
  test("come out as they went in, in order, and their buffers come back", () => {
    startQueues();
    put(3, frameOf(60));
    put(1, frameOf(1514));
    machine.kick(FROM_GUEST);
    settle();
    expect(frames).toEqual([frameOf(60), frameOf(1514)]);
    expect(machine.back(FROM_GUEST)).toEqual([
      [3, 0],
      [1, 0],
    ]);
    expect(machine.wasInterrupted(FROM_GUEST)).toBe(true);
    expect(machine.wantsKicks(FROM_GUEST)).toBe(true);
  });

  test("stay with the guest while its port is held, and come in order then", () => {
    startQueues();
    isHeld = true;
    for (const index of [0, 1]) put(index, frameOf(60 + index));
    machine.kick(FROM_GUEST);
    settle();
    expect(frames).toHaveLength(0);
    expect(machine.back(FROM_GUEST)).toEqual([]);
    isHeld = false;
    session.port.receive();
    settle();
    expect(frames.map(({ length }) => length)).toEqual([60, 61]);
    put(2, frameOf(62));
    machine.kick(FROM_GUEST);
    settle();
    expect(frames).toHaveLength(3);
  });

  test("may stand in several buffers, cut anywhere", () => {
    startQueues();
    const frame = frameOf(300);
    const whole = new Uint8Array(HEADER + frame.length);
    whole.set(frame, HEADER);
    for (const [index, from, to] of [
      [0, 0, 5],
      [1, 5, 100],
      [2, 100, 312],
    ] as const) {
      machine.octets.set(whole.subarray(from, to), machine.buffer(FROM_GUEST, index));
      machine.describe(FROM_GUEST, index, to - from, index < 2 ? NEXT : 0, index + 1);
    }
    machine.list(FROM_GUEST, 0);
    machine.kick(FROM_GUEST);
    settle();
    expect(frames).toEqual([frame]);
  });

  test("have ten octets in front where the driver is an old one", () => {
    startQueues(PROTOCOL_FEATURES);
    put(0, frameOf(60), new Uint8Array(10));
    machine.kick(FROM_GUEST);
    settle();
    expect(frames).toEqual([frameOf(60)]);
  });

  test("what was listed before the queue ran is taken, too", () => {
    put(0, frameOf(60));
    startQueues();
    expect(frames).toHaveLength(1);
  });

  test.each([
    ["an address outside of the memory", 100, GUEST_BASE - 4096],
    ["an address beyond 2^53", 100, 2 ** 62],
    ["one that runs over the memory's end", 8192, GUEST_BASE + (1 << 20) - 4096],
    ["a header with nothing behind it", HEADER, undefined],
    ["more than any frame has", 200_000, GUEST_BASE],
  ])("%s is dropped and counted, and the next one comes through", (_, length, address) => {
    startQueues();
    machine.describe(FROM_GUEST, 0, length, 0, 0, address);
    machine.list(FROM_GUEST, 0);
    put(1, frameOf(60));
    machine.kick(FROM_GUEST);
    settle();
    expect(frames).toEqual([frameOf(60)]);
    expect(Object.values(counters.values)).toEqual([1]);
    expect(machine.back(FROM_GUEST).map(([head]) => head)).toEqual([0, 1]);
  });

  test("a queue that is a circle ends the guest", () => {
    startQueues();
    machine.describe(FROM_GUEST, 0, 100, NEXT, 0);
    machine.list(FROM_GUEST, 0);
    machine.kick(FROM_GUEST);
    settle();
    expect(detached).toEqual(["its queue of frames to send is not one"]);
  });
});

/** a TCP segment over IPv4 of `length` octets of payload, its checksum that of the pseudo header alone */
function largeSegment(mac: number, length: number): Uint8Array<ArrayBuffer> {
  const frame = frameOf(54 + length, mac);
  const total = 40 + length;
  frame.set(
    hex(
      `080045 00 ${total.toString(16).padStart(4, "0")} 1234 4000 40 06 0000 c0a86803 c0a86802 1388 0050 00000001 00000000 50 18 ffff 0000 0000`,
    ),
    12,
  );
  const sum = sumOctetsOf(frame);
  const headerSum = ~sum(14, 20) & 0xffff;
  frame.set([headerSum >> 8, headerSum & 255], 24);
  const pseudo = Uint8Array.from([
    ...frame.subarray(26, 34),
    0,
    6,
    (20 + length) >> 8,
    (20 + length) & 255,
  ]);
  const pseudoSum = sumOctetsOf(pseudo)(0, pseudo.length);
  frame.set([pseudoSum >> 8, pseudoSum & 255], 50);
  return frame;
}
/** needs a checksum from 34 on at 16; TCP over IPv4 to be cut to 1460 */
const LARGE = Uint8Array.from(hex("01 01 3600 b405 2200 1000 0000"));

describe("large segments of the guest", () => {
  /** every checksum is right */
  const isSound = (frame: Uint8Array): boolean => {
    const length = frame.length - 34;
    const pseudo = Uint8Array.from([...frame.subarray(26, 34), 0, 6, length >> 8, length & 255]);
    const all = Uint8Array.from([...pseudo, ...frame.subarray(34)]);
    const padded = all.length % 2 === 0 ? all : Uint8Array.from([...all, 0]);
    return (
      sumOctetsOf(frame)(14, 20) === 0xffff && sumOctetsOf(padded)(0, padded.length) === 0xffff
    );
  };

  test.each([
    ["without a checksum, of which it is told", false],
    ["with their checksum where somebody looks at them", true],
  ])("reach the gateway whole, %s", (_what, observed) => {
    isObserved = observed;
    startQueues();
    const segment = largeSegment(GATEWAY, 10_001);
    put(0, segment, LARGE);
    machine.kick(FROM_GUEST);
    settle();
    expect(frames.map((frame) => [frame.length, isSound(frame)])).toEqual([[10_055, observed]]);
    expect(lacking).toEqual([!observed]);
    expect(session.port.lacksChecksum).toBe(false);
  });

  const SMALL = Uint8Array.from(hex("01 00 0000 0000 2200 1000 0000"));
  const changed = (at: number, ...by: number[]): Uint8Array<ArrayBuffer> => {
    const segment = largeSegment(GATEWAY, 100);
    segment.set(by, at);
    return segment;
  };
  test.each([
    ["is a segment of whatever size", SMALL, largeSegment(GATEWAY, 100), true],
    ["has its checksum", new Uint8Array(HEADER), largeSegment(GATEWAY, 100), false],
    ["is for somebody else", SMALL, largeSegment(0x02_00_00_00_00_02, 100), false],
    ["is a fragment", SMALL, changed(20, 0x20, 0), false],
    ["has options", SMALL, changed(14, 0x46), false],
    ["is of UDP", SMALL, changed(23, 17), false],
    ["is of IPv6", SMALL, changed(12, 0x86, 0xdd), false],
    ["is too short", SMALL, largeSegment(GATEWAY, 0).slice(0, 53), false],
    [
      "wants its checksum elsewhere",
      Uint8Array.from(hex("01 00 0000 0000 2200 0600 0000")),
      largeSegment(GATEWAY, 100),
      false,
    ],
  ])(
    "lack it only where nothing else would be checked: one that %s",
    (_what, header, frame, is) => {
      startQueues();
      put(0, frame, header);
      machine.kick(FROM_GUEST);
      settle();
      expect(lacking).toEqual([is]);
    },
  );

  test("reach others cut to what the guest's link carries", () => {
    startQueues();
    put(0, largeSegment(0x02_00_00_00_00_02, 4000), LARGE);
    machine.kick(FROM_GUEST);
    settle();
    expect(frames.map((frame) => [frame.length, isSound(frame)])).toEqual([
      [1514, true],
      [1514, true],
      [1134, true],
    ]);
  });
});

describe("frames to the guest", () => {
  const AT = 2 << 20;
  const offer = (...indices: number[]) => {
    for (const index of indices) machine.describe(TO_GUEST, index, 1000, WRITE);
    machine.list(TO_GUEST, ...indices);
  };
  const send = (length: number): boolean => {
    octets.set(frameOf(length), AT);
    const half = length >> 1;
    const isSent = session.port.transmit(AT, 20, AT + 20, half - 20, AT + half, length - half);
    session.port.flush();
    return isSent;
  };

  test("stand in one buffer behind a header that says so", () => {
    startQueues();
    offer(0, 1, 2, 3);
    expect(send(600)).toBe(true);
    const at = machine.buffer(TO_GUEST, 0);
    expect(dump(machine.octets.slice(at, at + HEADER))).toBe(
      "00000000 00000000 00000100".replaceAll(" ", ""),
    );
    expect([...machine.octets.slice(at + HEADER, at + HEADER + 600)]).toEqual([...frameOf(600)]);
    expect(machine.back(TO_GUEST)).toEqual([[0, 612]]);
    expect(machine.wasInterrupted(TO_GUEST)).toBe(true);
  });

  test("fill as many buffers as they need where the driver merges them", () => {
    startQueues();
    offer(0, 1, 2, 3);
    expect(send(2500)).toBe(true);
    expect(machine.back(TO_GUEST)).toEqual([
      [0, 1000],
      [1, 1000],
      [2, 512],
    ]);
    expect(machine.octets[machine.buffer(TO_GUEST, 0) + 10]).toBe(3);
    const at = (index: number) => machine.buffer(TO_GUEST, index);
    expect([
      ...machine.octets.slice(at(0) + HEADER, at(0) + 1000),
      ...machine.octets.slice(at(1), at(1) + 1000),
      ...machine.octets.slice(at(2), at(2) + 512),
    ]).toEqual([...frameOf(2500)]);
  });

  test("are dropped where it does not, or where there are too few, and the buffers stay", () => {
    startQueues(VERSION_1 | PROTOCOL_FEATURES);
    offer(0, 1, 2, 3);
    expect([send(2500), send(900)]).toEqual([false, true]);
    expect(machine.back(TO_GUEST)).toEqual([[0, 912]]);
    expect(session.port.dropped).toBe(1);
  });

  test("wait for a guest with few buffers left, who is asked to say when it has more", () => {
    startQueues();
    offer(0, 1, 2, 3, 4, 5);
    expect(session.port.busy).toBe(false);
    expect(machine.wantsKicks(TO_GUEST)).toBe(false);
    for (let i = 0; i < 4; i++) send(100);
    expect(session.port.busy).toBe(true);
    expect(machine.wantsKicks(TO_GUEST)).toBe(true);
    machine.kick(TO_GUEST);
    settle();
    expect(drained).toBe(0);
    offer(6, 7);
    machine.kick(TO_GUEST);
    settle();
    expect<unknown[]>([drained, session.port.busy, machine.wantsKicks(TO_GUEST)]).toEqual([
      1,
      false,
      false,
    ]);
  });

  test("wait for the next buffers, and the next, where both sides name an index", () => {
    startQueues(VERSION_1 | MERGED_BUFFERS | PROTOCOL_FEATURES | (1n << 29n));
    offer(0, 1, 2, 3, 4, 5);
    expect(session.port.busy).toBe(false);
    for (let i = 0; i < 5; i++) send(100);
    expect([session.port.busy, machine.wantsNextKick(TO_GUEST)]).toEqual([true, true]);
    offer(6);
    machine.kick(TO_GUEST);
    settle();
    expect([drained, session.port.busy, machine.wantsNextKick(TO_GUEST)]).toEqual([0, true, true]);
    offer(7, 0, 1);
    machine.kick(TO_GUEST);
    settle();
    expect<unknown[]>([drained, session.port.busy]).toEqual([1, false]);
  });

  test("go nowhere before the driver is there, and after it has gone", () => {
    expect(send(100)).toBe(false);
    startQueues();
    offer(0, 1);
    expect(send(100)).toBe(true);
    machine.say(11, [BigInt(TO_GUEST)]);
    settle();
    expect(send(100)).toBe(false);
    expect(detached).toEqual([]);
  });

  test("a buffer outside of the memory swallows its frame, and no other", () => {
    startQueues();
    machine.describe(TO_GUEST, 0, 1000, WRITE, 0, 64);
    machine.list(TO_GUEST, 0);
    offer(1, 2, 3);
    expect([send(100), send(100)]).toEqual([false, true]);
    expect(machine.back(TO_GUEST)).toEqual([
      [0, 0],
      [1, 112],
    ]);
  });

  const header = () =>
    dump(machine.octets.slice(machine.buffer(TO_GUEST, 0), machine.buffer(TO_GUEST, 0) + HEADER));
  const sendFrame = (frame: Uint8Array): boolean => {
    octets.set(frame, AT);
    return session.port.transmit(AT, 54, AT + 54, frame.length - 54, 0, 0);
  };

  test("say that their checksum is right where they are our own, and the guest believes it", () => {
    startQueues(VERSION_1 | MERGED_BUFFERS | PROTOCOL_FEATURES | TAKES_LARGE);
    const ours = frameOf(100);
    ours.set(hex("5a94efe40cee"), 6);
    offer(0, 1, 2, 3);
    expect(sendFrame(ours)).toBe(true);
    expect(header()).toBe("020000000000000000000100");
    expect(sendFrame(frameOf(100))).toBe(true);
    const next = machine.buffer(TO_GUEST, 1);
    expect(dump(machine.octets.slice(next, next + HEADER))).toBe("000000000000000000000100");
  });

  test("of TCP that are our own are for a guest that cuts segments to sum, whatever their size", () => {
    startQueues(VERSION_1 | MERGED_BUFFERS | PROTOCOL_FEATURES | TAKES_LARGE);
    const ours = largeSegment(0x02_00_00_00_00_02, 100);
    ours.set(hex("5a94efe40cee"), 6);
    const pseudoSum = dump(ours.subarray(50, 52));
    ours.set([0xab, 0xcd], 50);
    offer(0, 1, 2, 3);
    expect(sendFrame(ours)).toBe(true);
    expect(header()).toBe("010000000000220010000100");
    const checksum = machine.buffer(TO_GUEST, 0) + HEADER + 50;
    expect(dump(machine.octets.slice(checksum, checksum + 2))).toBe(pseudoSum);
  });

  test("that are larger than the link's are for the guest to cut, and have the pseudo header's sum", () => {
    expect(session.port.takesLarge).toBe(false);
    startQueues(VERSION_1 | MERGED_BUFFERS | PROTOCOL_FEATURES | TAKES_LARGE);
    expect(session.port.takesLarge).toBe(true);
    const large = largeSegment(0x02_00_00_00_00_02, 3000);
    const pseudoSum = dump(large.subarray(50, 52));
    large.set([0xab, 0xcd], 50);
    offer(0, 1, 2, 3);
    expect(sendFrame(large)).toBe(true);
    // needs a checksum, TCP over IPv4, 54 octets of headers, cut to 1460, from 34 on at 16, in four buffers
    expect(header()).toBe("01013600b405220010000400");
    const checksum = machine.buffer(TO_GUEST, 0) + HEADER + 50;
    expect(dump(machine.octets.slice(checksum, checksum + 2))).toBe(pseudoSum);
  });
});

describe("whatever comes", () => {
  const word = fc.oneof(
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc.constantFrom(0n, 1n, BigInt(QUEUE_SIZE) << 32n, (BigInt(QUEUE_SIZE) << 32n) | 1n, 1n << 32n),
  );
  const message = fc.record({
    request: fc.nat(24),
    words: fc.array(word, { maxLength: 6 }),
    fds: fc.nat(3),
    flags: fc.constantFrom(1, 1, 1, 9, 0),
  });

  test("a machine says, its session goes on or ends, and gives all descriptors back", () => {
    const before = readdirSync("/proc/self/fd").length;
    fc.assert(
      fc.property(fc.array(message, { maxLength: 12 }), fc.boolean(), (messages, isStarted) => {
        if (detached.length > 0) reopen();
        if (isStarted) startQueues();
        for (const { request, words, fds, flags } of messages) {
          if (detached.length > 0) break;
          const passed = [machine.memfd, machine.kicks[0]!, machine.interrupts[0]!].slice(0, fds);
          machine.say(request, words, passed, flags);
          settle();
        }
        while (machine.answer() !== undefined);
      }),
      { numRuns: 300 },
    );
    reopen();
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });

  test("a driver lists, its frames are carried or dropped, and its queues go on or end it", () => {
    const descriptor = fc.record({
      address: fc.oneof(
        fc.nat((1 << 20) - 1).map((offset) => GUEST_BASE + offset),
        fc.maxSafeNat(),
      ),
      length: fc.oneof(fc.nat(3000), fc.nat(0xffff_ffff)),
      flags: fc.nat(7),
      next: fc.nat(QUEUE_SIZE + 1),
    });
    fc.assert(
      fc.property(
        fc.array(descriptor, { minLength: QUEUE_SIZE, maxLength: QUEUE_SIZE }),
        fc.array(fc.nat(QUEUE_SIZE), { maxLength: QUEUE_SIZE + 2 }),
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        (descriptors, heads, noise) => {
          if (detached.length > 0) reopen();
          startQueues(VERSION_1 | MERGED_BUFFERS | PROTOCOL_FEATURES | TAKES_LARGE);
          machine.octets.set(noise, machine.buffer(FROM_GUEST, 0));
          for (const queue of [TO_GUEST, FROM_GUEST]) {
            for (const [i, { address, length, flags, next }] of descriptors.entries())
              machine.describe(queue, i, length, flags, next, address);
            machine.list(queue, ...heads);
          }
          machine.kick(FROM_GUEST);
          settle();
          const AT = 2 << 20;
          for (let i = 0; i < 4 && detached.length === 0; i++) {
            session.port.transmit(AT, 60, AT + 60, 1000, 0, 0);
            session.port.flush();
          }
          reopen();
        },
      ),
      { numRuns: 300 },
    );
  });
});
