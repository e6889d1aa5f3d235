/** Round-trip estimate and retransmission time-out (RFC 6298). Times in milliseconds. */

/** Linux's value; RFC 6298 2.4 asks for 1 s, which a link inside one machine does not need */
const MIN_RTO_MS = 200;
const MAX_RTO_MS = 60_000;
const INITIAL_RTO_MS = 1000;
const CLOCK_GRANULARITY_MS = 1;

export class RetransmissionTimeout {
  srttMs = 0;
  rttVarMs = 0;
  rtoMs = INITIAL_RTO_MS;
  #measured = false;

  /** A round trip of a segment that was sent once (Karn) or carried a timestamp. */
  onMeasurement(rttMs: number): void {
    if (this.#measured) {
      this.rttVarMs = 0.75 * this.rttVarMs + 0.25 * Math.abs(this.srttMs - rttMs);
      this.srttMs = 0.875 * this.srttMs + 0.125 * rttMs;
    } else {
      this.srttMs = rttMs;
      this.rttVarMs = rttMs / 2;
      this.#measured = true;
    }
    this.rtoMs = clamp(this.srttMs + Math.max(CLOCK_GRANULARITY_MS, 4 * this.rttVarMs));
  }

  /** RFC 6298 5.5: doubles after each expiry. */
  backOff(): void {
    this.rtoMs = clamp(this.rtoMs * 2);
  }
}

function clamp(ms: number): number {
  return Math.min(MAX_RTO_MS, Math.max(MIN_RTO_MS, ms));
}
