/** Manual pages and docs/commands.md: complete, current, and in order for the programs that read them. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeCommands } from "../../../lib/cli/program.ts";
import { allCommands } from "../../../lib/cli/reference/command-info.ts";
import { commandsPage } from "../../../lib/cli/reference/commands-page.ts";
import { manualPages } from "../../../lib/cli/reference/manual-page.ts";

const root = describeCommands();
const pages = manualPages(root, "0.1.0", "2026-11-25");

test("docs/commands.md is current (limanet generate commands docs)", () => {
  const page = readFileSync(new URL("../../../docs/commands.md", import.meta.url), "utf8");
  expect(page).toBe(commandsPage(root));
});

test("every command has a manual page with its options, and every option a description", () => {
  expect([...pages.keys()]).toEqual(
    allCommands(root).map(({ path }) => `${path.replaceAll(" ", "-")}.1`),
  );
  for (const { path, command } of allCommands(root)) {
    const text = pages.get(`${path.replaceAll(" ", "-")}.1`)!;
    for (const { long, description } of command.options) {
      expect(text).toContain(`\\fB${long.replaceAll("-", "\\-")}\\fR`);
      expect(description).not.toBe("");
    }
  }
});

test("hidden commands have none", () => {
  expect([...pages.keys()].join()).not.toMatch(/hostagent|generate|complete\./);
});

/** bold letters are written over themselves */
const OVERSTRUCK = new RegExp(`.${String.fromCharCode(8)}`, "g");
const hasMandoc = Bun.which("mandoc") !== null;
if (!hasMandoc)
  process.stderr.write("skipped: mandoc -Tlint of the manual pages (it is not installed)\n");

test.skipIf(!hasMandoc)("mandoc finds nothing in the manual pages, and shows what they say", () => {
  const folder = mkdtempSync(join(tmpdir(), "manual-"));
  try {
    const files = [...pages].map(([name, text]) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    });
    const lint = Bun.spawnSync(["mandoc", "-Tlint", "-Wstyle", ...files]);
    // the other pages are not installed where this looks for them
    const found = lint.stdout
      .toString()
      .split("\n")
      .filter((line) => line !== "" && !/referenced manual not found/.test(line));
    expect(found).toEqual([]);
    const shown = Bun.spawnSync(["mandoc", "-Tascii", join(folder, "limanet-network-create.1")]);
    const text = shown.stdout.toString().replaceAll(OVERSTRUCK, "");
    expect(text).toMatch(/limanet-network-create - add a network to networks.yaml/);
    expect(text).toMatch(
      /--gateway address\n +ADDRESS, ADDRESS\/PREFIX, or auto for a free subnet\./,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
