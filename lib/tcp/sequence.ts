/** Sequence number arithmetic modulo 2^32 (RFC 9293 3.4). Numbers may be signed or unsigned. */
export const seqLess = (a: number, b: number): boolean => ((a - b) | 0) < 0;
export const seqLessOrEqual = (a: number, b: number): boolean => ((a - b) | 0) <= 0;
/** octets from `from` to `to`, as a signed number */
export const seqDistance = (from: number, to: number): number => (to - from) | 0;
export const seqAdd = (seq: number, octets: number): number => (seq + octets) >>> 0;
