/** Each target for a short while, with the same seed every time; `scripts/fuzz` goes on with others for as long as wanted. */
import { afterAll, expect, test } from "bun:test";
import { Dice } from "./dice.ts";
import { targets } from "./targets.ts";

const SEED = 20_261_125;
/** rounds that take some tenths of a second */
const ROUNDS: Record<string, number> = {
  messages: 1000,
  questions: 60,
  records: 60,
  trains: 20,
  texts: 60,
  streams: 60,
  frames: 60,
  connections: 4,
  descriptors: 12,
};

const all = targets();
afterAll(async () => {
  for (const target of all) await target.close?.();
});

test.each(all.map((target) => [target.name, target] as const))(
  "%s: whatever comes is taken in",
  async (_name, target) => {
    const rounds = ROUNDS[target.unit]!;
    const dice = new Dice(SEED);
    for (let n = 0; n < rounds; n++) await target.round(dice);
    expect(rounds).toBeGreaterThan(0);
  },
  30_000,
);
