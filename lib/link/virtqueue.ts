/**
 * The device's side of a split virtqueue (OASIS virtio 1.2, section 2.7): the driver lists buffers in the available ring, the
 * device gives them back through the used ring. All three areas are the guest's memory, which it may change at any time: a
 * number is read from there once, and checked.
 */
const DESCRIPTOR_LENGTH = 16;
/** flags of a descriptor */
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
/** places in both rings, in words of 16 bits */
const FLAGS = 0;
const INDEX = 1;
const RING = 2;
/** the flag of the available ring: no interrupt when buffers come back; of the used ring: no kick when there are new ones */
const SILENT = 1;
/** octets of a ring's flags and index, and of the index of the event behind it */
const RING_ENDS = 6;
const INDEX_MASK = 0xffff;
const TRIES = 8;

/** section 2.7 allows 32768; no front-end makes longer ones */
export const MAX_QUEUE_SIZE = 1024;

export const isQueueSize = (size: number): boolean =>
  size > 0 && size <= MAX_QUEUE_SIZE && (size & (size - 1)) === 0;

/** The memory of a queue. */
export interface QueueAreas {
  descriptors: DataView;
  available: Uint16Array;
  used: Uint16Array;
}

export const descriptorsLength = (size: number): number => size * DESCRIPTOR_LENGTH;
export const availableLength = (size: number): number => RING_ENDS + size * 2;
export const usedLength = (size: number): number => RING_ENDS + size * 8;

/** Section 2.7.7: whoever wants to hear of `event` does when an index goes from `before` to `now`. */
const passes = (event: number, now: number, before: number): boolean =>
  ((now - event - 1) & INDEX_MASK) < ((now - before) & INDEX_MASK);

/** Buffers of the guest's, by its own addresses: those of one chain after the other. */
export class GuestBuffers {
  readonly addresses = new Float64Array(MAX_QUEUE_SIZE);
  readonly lengths = new Float64Array(MAX_QUEUE_SIZE);
  count = 0;
  octets = 0;
  /** the chains, by their first descriptors, and where the buffers of each end */
  readonly heads = new Uint16Array(MAX_QUEUE_SIZE);
  readonly ends = new Uint16Array(MAX_QUEUE_SIZE);
  chains = 0;

  clear(): void {
    this.count = 0;
    this.octets = 0;
    this.chains = 0;
  }
}

export class Virtqueue {
  readonly size: number;
  readonly #areas: QueueAreas;
  readonly #isWritable: boolean;
  /** VIRTIO_F_EVENT_IDX: both sides say at which index they want to be woken, instead of whether at all */
  readonly #wakesByIndex: boolean;
  #nextAvailable: number;
  #nextUsed: number;
  /** what the driver has seen of it */
  #published: number;
  /** the driver has listed what cannot be; nothing more is taken */
  isBroken = false;

  /** `isWritable`: its buffers are for the device to write to. `next`: where in the available ring to go on. */
  constructor(
    size: number,
    areas: QueueAreas,
    isWritable: boolean,
    wakesByIndex: boolean,
    next: number,
  ) {
    this.size = size;
    this.#areas = areas;
    this.#isWritable = isWritable;
    this.#wakesByIndex = wakesByIndex;
    this.#nextAvailable = next & INDEX_MASK;
    this.#nextUsed = Atomics.load(areas.used, INDEX);
    this.#published = this.#nextUsed;
  }

  /** where in the available ring the next chain is taken from */
  get next(): number {
    return this.#nextAvailable;
  }

  /** chains that are there to be taken */
  get available(): number {
    return (Atomics.load(this.#areas.available, INDEX) - this.#nextAvailable) & INDEX_MASK;
  }

  /** Adds the next chain to the list. False: there is none, or the queue is broken. */
  take(into: GuestBuffers): boolean {
    const { available } = this;
    if (available === 0 || this.isBroken) return false;
    const { descriptors } = this.#areas;
    const head = this.#areas.available[RING + (this.#nextAvailable & (this.size - 1))]!;
    let { count, octets } = into;
    let at = head;
    // more buffers than descriptors would be a circle
    for (let left = this.size; left > 0 && at < this.size && count < MAX_QUEUE_SIZE; left--) {
      const from = at * DESCRIPTOR_LENGTH;
      const length = descriptors.getUint32(from + 8, true);
      const flags = descriptors.getUint16(from + 12, true);
      if ((flags & INDIRECT) !== 0 || (flags & WRITE) !== (this.#isWritable ? WRITE : 0)) break;
      into.addresses[count] =
        descriptors.getUint32(from, true) + descriptors.getUint32(from + 4, true) * 0x1_0000_0000;
      into.lengths[count++] = length;
      octets += length;
      if ((flags & NEXT) === 0) {
        if (available > this.size) break;
        into.count = count;
        into.octets = octets;
        into.heads[into.chains] = head;
        into.ends[into.chains++] = count;
        this.#nextAvailable = (this.#nextAvailable + 1) & INDEX_MASK;
        return true;
      }
      at = descriptors.getUint16(from + 14, true);
    }
    this.isBroken = true;
    return false;
  }

  /** The last `chains` that were taken have not been: they are taken again next time. */
  putBack(chains: number): void {
    this.#nextAvailable = (this.#nextAvailable - chains) & INDEX_MASK;
  }

  /** Gives a chain back, in which `written` octets were written; the driver sees it once it is published. */
  giveBack(head: number, written: number): void {
    const { used } = this.#areas;
    const at = RING + (this.#nextUsed & (this.size - 1)) * 4;
    used[at] = head;
    used[at + 1] = 0;
    used[at + 2] = written;
    used[at + 3] = written >>> 16;
    this.#nextUsed = (this.#nextUsed + 1) & INDEX_MASK;
  }

  /** Shows the driver what was given back. True: it wants an interrupt for that. */
  publish(): boolean {
    const { used, available } = this.#areas;
    const before = this.#published;
    if (before === this.#nextUsed) return false;
    this.#published = this.#nextUsed;
    Atomics.store(used, INDEX, this.#nextUsed);
    return this.#wakesByIndex
      ? passes(Atomics.load(available, RING + this.size), this.#nextUsed, before)
      : (Atomics.load(available, FLAGS) & SILENT) === 0;
  }

  /** Says whether the driver is to kick when it lists new buffers; look for those that came before it had read that. */
  askForKicks(wanted: boolean): void {
    const { used, available } = this.#areas;
    if (!this.#wakesByIndex) {
      Atomics.store(used, FLAGS, wanted ? 0 : SILENT);
      return;
    }
    // An index that is passed already wakes nobody, so no taking back is needed; and what is listed while the event is being
    // named is passed, too. A driver that lists without end does not need to be heard.
    let event = Atomics.load(available, INDEX);
    for (let tries = wanted ? TRIES : 0; tries > 0; tries--) {
      Atomics.store(used, RING + this.size * 4, event);
      const now = Atomics.load(available, INDEX);
      if (now === event) return;
      event = now;
    }
  }
}
