/** Internet checksum (RFC 1071, 1624). */

/** Ones-complement sum of the 16-bit big-endian words of `length` octets from `start`, folded to 0..0xffff, not complemented. */
export type SumOctets = (start: number, length: number) => number;

/** a sum folded to 16 bits; the argument may be any sum below 2^32 */
export function fold(sum: number): number {
  let s = (sum & 0xffff) + (sum >>> 16);
  s = (s & 0xffff) + (s >>> 16);
  return s & 0xffff;
}

/** A sum as it counts for octets that stand behind so many others (RFC 1071 section 2 (B): swapped when these are odd). */
export function sumBehind(before: number, sum: number): number {
  return before & 1 ? ((sum << 8) | (sum >>> 8)) & 0xffff : sum;
}

/** the SumOctets of any buffer, in script; `checksum-simd.ts` is the fast one for packet memory */
export function sumOctetsOf(buf: Uint8Array): SumOctets {
  return (start, length) => {
    let sum = 0;
    const even = start + (length & ~1);
    for (let at = start; at < even; at += 2) sum += (buf[at]! << 8) | buf[at + 1]!;
    if (length & 1) sum += buf[even]! << 8;
    // at most 32,768 words of 16 bits: the sum stays below 2^31
    return fold(sum);
  };
}

/** the sum of the two words of an IPv4 address */
export function wordsOf(address: number): number {
  return (address >>> 16) + (address & 0xffff);
}

/** Sum of the pseudo header of RFC 9293 3.1 and RFC 768; addresses as unsigned 32-bit numbers. */
export function pseudoHeaderSum(
  src: number,
  dst: number,
  protocol: number,
  length: number,
): number {
  return fold(wordsOf(src) + wordsOf(dst) + protocol + length);
}
