/**
 * struct msghdr for sendmsg(2) and recvmsg(2), with its octets at one place for all calls. Name 0, its length 8, iovecs
 * 16, their number 24, control 32, its length 40, flags 48: so on Linux. On Darwin (bsd/sys/socket.h) the two numbers
 * take 32 bits and the flags stand at 44. Numbers here stay below 2^32: their low halves at 24 and 40 are all that is
 * read and written, and the high half, which is Darwin's flags, is cleared before each call.
 */
import type { Pointer } from "bun:ffi";
import { addressOf } from "./pinned.ts";

export class MessageHeader {
  readonly #view = new DataView(new ArrayBuffer(56));
  readonly at: Pointer = addressOf(this.#view);

  /** as two halves: a BigInt would be garbage for each packet */
  #setAddress(offset: number, address: number): void {
    this.#view.setUint32(offset, address, true);
    this.#view.setUint32(offset + 4, address / 0x1_0000_0000, true);
  }

  setName(at: number, length: number): void {
    this.#setAddress(0, at);
    this.#view.setUint32(8, length, true);
  }

  get nameLength(): number {
    return this.#view.getUint32(8, true);
  }

  set nameLength(length: number) {
    this.#view.setUint32(8, length, true);
  }

  setIovecs(at: number): void {
    this.#setAddress(16, at);
  }

  set iovecCount(count: number) {
    this.#view.setUint32(24, count, true);
  }

  setControl(at: number, length: number): void {
    this.#setAddress(32, at);
    this.controlLength = length;
  }

  get controlLength(): number {
    return this.#view.getUint32(40, true);
  }

  /** 0: no control message is wanted, wherever its octets would go */
  set controlLength(length: number) {
    this.#view.setUint32(40, length, true);
    this.#view.setUint32(44, 0, true);
  }

  get octets(): Uint8Array {
    return new Uint8Array(this.#view.buffer);
  }
}
