import { expect, test } from "bun:test";
import fc from "fast-check";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";

const PAGE = 65_536;

test.each([
  [1, PAGE],
  [PAGE, PAGE],
  [PAGE + 1, 2 * PAGE],
])("PacketMemory(%d) has %d octets, all of them in one WebAssembly memory", (size, octets) => {
  const memory = new PacketMemory(size);
  expect(memory.octets.length).toBe(octets);
  expect(memory.octets.buffer).toBe(memory.memory.buffer);
});

test("reserve() gives aligned regions that do not overlap, until there is no room", () => {
  const region = fc.record({ size: fc.nat(9000), align: fc.constantFrom(1, 8, 64, 4096) });
  fc.assert(
    fc.property(fc.array(region, { maxLength: 30, size: "max" }), (regions) => {
      const memory = new PacketMemory(PAGE);
      let end = 0;
      for (const { size, align } of regions) {
        const earliest = Math.ceil((PAGE - memory.unreserved) / align) * align;
        if (earliest + size > PAGE) {
          expect(() => memory.reserve(size, align)).toThrow(RangeError);
        } else {
          const at = memory.reserve(size, align);
          expect(at % align).toBe(0);
          expect(at).toBeGreaterThanOrEqual(end);
          end = at + size;
          expect(memory.unreserved).toBe(PAGE - end);
        }
      }
    }),
  );
});

test("reserve() aligns to 64 octets unless it is told, and leaves offset 0 to nobody", () => {
  const memory = new PacketMemory(PAGE);
  expect([memory.reserve(1), memory.reserve(1), memory.reserve(65)]).toEqual([64, 128, 192]);
});

test("reserve() gives the very last octet, and says how many are left when that is not enough", () => {
  const memory = new PacketMemory(PAGE);
  memory.reserve(PAGE - 128);
  expect(() => memory.reserve(65)).toThrow(
    "Cannot reserve 65 octets of packet memory: 64 are left",
  );
  memory.reserve(64);
  expect(memory.unreserved).toBe(0);
});
