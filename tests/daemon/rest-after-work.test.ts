import { expect, test } from "bun:test";
import { REST_AFTER_MS, RestAfterWork } from "../../lib/daemon/engine/rest-after-work.ts";

/** stretches of so many turns, evenly, and so many milliseconds of work in all of them; in which stretches it rested */
function restsOf(stretches: readonly [turns: number, ms: number][]): string[] {
  const rest = new RestAfterWork(0);
  const rested: string[] = [];
  stretches.forEach(([turns, ms], stretch) => {
    for (let turn = 1; turn <= turns; turn++) {
      const now = stretch * REST_AFTER_MS + (turn / turns) * REST_AFTER_MS;
      const due = rest.turned(now, ms / turns);
      if (due !== undefined) rested.push(`${due} in ${stretch}`);
    }
  });
  return rested;
}

const work: [number, number] = [10_000, 1000];
const little: [number, number] = [5, 1];

test.each([
  ["little to do", [little, little, little], []],
  [
    "work, then little",
    [work, little, little, little, little, little, little, little, little],
    ["first in 1", "second in 4"],
  ],
  ["work without an end", [work, work, work], []],
  [
    "work, a pause, work, a pause",
    [work, little, work, work, little, little, little, little, little],
    ["first in 1", "first in 4", "second in 7"],
  ],
  ["work that ends within a stretch", [little, [300, 30], little, little], ["first in 2"]],
  ["many turns with little to do each", [[300, 3], little, little], []],
  ["a thousand connections that end in two turns", [[2, 10], little], ["first in 1"]],
] satisfies [string, [number, number][], string[]][])("%s", (_what, stretches, rested) =>
  expect(restsOf(stretches)).toEqual(rested),
);
