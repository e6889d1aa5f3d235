/**
 * A sum of octets. It is floating-point from the first octet on: of a plain number, code is compiled for integers, and
 * compiled again in the middle of a stream when there are 2^31.
 */
export class OctetCount {
  readonly #sum = new Float64Array(1);

  add(octets: number): void {
    this.#sum[0]! += octets;
  }

  get total(): number {
    return this.#sum[0]!;
  }
}
