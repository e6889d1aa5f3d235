/** Colours are for terminals, and for those who want them. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { LimaHome } from "../support/lima-home.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
/** runs a command with a terminal as its standard output, whose octets become ours */
const ON_TERMINAL = ["python3", "-c", "import pty, sys; pty.spawn(sys.argv[1:])"];
let home: LimaHome;
beforeAll(() => {
  home = new LimaHome();
});
afterAll(() => home.close());

function run(words: string[], environment: Record<string, string>, isTerminal: boolean): string {
  const child = Bun.spawnSync(
    [...(isTerminal ? ON_TERMINAL : []), process.execPath, MAIN, ...words],
    {
      env: { PATH: process.env["PATH"], LIMANET_HOME: home.folder, ...environment },
      stdin: "ignore",
      stderr: "ignore",
    },
  );
  return child.stdout.toString().replaceAll("\r", "");
}

const HEADINGS = "NAME       MODE       GATEWAY             INTERFACE\n";
const BOLD =
  "\u001B[1mNAME\u001B[0m       \u001B[1mMODE\u001B[0m       \u001B[1mGATEWAY\u001B[0m             \u001B[1mINTERFACE\u001B[0m\n";

test.each([
  ["a terminal", { TERM: "xterm" }, true, BOLD],
  ["a terminal with an empty NO_COLOR", { TERM: "xterm", NO_COLOR: "" }, true, BOLD],
  ["a terminal with NO_COLOR", { TERM: "xterm", NO_COLOR: "1" }, true, HEADINGS],
  ["a terminal that has none", { TERM: "dumb" }, true, HEADINGS],
  ["a terminal that nobody knows", {}, true, HEADINGS],
  ["a pipe", { TERM: "xterm" }, false, HEADINGS],
] as const)("on %s", (_, environment, isTerminal, expected) => {
  expect(run(["network", "list"], environment, isTerminal)).toContain(expected);
});

test("columns stand as they do without colours", () => {
  const plain = run(["list"], { TERM: "xterm" }, false);
  const coloured = run(["list"], { TERM: "xterm" }, true);
  expect(plain).toContain("Stopped");
  expect(Bun.stripANSI(coloured)).toBe(plain);
  expect(coloured).not.toBe(plain);
});
