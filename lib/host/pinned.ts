import { ptr, type Pointer } from "bun:ffi";

const kept: ArrayBufferView[] = [];

/**
 * The address of memory that calls of the C library use for as long as the program runs. An address alone keeps nothing
 * alive: a constant that only its address is used of would be collected, and its place given to something else.
 */
export function pinned(view: ArrayBufferView): Pointer {
  kept.push(view);
  return ptr(view as Uint8Array);
}
