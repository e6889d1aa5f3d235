/** Who has broken which rule of the link: counted by frame, told once an episode, which ends when the guest has kept the rule for a while. */
import type { Counters } from "../trace/counters.ts";
import type { BridgePort } from "./bridge-port.ts";

/** a guest that has kept a rule for so long and breaks it again is told of again */
const EPISODE_MS = 60_000;

export class Offences {
  /** tells people; a line */
  tell: ((line: string) => void) | undefined;
  readonly #counters: Counters;
  /** rule → the time it was last broken; rules are few and ports are bounded */
  readonly #last = new Map<BridgePort, Map<string, number>>();

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  /** `rule` is a word of the code; `format` writes the address in whose name it was broken, once an episode. */
  report(
    now: number,
    port: BridgePort,
    rule: string,
    source: number,
    format: (address: number) => string,
  ): void {
    this.#counters.count(rule);
    let rules = this.#last.get(port);
    if (rules === undefined) {
      rules = new Map();
      this.#last.set(port, rules);
    }
    const before = rules.get(rule) ?? -Infinity;
    rules.set(rule, now);
    if (now - before > EPISODE_MS)
      this.tell?.(
        `frames of a guest are dropped port=${port.id} reason=${rule} source=${format(source)}`,
      );
  }

  forget(port: BridgePort): void {
    this.#last.delete(port);
  }
}
