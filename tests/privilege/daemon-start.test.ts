/** The start of a network's daemon in virtual time (specification, section 7). */
import { expect, test } from "bun:test";
import { DaemonStart, type Look, type Step } from "../../lib/privilege/daemon-start.ts";

/** Follows the machine's steps with a clock of its own; `see` tells what a daemon shows at a time after its spawning. */
function run(see: (attempt: number, sinceMs: number) => Look) {
  const machine = new DaemonStart();
  const spawned: number[] = [];
  const looks: number[] = [];
  let now = 0;
  for (let step: Step = machine.begin(); ;) {
    if (step.do === "spawn") {
      now += step.afterMs;
      spawned.push(now);
      step = machine.onSpawned(now);
    } else if (step.do === "look") {
      now += step.afterMs;
      looks.push(now);
      step = machine.onLook(now, see(spawned.length, now - spawned.at(-1)!));
    } else return { now, spawned, looks, end: step };
  }
}

test("a daemon that serves is started once and seen at the next look", () => {
  const { spawned, looks, end } = run((_, since) => ({
    sees: since < 1700 ? "nothing" : "service",
  }));
  expect(spawned).toEqual([0]);
  expect(looks).toEqual([500, 1000, 1500, 2000]);
  expect(end).toEqual({ do: "finish" });
});

test("a pid file alone does not do: nobody could connect", () => {
  const { looks } = run((_, since) => ({ sees: since < 900 ? "pid" : "service" }));
  expect(looks).toEqual([500, 1000]);
});

test("a daemon that ends is started five times, with pauses of 1, 2, 4 and 8 s", () => {
  const { spawned, end } = run((attempt) => ({ sees: "end", why: `end ${attempt}` }));
  expect(spawned).toEqual([0, 1500, 4000, 8500, 17_000]);
  expect(end).toEqual({ do: "fail", kill: false, why: "it ended 5 times: end 5" });
});

test("a daemon that ends twice and then serves is started three times", () => {
  const { spawned, end } = run((attempt) =>
    attempt < 3 ? { sees: "end", why: "" } : { sees: "service" },
  );
  expect(spawned).toEqual([0, 1500, 4000]);
  expect(end).toEqual({ do: "finish" });
});

test.each<[Look["sees"], string]>([
  ["nothing", "it has written no pid file after 30 s"],
  ["pid", "it serves no socket after 30 s"],
])("a daemon of which is seen: %s, for 30 s, is killed and not started again", (sees, why) => {
  const { now, spawned, end } = run(() => ({ sees }) as Look);
  expect(spawned).toEqual([0]);
  expect(now).toBe(30_000);
  expect(end).toEqual({ do: "fail", kill: true, why });
});

test("each attempt has its own 30 s", () => {
  const { now, spawned, end } = run((attempt, since) =>
    attempt === 1 && since >= 20_000 ? { sees: "end", why: "" } : { sees: "nothing" },
  );
  expect(spawned).toEqual([0, 21_000]);
  expect(now).toBe(51_000);
  expect(end).toMatchObject({ do: "fail", kill: true });
});

test("a pid file that holds no pid is a failure at once", () => {
  const { looks, end } = run(() => ({ sees: "corrupt", why: "x" }));
  expect(looks).toEqual([500]);
  expect(end).toEqual({ do: "fail", kill: true, why: "x" });
});
