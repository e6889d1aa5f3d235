/** The device's side of a virtqueue against a driver's side that is written from the specification alone. */
import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  availableLength,
  descriptorsLength,
  GuestBuffers,
  isQueueSize,
  usedLength,
  Virtqueue,
} from "../../lib/link/virtqueue.ts";

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** A driver (virtio 1.2, section 2.7), which may lie. */
class Driver {
  readonly descriptors: DataView;
  readonly available: Uint16Array;
  readonly used: Uint16Array;
  readonly queue: Virtqueue;

  constructor(size: number, isWritable: boolean, at = 0, wakesByIndex = false) {
    this.descriptors = new DataView(new ArrayBuffer(descriptorsLength(size)));
    this.available = new Uint16Array(availableLength(size) / 2);
    this.used = new Uint16Array(usedLength(size) / 2);
    this.available[1] = at;
    this.used[1] = at;
    this.queue = new Virtqueue(size, this, isWritable, wakesByIndex, at);
  }

  describe(index: number, address: number, length: number, flags: number, next = 0): void {
    this.descriptors.setBigUint64(index * 16, BigInt(address), true);
    this.descriptors.setUint32(index * 16 + 8, length, true);
    this.descriptors.setUint16(index * 16 + 12, flags, true);
    this.descriptors.setUint16(index * 16 + 14, next, true);
  }

  list(...heads: number[]): void {
    for (const head of heads) {
      this.available[2 + (this.available[1]! % this.queue.size)] = head;
      this.available[1]!++;
    }
  }

  /** what came back: head and octets */
  get back(): [number, number][] {
    const { size } = this.queue;
    return Array.from({ length: this.used[1]! }, (_, i) => {
      const at = 2 + (i % size) * 4;
      return [
        this.used[at]! + this.used[at + 1]! * 65536,
        this.used[at + 2]! + this.used[at + 3]! * 65536,
      ];
    });
  }
}

const buffers = new GuestBuffers();
beforeEach(() => buffers.clear());

const listed = (list: GuestBuffers): [number, number][] =>
  Array.from({ length: list.count }, (_, i) => [list.addresses[i]!, list.lengths[i]!]);

test("sizes are powers of two up to 1024", () => {
  expect([0, 1, 2, 3, 256, 1000, 1024, 2048].filter(isQueueSize)).toEqual([1, 2, 256, 1024]);
});

describe("take()", () => {
  test("lists the buffers of a chain in order, with addresses beyond 32 bits", () => {
    const driver = new Driver(4, false);
    driver.describe(2, 0x1_4000_0000, 12, NEXT, 0);
    driver.describe(0, 0x7fff_f000, 1500, 0);
    driver.list(2);
    expect(driver.queue.take(buffers)).toBe(true);
    expect(listed(buffers)).toEqual([
      [0x1_4000_0000, 12],
      [0x7fff_f000, 1500],
    ]);
    expect([buffers.octets, buffers.chains, buffers.heads[0], buffers.ends[0]]).toEqual([
      1512, 1, 2, 2,
    ]);
    expect(driver.queue.take(buffers)).toBe(false);
    expect(driver.queue.isBroken).toBe(false);
  });

  test("adds chain to chain, and takes again what was put back", () => {
    const driver = new Driver(4, true);
    for (const i of [0, 1, 2]) driver.describe(i, i * 4096, 4096, WRITE);
    driver.list(0, 1, 2);
    while (driver.queue.take(buffers));
    expect([...buffers.heads.subarray(0, buffers.chains)]).toEqual([0, 1, 2]);
    driver.queue.putBack(2);
    buffers.clear();
    expect([driver.queue.available, driver.queue.take(buffers), buffers.heads[0]]).toEqual([
      2,
      true,
      1,
    ]);
  });

  test.each([
    [
      "a circle",
      (driver: Driver) => {
        driver.describe(0, 0, 1, NEXT, 1);
        driver.describe(1, 0, 1, NEXT, 0);
        driver.list(0);
      },
    ],
    ["a head outside of the queue", (driver: Driver) => driver.list(4)],
    [
      "a next one outside of the queue",
      (driver: Driver) => {
        driver.describe(0, 0, 1, NEXT, 9);
        driver.list(0);
      },
    ],
    [
      "an indirect table, which was not offered",
      (driver: Driver) => {
        driver.describe(0, 0, 16, INDIRECT);
        driver.list(0);
      },
    ],
    [
      "a buffer of the other direction",
      (driver: Driver) => {
        driver.describe(0, 0, 16, WRITE);
        driver.list(0);
      },
    ],
    [
      "more chains than the queue has descriptors",
      (driver: Driver) => {
        driver.describe(0, 0, 16, 0);
        driver.list(0, 0, 0, 0, 0);
      },
    ],
  ])("%s breaks the queue for good", (_, lie) => {
    const driver = new Driver(4, false);
    lie(driver);
    expect([driver.queue.take(buffers), driver.queue.isBroken, buffers.count]).toEqual([
      false,
      true,
      0,
    ]);
    expect(driver.queue.take(buffers)).toBe(false);
  });
});

describe("giving back", () => {
  test("shows the driver nothing before it is published", () => {
    const driver = new Driver(4, true);
    driver.queue.giveBack(3, 0x1_2345);
    expect(driver.back).toEqual([]);
    expect(driver.queue.publish()).toBe(true);
    expect(driver.back).toEqual([[3, 0x1_2345]]);
    expect(driver.queue.publish()).toBe(false);
  });

  test("asks for no interrupt that the driver does not want, and for kicks only when it does", () => {
    const driver = new Driver(4, true);
    driver.available[0] = 1;
    driver.queue.giveBack(0, 1);
    expect(driver.queue.publish()).toBe(false);
    driver.queue.askForKicks(false);
    expect(driver.used[0]).toBe(1);
    driver.queue.askForKicks(true);
    expect(driver.used[0]).toBe(0);
  });
});

describe("waking by index (VIRTIO_F_EVENT_IDX)", () => {
  /** the driver wants an interrupt once the used index passes this */
  const wantAt = (driver: Driver, index: number) =>
    (driver.available[2 + driver.queue.size] = index);

  test("the driver is interrupted once the index that it named is passed, and not again", () => {
    const driver = new Driver(4, true, 0xfffe, true);
    wantAt(driver, 0xffff);
    driver.queue.giveBack(0, 1);
    expect(driver.queue.publish()).toBe(false);
    driver.queue.giveBack(1, 1);
    expect(driver.queue.publish()).toBe(true);
    driver.queue.giveBack(2, 1);
    expect(driver.queue.publish()).toBe(false);
    wantAt(driver, 1);
    driver.queue.giveBack(3, 1);
    driver.queue.giveBack(0, 1);
    expect(driver.queue.publish()).toBe(true);
  });

  test("the device names the next chain that it has not taken", () => {
    const driver = new Driver(4, false, 0xffff, true);
    const named = () => driver.used[2 + driver.queue.size * 4];
    driver.describe(0, 0, 8, 0);
    driver.list(0, 0);
    driver.queue.askForKicks(false);
    expect(named()).toBe(0);
    expect(driver.used[0]).toBe(0);
    while (driver.queue.take(buffers));
    driver.queue.askForKicks(true);
    expect(named()).toBe(1);
  });
});

test("every chain is taken once and comes back once, across the wrap of all indices", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 8, 64),
      fc.nat(0xffff),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 70 }), fc.nat(64)), {
        minLength: 1,
        maxLength: 60,
      }),
      (size, at, steps) => {
        const driver = new Driver(size, false, at);
        const free = Array.from({ length: size }, (_, i) => i);
        const taken: number[] = [];
        let expected: number[] = [];
        let seen = at;
        for (const [most, few] of steps) {
          for (const head of free.splice(0, Math.min(most, free.length))) {
            driver.describe(head, head * 4096, head + 1, 0);
            driver.list(head);
            expected.push(head);
          }
          for (let i = 0; i < few; i++) {
            buffers.clear();
            if (!driver.queue.take(buffers)) break;
            expect(listed(buffers)).toEqual([[buffers.heads[0]! * 4096, buffers.heads[0]! + 1]]);
            taken.push(buffers.heads[0]!);
            driver.queue.giveBack(buffers.heads[0]!, 0);
          }
          driver.queue.publish();
          for (; seen !== driver.used[1]!; seen = (seen + 1) & 0xffff)
            free.push(driver.used[2 + (seen % size) * 4]!);
          expect(driver.queue.isBroken).toBe(false);
          expect(taken).toEqual(expected.slice(0, taken.length));
        }
        expected = expected.slice(taken.length);
        expect(driver.queue.available).toBe(expected.length);
      },
    ),
    { numRuns: 200 },
  );
});
