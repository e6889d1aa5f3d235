/**
 * Answers that promise a lease wait until the lease is stored (RFC 2131 3.1, step 4): whoever is killed in between has
 * promised nothing, and afterwards gives the address to nobody else.
 */

/** a client asks again after seconds; nobody waits longer for one place */
const MAX_WAITING = 256;

interface Waiting<Answer> {
  state: number;
  answer: Answer;
}

export class KeptPromises<Answer> {
  /** number of the state of the leases that was told last */
  #state = 0;
  #waiting: Waiting<Answer>[] = [];

  /** The leases have changed and are told of, to be stored: the number of their state. */
  told(): number {
    return ++this.#state;
  }

  /** Keeps an answer until what it tells of, which is going to be told, is stored; false: there is no room. */
  wait(answer: Answer): boolean {
    if (this.#waiting.length >= MAX_WAITING) return false;
    this.#waiting.push({ state: this.#state + 1, answer });
    return true;
  }

  /** The leases of this state are stored: the answers that can be given. */
  stored(state: number): Answer[] {
    const ready = this.#waiting.filter((waiting) => waiting.state <= state);
    this.#waiting = this.#waiting.filter((waiting) => waiting.state > state);
    return ready.map(({ answer }) => answer);
  }
}
