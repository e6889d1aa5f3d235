import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { put16, put32, put48, u16, u32, u48 } from "../../lib/wire/octets.ts";
import { dump, emitted, hex, OFFSETS, poisoned } from "../support/octets.ts";

describe.each(OFFSETS)("octets at offset %d", (offset) => {
  test.each([
    ["u16()", u16, "fedc", 0xfedc],
    ["u32()", u32, "fedcba98", 0xfedcba98],
    ["u48()", u48, "fedcba987654", 0xfedcba987654],
  ])("%s reads the highest octet first, unsigned", (_name, read, text, value) =>
    expect(read(poisoned(hex(text), offset), offset)).toBe(value),
  );

  test.each([
    ["put16()", put16, 0xfedc, "fedc"],
    ["put16()", put16, -2, "fffe"],
    ["put32()", put32, 0xfedcba98, "fedcba98"],
    ["put32()", put32, -2, "fffffffe"],
    ["put48()", put48, 0xfedcba987654, "fedcba987654"],
  ])("%s writes the highest octet first, and no more than its own", (_name, put, value, text) =>
    expect(dump(emitted(offset, text.length / 2, (buf) => put(buf, offset, value)))).toBe(text),
  );

  test("what is put is read again", () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(0xffffffff), fc.nat(2 ** 48 - 1), (a, b, c) => {
        const buf = new Uint8Array(offset + 12);
        put16(buf, offset, a);
        put32(buf, offset + 2, b);
        put48(buf, offset + 6, c);
        expect([u16(buf, offset), u32(buf, offset + 2), u48(buf, offset + 6)]).toEqual([a, b, c]);
      }),
    );
  });
});
