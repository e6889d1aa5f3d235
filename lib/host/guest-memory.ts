/**
 * A guest's memory, which its virtual machine shares with us (vhost-user): files of memory, mapped. Guests say where something
 * is by their own addresses, and front-ends by theirs; every address is looked up before it is used.
 */
import { toArrayBuffer, type Pointer } from "bun:ffi";
import type { Region } from "../link/vhost-user.ts";
import { errnoName, fcntl, libc, orErrno } from "./libc.ts";

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const SEEK_END = 2;
/** fcntl(2): a file's seals, and the one with which it never gets shorter */
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 2;

interface Mapping {
  guest: number;
  user: number;
  size: number;
  /** where the region is for us, and all that is mapped for it */
  at: number;
  mapped: number;
  mappedSize: number;
}

export class GuestMemory {
  readonly #mappings: Mapping[] = [];

  /** Maps a region of the file `fd`, which may be closed then; a sentence when that cannot be. */
  map({ guest, user, size, offset }: Region, fd: number): string | undefined {
    // what is compared later is exact only below 2^53
    if (guest + size > Number.MAX_SAFE_INTEGER || user + size > Number.MAX_SAFE_INTEGER)
      return "its memory is at addresses that no machine has";
    const length = Number(libc.lseek(fd, 0, SEEK_END));
    if (size === 0 || offset + size > length) return "its memory is not as large as it says";
    // a file that gets shorter while it is mapped ends whoever reads there
    const seals = fcntl(fd, F_GET_SEALS, 0);
    if (seals < 0 || (seals & F_SEAL_SHRINK) === 0)
      return "its memory may be shortened while we use it: give QEMU -object memory-backend-memfd,share=on, which is sealed";
    const mappedSize = offset + size;
    const mapped = orErrno(libc.mmap(0, mappedSize, PROT_READ_WRITE, MAP_SHARED, fd, 0));
    if (mapped < 0) return `its memory cannot be mapped: ${errnoName(mapped)}`;
    this.#mappings.push({ guest, user, size, at: mapped + offset, mapped, mappedSize });
    return undefined;
  }

  /** Whoever has a view of it must have let go of it. */
  unmap(): void {
    for (const { mapped, mappedSize } of this.#mappings) libc.munmap(mapped, mappedSize);
    this.#mappings.length = 0;
  }

  /** `length` octets at an address of the front-end's; undefined: they are not all there. */
  view(user: number, length: number): ArrayBuffer | undefined {
    for (const mapping of this.#mappings) {
      const offset = user - mapping.user;
      if (offset >= 0 && offset + length <= mapping.size)
        return toArrayBuffer((mapping.at + offset) as Pointer, 0, length);
    }
    return undefined;
  }

  /** Our address of the guest's `length` octets at `guest`; 0: they are not all there. */
  #addressOf(guest: number, length: number): number {
    for (const mapping of this.#mappings) {
      const offset = guest - mapping.guest;
      if (offset >= 0 && offset + length <= mapping.size) return mapping.at + offset;
    }
    return 0;
  }

  /** Copies from the guest to our address. False: there is no such memory. */
  read(guest: number, to: number, length: number): boolean {
    const from = this.#addressOf(guest, length);
    if (from !== 0) libc.memcpy(to, from, length);
    return from !== 0;
  }

  /** The other way. */
  write(guest: number, from: number, length: number): boolean {
    const to = this.#addressOf(guest, length);
    if (to !== 0) libc.memcpy(to, from, length);
    return to !== 0;
  }
}
