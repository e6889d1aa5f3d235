/** `limanet completion`, `complete` and `generate`: what is made of the commands' definitions. */
import { makeFolder, writeFileAtomically } from "../host/files.ts";
import { limanetHome } from "../host/machine.ts";
import { writeOut } from "../host/terminal.ts";
import { NETWORK_MODES } from "../config/networks.ts";
import { readNetworks } from "../instance/settings.ts";
import type { CommandInfo } from "./reference/command-info.ts";
import { commandsPage } from "./reference/commands-page.ts";
import { complete, type Candidate, type ValuesOf } from "./reference/completion.ts";
import { manualPages } from "./reference/manual-page.ts";
import { COMPLETION_SCRIPTS, type Shell } from "./reference/shell-scripts.ts";
import { RELEASE_DATE, VERSION } from "./version.ts";

export function completionScript(shell: Shell): number {
  writeOut(COMPLETION_SCRIPTS[shell]);
  return 0;
}

/** `words`: the words of the command line up to the one that is being typed, which may be empty */
export async function completeWords(root: CommandInfo, words: readonly string[]): Promise<number> {
  const before = words.slice(0, -1);
  const { candidates, files } = complete(root, before, words.at(-1) ?? "", await valuesHere());
  for (const { word, description } of candidates) writeOut(`${word}\t${description}\n`);
  writeOut(`:${files}\n`);
  return 0;
}

async function valuesHere(): Promise<ValuesOf> {
  const { instanceNames } = await import("../instance/store.ts");
  const { templateNames } = await import("../instance/template.ts");
  const home = limanetHome();
  const networks = () => {
    try {
      return Object.entries(readNetworks(home).networks);
    } catch {
      // the commands themselves say what is wrong with networks.yaml
      return [];
    }
  };
  const kinds: Record<string, () => Candidate[]> = {
    instance: () => instanceNames(home).map((word) => ({ word, description: "instance" })),
    network: () => networks().map(([word, { mode }]) => ({ word, description: mode })),
    "lima:network": () => [
      ...networks().map(([name, { mode }]) => ({ word: `lima:${name}`, description: mode })),
      { word: "vzNAT", description: "of Virtualization.framework" },
    ],
    template: () =>
      templateNames(home).map((name) => ({ word: `template:${name}`, description: "template" })),
    mode: () => NETWORK_MODES.map((word) => ({ word, description: "" })),
  };
  return (kind) => (Object.hasOwn(kinds, kind) ? kinds[kind]!() : []);
}

export type Generated = "man" | "commands";

/** Writes the manual pages, or docs/commands.md, into a folder. */
export function generate(root: CommandInfo, what: Generated, folder: string): number {
  const files =
    what === "man"
      ? manualPages(root, VERSION, RELEASE_DATE)
      : new Map([["commands.md", commandsPage(root)]]);
  makeFolder(folder);
  for (const [name, text] of files) writeFileAtomically(`${folder}/${name}`, text);
  return 0;
}
