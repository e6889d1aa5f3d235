/**
 * Under Deno, which has nothing of Bun's: the types of the whole program are right, and commands that open no socket and take
 * no lock say the same, letter by letter.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { LimaHome } from "../support/lima-home.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const DENO = `${ROOT}node_modules/.bin/deno`;
const LIMIT = 120_000;

test(
  "deno check main.ts",
  () => {
    const { success, stderr } = Bun.spawnSync([DENO, "check", "--quiet", "main.ts"], { cwd: ROOT });
    expect(Bun.stripANSI(stderr.toString())).toBe("");
    expect(success).toBe(true);
  },
  LIMIT,
);

/** one after the other in the same home folder; the exit code of both */
const COMMANDS: readonly [string, number][] = [
  ["--help", 0],
  ["--version", 0],
  ["network --help", 0],
  ["network list", 0],
  ["network list --json", 0],
  ["network list user-v2 nothing", 0],
  ["network choose --from host", 0],
  ["network choose --from lan --json", 0],
  ["network choose", 1],
  ["network create second --gateway 10.213.7.1", 0],
  ["network create second --gateway 10.213.7.1", 1],
  ["network create third --mode host --gateway 10.213.7.129", 1],
  ["network list --json second", 0],
  ["sudoers", 1],
  ["validate docker/lima.yaml", 0],
  ["validate --json broken.yaml", 1],
  ["validate template:debian template:nothing", 1],
  ["completion bash", 0],
  ["generate commands pages", 0],
  ["nonsense", 2],
];

let underBun: LimaHome;
let underDeno: LimaHome;
beforeAll(() => {
  [underBun, underDeno] = [new LimaHome(), new LimaHome()];
  for (const home of [underBun, underDeno]) home.write("broken.yaml", "images: 7\n");
});
afterAll(() => {
  underBun.close();
  underDeno.close();
});

test.each(COMMANDS)(
  "limanet %s",
  (line, code) => {
    const words = line.split(" ");
    const said = underBun.run(words);
    expect(said.code).toBe(code);
    expect(underDeno.run(words, {}, [DENO, "run", "--quiet", "--allow-all"])).toEqual(said);
  },
  LIMIT,
);

test("the files that they have written are the same", () => {
  for (const name of ["_config/networks.yaml", "pages/commands.md"])
    expect(underDeno.read(name)).toBe(underBun.read(name));
});
