/** Octets as tests write them: hexadecimal digits with blanks and `# comments`. */
export function hex(text: string): Uint8Array {
  const digits = text.replaceAll(/#.*$/gm, "").replaceAll(/\s/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error(`not hexadecimal: ${digits}`);
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

export const dump = (octets: Uint8Array): string => Buffer.from(octets).toString("hex");

/** The octets at an offset of a buffer that is otherwise full of 0xA5, so that a read beyond them shows. */
export function poisoned(octets: Uint8Array, offset: number): Uint8Array {
  const buf = new Uint8Array(offset + octets.length + 64).fill(0xa5);
  buf.set(octets, offset);
  return buf;
}

/** where a wire module must work: at the start, and at a place that is aligned to nothing */
export const OFFSETS = [0, 3];
