import { expect, test } from "bun:test";
import { REST_AFTER_MS, RestAfterWork } from "../../lib/daemon/engine/rest-after-work.ts";

/** turns of a stretch each, evenly; in which stretches it rested */
function restsOf(stretches: readonly number[]): string[] {
  const rest = new RestAfterWork(0);
  const rested: string[] = [];
  stretches.forEach((turns, stretch) => {
    for (let turn = 1; turn <= turns; turn++) {
      const now = stretch * REST_AFTER_MS + (turn / turns) * REST_AFTER_MS;
      const due = rest.turned(now);
      if (due !== undefined) rested.push(`${due} in ${stretch}`);
    }
  });
  return rested;
}

test.each([
  ["little to do", [5, 5, 5], []],
  ["work, then little", [10_000, 5, 5, 5, 5, 5, 5, 5, 5], ["first in 1", "second in 4"]],
  ["work without an end", [10_000, 10_000, 10_000], []],
  [
    "work, a pause, work, a pause",
    [1000, 5, 1000, 1000, 5, 5, 5, 5, 5],
    ["first in 1", "first in 4", "second in 7"],
  ],
  ["work that ends within a stretch", [5, 300, 5, 5], ["first in 2"]],
])("%s", (_what, stretches, rested) => expect(restsOf(stretches)).toEqual(rested));
