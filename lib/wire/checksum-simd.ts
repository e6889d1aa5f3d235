/** Internet checksum (RFC 1071) over packet memory, as a WebAssembly SIMD function assembled here octet by octet. */
import type { SumOctets } from "./checksum.ts";

// The function, in the words of the WebAssembly text format:
//   (func (param $at i32) (param $n i32) (result i32) (local $sum i32) (local $lanes v128)…
// Words are added in the machine's order, little-endian; RFC 1071 section 2 (B) lets the sum be swapped at the end.
// A lane takes two words a step and is 32 bits wide, so 65,535 octets cannot overflow it.
const I32 = 0x7f;
const V128 = 0x7b;
const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const constant = (value: number) => [0x41, ...signedLeb(value)];
const LOOP = [0x03, 0x40];
const BLOCK = [0x02, 0x40];
const END = 0x0b;
const BR = 0x0c;
const BR_IF = 0x0d;
const ADD = 0x6a;
const SUB = 0x6b;
const AND = 0x71;
const OR = 0x72;
const SHL = 0x74;
const SHR_U = 0x76;
const LT_U = 0x49;
const EQZ = 0x45;
const LOAD8_U = [0x2d, 0, 0];
const LOAD16_U = [0x2f, 0, 0];
const vectorLoad = (offset: number) => [0xfd, 0, 0, offset];
const EXTADD_PAIRWISE_I16X8_U = [0xfd, 0x7f];
const I32X4_ADD = [0xfd, 0xae, 0x01];
const lane = (n: number) => [0xfd, 0x1b, n];

const AT = 0;
const N = 1;
const SUM = 2;
/** four sums side by side: an addition need not wait for the one before it */
const LANES = [3, 4, 5, 6];
const [FIRST] = LANES as [number];
const step = (size: number) => [
  ...get(AT),
  ...constant(size),
  ADD,
  ...set(AT),
  ...get(N),
  ...constant(size),
  SUB,
  ...set(N),
];
/** while ($n >= size) { body; $at += size; $n -= size } */
const whileAtLeast = (size: number, body: number[]) => [
  ...BLOCK,
  ...LOOP,
  ...get(N),
  ...constant(size),
  LT_U,
  BR_IF,
  1,
  ...body,
  ...step(size),
  BR,
  0,
  END,
  END,
];
const foldOnce = [
  ...get(SUM),
  ...constant(0xffff),
  AND,
  ...get(SUM),
  ...constant(16),
  SHR_U,
  ADD,
  ...set(SUM),
];

/** $lanes += the words of 16 octets from $at + offset on */
const addWords = (lanes: number, offset: number) => [
  ...get(lanes),
  ...get(AT),
  ...vectorLoad(offset),
  ...EXTADD_PAIRWISE_I16X8_U,
  ...I32X4_ADD,
  ...set(lanes),
];

const BODY = [
  2,
  1,
  I32,
  LANES.length,
  V128,
  ...whileAtLeast(
    64,
    LANES.flatMap((lanes, i) => addWords(lanes, 16 * i)),
  ),
  ...whileAtLeast(16, addWords(FIRST, 0)),
  ...LANES.slice(1).flatMap((lanes) => [...get(FIRST), ...get(lanes), ...I32X4_ADD, ...set(FIRST)]),
  ...get(FIRST),
  ...lane(0),
  ...get(FIRST),
  ...lane(1),
  ADD,
  ...get(FIRST),
  ...lane(2),
  ADD,
  ...get(FIRST),
  ...lane(3),
  ADD,
  ...set(SUM),
  ...whileAtLeast(2, [...get(SUM), ...get(AT), ...LOAD16_U, ADD, ...set(SUM)]),
  ...BLOCK,
  ...get(N),
  EQZ,
  BR_IF,
  0,
  ...get(SUM),
  ...get(AT),
  ...LOAD8_U,
  ADD,
  ...set(SUM),
  END,
  ...foldOnce,
  ...foldOnce,
  ...get(SUM),
  ...constant(8),
  SHL,
  ...constant(0xffff),
  AND,
  ...get(SUM),
  ...constant(8),
  SHR_U,
  OR,
  END,
];

function signedLeb(value: number): number[] {
  const out: number[] = [];
  for (let rest = value; ;) {
    const low = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && !(low & 0x40)) || (rest === -1 && low & 0x40)) return [...out, low];
    out.push(low | 0x80);
  }
}

function unsignedLeb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsignedLeb(value >>> 7)];
}

const section = (id: number, content: number[]) => [id, ...unsignedLeb(content.length), ...content];
const name = (text: string) => [text.length, ...new TextEncoder().encode(text)];

const MODULE = new Uint8Array([
  0x00,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0,
  ...section(1, [1, 0x60, 2, I32, I32, 1, I32]),
  ...section(2, [1, ...name("packet"), ...name("memory"), 2, 0, 1]),
  ...section(3, [1, 0]),
  ...section(7, [1, ...name("sum"), 0, 0]),
  ...section(10, [1, ...unsignedLeb(BODY.length), ...BODY]),
]);

/** The fast SumOctets of a WebAssembly memory; `length` at most 65,535. */
export function simdSumOctets(memory: WebAssembly.Memory): SumOctets {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(MODULE), { packet: { memory } });
  return instance.exports["sum"] as SumOctets;
}
