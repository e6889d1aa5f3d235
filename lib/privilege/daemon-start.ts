/**
 * The start of a network's daemon, as a state machine: what was seen and the time come in, the next step comes out
 * (specification, section 7).
 *
 *   spawn ──► look every 500 ms ──► the daemon serves: done
 *     ▲            │  it ends first: again after 1, 2, 4, 8 s; the fifth end is a failure
 *     └────────────┘  30 s go by: it is killed, a failure; a pid file that holds no pid: a failure at once
 */
export interface StartTimes {
  pollMs: number;
  /** of one attempt */
  limitMs: number;
  /** before the second attempt, the third, … */
  pausesMs: readonly number[];
}

export const START_TIMES: StartTimes = {
  pollMs: 500,
  limitMs: 30_000,
  pausesMs: [1000, 2000, 4000, 8000],
};

export type Look =
  | { sees: "nothing" }
  /** it runs, but nobody can connect yet */
  | { sees: "pid" }
  | { sees: "service" }
  | { sees: "end"; why: string }
  | { sees: "corrupt"; why: string };

export type Step =
  | { do: "spawn"; afterMs: number }
  | { do: "look"; afterMs: number }
  | { do: "finish" }
  | { do: "fail"; kill: boolean; why: string };

export class DaemonStart {
  readonly #times: StartTimes;
  #attempts = 0;
  /** when the present attempt began */
  #since = 0;

  constructor(times: StartTimes = START_TIMES) {
    this.#times = times;
  }

  begin(): Step {
    return { do: "spawn", afterMs: 0 };
  }

  onSpawned(now: number): Step {
    this.#attempts++;
    this.#since = now;
    return { do: "look", afterMs: this.#times.pollMs };
  }

  onLook(now: number, look: Look): Step {
    const { pollMs, limitMs, pausesMs } = this.#times;
    switch (look.sees) {
      case "service":
        return { do: "finish" };
      case "corrupt":
        return { do: "fail", kill: true, why: look.why };
      case "end": {
        const afterMs = pausesMs[this.#attempts - 1];
        if (afterMs !== undefined) return { do: "spawn", afterMs };
        return { do: "fail", kill: false, why: `it ended ${this.#attempts} times: ${look.why}` };
      }
      default: {
        if (now - this.#since < limitMs) return { do: "look", afterMs: pollMs };
        const missing = look.sees === "pid" ? "serves no socket" : "has written no pid file";
        return { do: "fail", kill: true, why: `it ${missing} after ${limitMs / 1000} s` };
      }
    }
  }
}
