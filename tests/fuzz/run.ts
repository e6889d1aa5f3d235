/**
 * Fuzzes all targets in turn until the time is over, or one throws: then its name and seed are told, with which it throws again
 * (`scripts/fuzz 1 SEED NAME`). Called by scripts/fuzz.
 */
import { Dice } from "./dice.ts";
import { targets } from "./targets.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);
const complain = (line: string) => process.stderr.write(`${line}\n`);

const [minutes = "1", firstSeed = String(Date.now() % 2 ** 31), only] = process.argv.slice(2);
const end = performance.now() + Number(minutes) * 60_000;
const all = targets().filter(({ name }) => only === undefined || name === only);
const done = new Map(all.map(({ name }) => [name, 0]));
/** a seed counts for so long, so that what it finds is found again soon */
const SLICE_MS = 1000;
const memory: number[] = [];

let seed = Number(firstSeed);
let failed = false;
while (performance.now() < end && !failed) {
  for (const target of all) {
    const dice = new Dice(seed);
    const until = Math.min(end, performance.now() + SLICE_MS);
    try {
      do {
        await target.round(dice);
        done.set(target.name, done.get(target.name)! + target.batch);
      } while (performance.now() < until);
    } catch (error) {
      failed = true;
      complain(`FAIL ${target.name}, seed ${seed}: ${(error as Error).stack}`);
      break;
    }
  }
  seed++;
  Bun.gc(true);
  memory.push(Math.round(process.memoryUsage.rss() / 2 ** 20));
}
for (const target of all) {
  say(`${String(done.get(target.name)).padStart(12)} ${target.unit.padEnd(12)} ${target.name}`);
  await target.close?.();
}
const part = Math.ceil(memory.length / 4);
const mean = (of: number[]) => Math.round(of.reduce((a, b) => a + b, 0) / of.length);
say(
  `memory: ${mean(memory.slice(part, 2 * part))} MiB in the second quarter, ${mean(memory.slice(-part))} MiB in the last; seeds ${firstSeed} to ${seed - 1}`,
);
process.exit(failed ? 1 : 0);
