/** The next of many deadlines: a min-heap of (milliseconds, integer id) on typed arrays, O(log n), without allocation. */
export class DeadlineHeap {
  readonly #at: Float64Array;
  readonly #ids: Int32Array;
  /** place of an id in the heap; -1: none */
  readonly #place: Int32Array;
  #size = 0;

  /** ids are 0..capacity-1 */
  constructor(capacity: number) {
    this.#at = new Float64Array(capacity);
    this.#ids = new Int32Array(capacity);
    this.#place = new Int32Array(capacity).fill(-1);
  }

  /** Infinity when nothing is due ever */
  next(): number {
    return this.#size === 0 ? Infinity : this.#at[0]!;
  }

  /** the deadline of an id, Infinity when it has none */
  of(id: number): number {
    const place = this.#place[id]!;
    return place < 0 ? Infinity : this.#at[place]!;
  }

  /** Sets or moves the deadline of an id; Infinity clears it. */
  set(id: number, at: number): void {
    if (at === Infinity) {
      this.clear(id);
      return;
    }
    let place = this.#place[id]!;
    if (place < 0) place = this.#size++;
    this.#settle(place, id, at);
  }

  clear(id: number): void {
    const place = this.#place[id]!;
    if (place < 0) return;
    this.#place[id] = -1;
    const last = --this.#size;
    if (place !== last) this.#settle(place, this.#ids[last]!, this.#at[last]!);
  }

  /** Takes out an id whose deadline is not after `now`; -1 when there is none. */
  popDue(now: number): number {
    if (this.#size === 0 || this.#at[0]! > now) return -1;
    const id = this.#ids[0]!;
    this.clear(id);
    return id;
  }

  /** Puts an entry where it belongs, starting from a free place. */
  #settle(from: number, id: number, at: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#at[parent]! <= at) break;
      this.#move(parent, place);
      place = parent;
    }
    for (;;) {
      let child = 2 * place + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#at[child + 1]! < this.#at[child]!) child++;
      if (this.#at[child]! >= at) break;
      this.#move(child, place);
      place = child;
    }
    this.#at[place] = at;
    this.#ids[place] = id;
    this.#place[id] = place;
  }

  #move(from: number, to: number): void {
    this.#at[to] = this.#at[from]!;
    this.#ids[to] = this.#ids[from]!;
    this.#place[this.#ids[to]!] = to;
  }
}
