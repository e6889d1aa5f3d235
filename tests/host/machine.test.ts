/** Who this user is, as the system's own id(1) says; cron and systemd run us without USER and HOME. */
import { expect, test } from "bun:test";
import { userName } from "../../lib/host/machine.ts";

const MACHINE = new URL("../../lib/host/machine.ts", import.meta.url).pathname;
const said = (command: string[], env: Record<string, string>) =>
  Bun.spawnSync(command, { env }).stdout.toString().trim();
const id = (...words: string[]) => said(["id", ...words], { PATH: process.env["PATH"]! });

test.each([
  ["hostUser().name", ["-un"]],
  ["hostUser().uid", ["-u"]],
  ["hostGroup()", ["-gn"]],
])("%s is what id says, without an environment", (expression, words) => {
  const script = `const machine = await import(${JSON.stringify(MACHINE)}); console.log(machine.${expression})`;
  expect(said([process.execPath, "-e", script], {})).toBe(id(...words));
});

test("userName() is a name where there is one, and the number where there is none", () => {
  expect(userName(0)).toBe(id("-un", "0"));
  expect(userName(4_000_000_000)).toBe("4000000000");
});
