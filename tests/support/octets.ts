import { expect } from "bun:test";

/** Octets as tests write them: hexadecimal digits with blanks and `# comments`. */
export function hex(text: string): Uint8Array {
  const digits = text.replaceAll(/#.*$/gm, "").replaceAll(/\s/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error(`not hexadecimal: ${digits}`);
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

export const dump = (octets: Uint8Array): string => Buffer.from(octets).toString("hex");

/** where a wire module must work: at the start, and at a place that is aligned to nothing */
export const OFFSETS = [0, 3];

/** The octets at an offset of a buffer that is otherwise full of 0xA5, so that a read beyond them shows. */
export function poisoned(octets: Uint8Array, offset: number): Uint8Array {
  const buf = new Uint8Array(offset + octets.length + 64).fill(0xa5);
  buf.set(octets, offset);
  return buf;
}

/** octets by index that are to be others */
export type Changes = Record<number, number>;

export function changed(octets: Uint8Array, changes: Changes): Uint8Array {
  const copy = octets.slice();
  for (const [index, octet] of Object.entries(changes)) copy[Number(index)] = octet;
  return copy;
}

/** Every way to flip one bit. */
export function* bitFlips(octets: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < octets.length * 8; bit++) {
    const index = bit >> 3;
    yield changed(octets, { [index]: octets[index]! ^ (1 << (bit & 7)) });
  }
}

/** What `emit` writes at `offset`: the same `length` octets whatever stood there before, and nothing beside them. */
export function emitted(
  offset: number,
  length: number,
  emit: (buf: Uint8Array) => void,
): Uint8Array {
  const once = (fill: number) => {
    const buf = new Uint8Array(offset + length + 64).fill(fill);
    emit(buf);
    expect(dump(buf)).toBe(
      dump(
        buf
          .slice()
          .fill(fill, 0, offset)
          .fill(fill, offset + length),
      ),
    );
    return buf.slice(offset, offset + length);
  };
  const octets = once(0xa5);
  expect(dump(once(0x5a))).toBe(dump(octets));
  return octets;
}
