/** Every .scn file of this folder; the language is told in tests/support/tcp-scenario.ts. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { playScenario } from "../support/tcp-scenario.ts";

const FOLDER = import.meta.dir;

test.each(readdirSync(FOLDER).filter((name) => name.endsWith(".scn")))("%s", (name) => {
  expect(() => playScenario(readFileSync(join(FOLDER, name), "utf8"))).not.toThrow();
});

test("a scenario fails at the line that is not so", () => {
  const open = "< S 0:0(0) win 65535\n> S. 0:0(0) ack 1\n< . 1:1(0) ack 1\n";
  expect(() => playScenario(`${open}< . 1:101(100) ack 1\n> . 1:1(0) ack 100\n`)).toThrow(
    /^line 5: .*ack of .* 101, not 100/,
  );
  expect(() => playScenario(`${open}say 10\nstate ESTABLISHED\n`)).toThrow(/^line 5: .*unexpected/);
  expect(() => playScenario(`${open}> . 1:1(0) ack 1\n`)).toThrow(/nothing was sent/);
});
