/**
 * Sequence number arithmetic modulo 2^32 (RFC 9293 3.4). All numbers are kept signed: engines have small integers and
 * floating-point numbers, unsigned ones are the one below 2^31 and the other above, and what was compiled while a stream
 * was below is compiled again when one is above.
 */
export const seqLess = (a: number, b: number): boolean => ((a - b) | 0) < 0;
export const seqLessOrEqual = (a: number, b: number): boolean => ((a - b) | 0) <= 0;
/** octets from `from` to `to`, as a signed number */
export const seqDistance = (from: number, to: number): number => (to - from) | 0;
export const seqAdd = (seq: number, octets: number): number => (seq + octets) | 0;
