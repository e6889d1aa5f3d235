/** Pages of packet memory that nobody needs go back to the system; they are there again, empty, when they are touched. */
import type { PacketMemory } from "../storage/packet-memory.ts";
import { abi, libc } from "./libc.ts";
import { addressOf } from "./pinned.ts";

/** For whole pages; a system that does not take them back loses nothing but the memory. */
export function pageRelease(memory: PacketMemory): (offset: number, length: number) => void {
  const base = addressOf(memory.octets);
  return (offset, length) => void libc.madvise(base + offset, length, abi.MADV_FREE);
}
