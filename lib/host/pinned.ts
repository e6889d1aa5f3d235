/**
 * Addresses of memory that the C library is given again and again. An address alone keeps nothing alive: what only its address is
 * used of is collected, and its place given to something else. For one call it is given the view itself, which lives as long.
 */
import { ptr, type Pointer } from "bun:ffi";

const kept: ArrayBufferView[] = [];

/**
 * The address of memory that stays in place as long as the view is kept. A small typed array has no buffer of its own
 * until somebody asks for it (as `subarray` does) and moves then: so it is asked for first.
 */
export function addressOf(view: ArrayBufferView): Pointer {
  void view.buffer;
  return ptr(view as Uint8Array);
}

/** The address of memory that is kept for as long as the program runs. */
export function pinned(view: ArrayBufferView): Pointer {
  kept.push(view);
  return addressOf(view);
}
