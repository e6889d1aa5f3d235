/**
 * The one memory that holds every octet on the packet path: receive buffers, rings, headers, fragments.
 * Views onto it are made once; places in it are plain offsets. It is a WebAssembly memory so that the SIMD checksum
 * (`wire/checksum-simd.ts`) can run over it without copying; pages that nobody touches cost no real memory.
 */
const PAGE = 65536;

export class PacketMemory {
  readonly memory: WebAssembly.Memory;
  readonly octets: Uint8Array;
  /** the same octets, for words at any place */
  readonly view: DataView;
  #next = 64;

  /** size in octets, rounded up to 64 KiB pages */
  constructor(size: number) {
    const pages = Math.ceil(size / PAGE);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.octets = new Uint8Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
  }

  /** Sets aside a region for good and returns its offset. Throws RangeError when the memory is used up. */
  reserve(size: number, align = 64): number {
    const start = Math.ceil(this.#next / align) * align;
    if (start + size > this.octets.length) {
      throw new RangeError(
        `Cannot reserve ${size} octets of packet memory: ${this.octets.length - start} are left`,
      );
    }
    this.#next = start + size;
    return start;
  }

  /** octets not reserved yet */
  get unreserved(): number {
    return this.octets.length - this.#next;
  }
}
