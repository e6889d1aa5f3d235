/** Two of our connections over bad links, in virtual time: every octet arrives once and in order, and fast enough. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LossyLink, seededRandom, type LinkOptions } from "../support/lossy-link.ts";

const text = (seed: number, length: number) => {
  const random = seededRandom(seed);
  return Uint8Array.from({ length }, () => random() & 0xff);
};

/** Both sides say something and close; gives the link after both have ended. */
function exchange(options: LinkOptions, up: Uint8Array, down: Uint8Array): LossyLink {
  const link = new LossyLink(options);
  link.client.say(up, true);
  link.server.say(down, true);
  link.open();
  const heard = () => link.client.heardEnd && link.server.heardEnd;
  link.run(heard, 600_000);
  expect(Buffer.compare(link.server.heardText, up)).toBe(0);
  expect(Buffer.compare(link.client.heardText, down)).toBe(0);
  return link;
}

describe("a transfer over a lossy link", () => {
  test("arrives octet for octet in both directions, whatever the link does", () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.integer({ min: 1, max: 0x7fffffff }),
          loss: fc.constantFrom(0, 0.01, 0.05, 0.2),
          duplicate: fc.constantFrom(0, 0.02, 0.3),
          delayMs: fc.constantFrom(0.05, 1, 40),
          jitterMs: fc.constantFrom(0, 0.5, 30),
          mss: fc.constantFrom(536, 1460, 8960),
          takesLarge: fc.boolean(),
        }),
        fc.integer({ min: 0, max: 150_000 }),
        fc.integer({ min: 0, max: 150_000 }),
        (options, up, down) => {
          exchange(options, text(options.seed, up), text(options.seed + 1, down));
        },
      ),
      { numRuns: 150 },
    );
  }, 60_000);

  test("both sides end in order once everything has been said", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const link = exchange({ seed, loss: 0.1 }, text(seed, 20_000), text(seed, 30_000));
      const over = () => [link.client, link.server].every((end) => end.ended !== undefined);
      // the one whose last acknowledgement is lost gives up in time, the other has closed
      link.run(over, link.now + 3_600_000);
      expect([link.client.ended, link.server.ended]).toContain("closed");
    }
  });
});

/** octets a virtual millisecond of a bulk transfer of 2 MB, median of five seeds */
function throughput(options: Omit<LinkOptions, "seed">): number {
  const rates = [1, 2, 3, 4, 5].map((seed) => {
    const octets = text(seed, 2_000_000);
    return octets.length / exchange({ ...options, seed }, octets, new Uint8Array(0)).now;
  });
  return rates.toSorted((a, b) => a - b)[2]!;
}

describe("throughput by loss and round trip, in virtual time", () => {
  // The bound without loss is the ring: 256 KiB a round trip. With loss p it is what RFC 5681 congestion control allows,
  // MSS / RTT x sqrt(3 / 2p); half of that must be reached. (At 5 % and 1 ms the shortest time-out, 200 ms, is the bound.)
  test.each([
    [0, 1],
    [0, 20],
    [0.001, 1],
    [0.001, 20],
    [0.01, 1],
    [0.01, 20],
    [0.05, 20],
  ])(
    "loss %p, one-way delay %p ms",
    (loss, delayMs) => {
      const ring = (256 * 1024) / (2 * delayMs);
      const reno = loss === 0 ? Infinity : (1460 / (2 * delayMs)) * Math.sqrt(1.5 / loss);
      expect(throughput({ loss, delayMs })).toBeGreaterThan(0.5 * Math.min(ring, reno));
    },
    30_000,
  );

  test("a bottleneck is used to four fifths", () => {
    const rate = 1250;
    expect(throughput({ rate, queueOctets: 64 * 1024, delayMs: 5 })).toBeGreaterThan(0.8 * rate);
  });
});

test("a listener that stops and goes on loses nothing, and the window probes keep the connection", () => {
  const link = new LossyLink({ seed: 3, loss: 0.02 });
  const octets = text(3, 700_000);
  link.client.say(octets, true);
  link.server.listening = false;
  link.open();
  while (link.now < 120_000) if (!link.step()) break;
  expect(link.server.heardOctets).toBe(0);
  link.server.listening = true;
  link.server.settle(link.now);
  link.run(() => link.server.heardEnd, link.now + 120_000);
  expect(Buffer.compare(link.server.heardText, octets)).toBe(0);
});

test("a peer that vanishes is given up in the end, and not before five minutes of trying", () => {
  const link = new LossyLink({ seed: 5 });
  link.client.say(text(5, 100_000), false);
  link.open();
  link.run(() => link.server.heardOctets > 0, 10_000);
  // from now on nothing comes back
  link.server.receive = () => {};
  const begun = link.now;
  link.run(() => link.client.ended !== undefined, 3_600_000);
  expect(link.client.ended).toBe("timeout");
  expect(link.now - begun).toBeGreaterThan(300_000);
});
