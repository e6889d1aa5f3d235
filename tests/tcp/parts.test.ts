/** The parts of a connection that can be looked at by themselves: sequence numbers, time-outs, rings. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BlockPool } from "../../lib/storage/block-pool.ts";
import { Gather } from "../../lib/storage/gather.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";
import { RetransmissionTimeout } from "../../lib/tcp/retransmission-timeout.ts";
import { seqAdd, seqDistance, seqLess, seqLessOrEqual } from "../../lib/tcp/sequence.ts";
import { StreamRing } from "../../lib/tcp/stream-ring.ts";

describe("sequence numbers", () => {
  test("order, distance and addition go across the wrap (RFC 9293 3.4)", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 0x7fffffff }), (a, octets) => {
        const b = seqAdd(a, octets);
        expect([seqLess(a, b), seqLess(b, a), seqLessOrEqual(a, b), seqLessOrEqual(a, a)]).toEqual([
          true,
          false,
          true,
          true,
        ]);
        expect([seqDistance(a, b), seqDistance(b, a)]).toEqual([octets, -octets]);
        expect(b).toBe(b | 0);
      }),
    );
  });
});

describe("RetransmissionTimeout (RFC 6298)", () => {
  test("is a second before anything was measured (2.1)", () => {
    expect(new RetransmissionTimeout().rtoMs).toBe(1000);
  });
  test("follows the first and the next measurement (2.2, 2.3)", () => {
    const rto = new RetransmissionTimeout();
    rto.onMeasurement(400);
    // SRTT 400, RTTVAR 200: 400 + 4 x 200
    expect(rto.rtoMs).toBe(1200);
    rto.onMeasurement(800);
    // RTTVAR 0.75 x 200 + 0.25 x 400 = 250, SRTT 0.875 x 400 + 0.125 x 800 = 450
    expect([rto.rttVarMs, rto.srttMs, rto.rtoMs]).toEqual([250, 450, 1450]);
  });
  test("is never below 200 ms, doubles after each expiry, and never goes beyond a minute (2.4, 5.5)", () => {
    const rto = new RetransmissionTimeout();
    for (let i = 0; i < 20; i++) rto.onMeasurement(0.1);
    expect(rto.rtoMs).toBe(200);
    const seen = Array.from({ length: 10 }, () => {
      rto.backOff();
      return rto.rtoMs;
    });
    expect(seen).toEqual([400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
    rto.onMeasurement(0.1);
    expect(rto.rtoMs).toBe(200);
  });
});

describe("StreamRing", () => {
  const SMALL = 4096;
  const LARGE = 16_384;
  const make = () => {
    const memory = new PacketMemory(4 * LARGE);
    const { octets } = memory;
    const pools = {
      octets,
      small: new BlockPool(memory, SMALL, 1),
      large: new BlockPool(memory, LARGE, 1),
    };
    return { memory, octets, pools, ring: new StreamRing(pools) };
  };

  test("keeps each octet under its sequence number, through the wrap and a move to a larger block", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 1, max: SMALL }),
        fc.boolean(),
        (seq, length, grow) => {
          const { memory, octets, ring } = make();
          expect(ring.open()).toBe(true);
          const from = memory.reserve(SMALL);
          for (let i = 0; i < length; i++) octets[from + i] = (i * 31 + seq) & 255;
          ring.store(seq, from, length);
          if (grow) expect(ring.grow(seq, seqAdd(seq, length))).toBe(true);
          expect(ring.size).toBe(grow ? LARGE : SMALL);
          const gather = new Gather(4);
          ring.list(seq, length, gather);
          const read = Array.from({ length: gather.count }, (_, i) => [
            ...octets.subarray(gather.starts[i]!, gather.starts[i]! + gather.lengths[i]!),
          ]).flat();
          expect(read).toEqual(Array.from({ length }, (_, i) => (i * 31 + seq) & 255));
          expect(octets[ring.at(seq)]).toBe(seq & 255);
        },
      ),
      { numRuns: 100 },
    );
  });

  test("says when no block is free, and gives its own back", () => {
    const { pools, ring } = make();
    const other = new StreamRing(pools);
    expect([ring.open(), other.open()]).toEqual([true, false]);
    expect([other.size, ring.size]).toEqual([0, SMALL]);
    expect(ring.grow(0, 10)).toBe(true);
    expect(other.open()).toBe(true);
    expect(other.grow(0, 10)).toBe(false);
    ring.close();
    other.close();
    expect([pools.small.out, pools.large.out]).toEqual([0, 0]);
  });
});
