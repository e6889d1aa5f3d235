/** Big-endian access to packet memory (RFC 1700 network order). Bounds are proven by each protocol's check. */
export function u16(buf: Uint8Array, at: number): number {
  return (buf[at]! << 8) | buf[at + 1]!;
}

/** signed: what stands for a place on a circle of 2^32, like a sequence number */
export function i32(buf: Uint8Array, at: number): number {
  return (buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!;
}

/** unsigned */
export function u32(buf: Uint8Array, at: number): number {
  return i32(buf, at) >>> 0;
}

/** a MAC address as an integer 0..2^48-1 */
export function u48(buf: Uint8Array, at: number): number {
  return u16(buf, at) * 0x1_0000_0000 + u32(buf, at + 2);
}

/** Are the first octets of both the same? From the last one on: addresses and paths begin alike. */
export function beginAlike(a: Uint8Array, b: Uint8Array, length: number): boolean {
  for (let i = length - 1; i >= 0; i--) if (a[i] !== b[i]) return false;
  return true;
}

export function put16(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 8;
  buf[at + 1] = value;
}

export function put32(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 24;
  buf[at + 1] = value >>> 16;
  buf[at + 2] = value >>> 8;
  buf[at + 3] = value;
}

export function put48(buf: Uint8Array, at: number, value: number): void {
  put16(buf, at, (value / 0x1_0000_0000) | 0);
  put32(buf, at + 2, value >>> 0);
}
