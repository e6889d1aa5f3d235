/** The file that lets a group run exactly these commands as root (specification, section 6.3), and what is said of it. */
import { basename } from "node:path";
import type { NetworksConfig } from "../config/networks.ts";
import { groupOf, makeFolderCommand, managedNames, startCommand, stopCommand } from "./commands.ts";
import type { Platform } from "./platform.ts";

/** The file's text; a program that is not installed gets no command lines. */
export function sudoersText(
  config: NetworksConfig,
  platform: Platform,
  isInstalled: boolean,
): string {
  const grant = `%${groupOf(config, platform)} ALL=(root:${platform.rootGroup}) NOPASSWD:NOSETENV:`;
  const words = (command: string[]) => command.join(" ");
  const networks = managedNames(config).map((name) => {
    const heading = `\n# Manage "${name}" network daemons\n`;
    if (!isInstalled) return heading;
    return `${heading}\n${grant} \\\n    ${words(startCommand(config, name, platform))}, \\\n    ${words(stopCommand(config, name))}\n`;
  });
  return `${grant} ${words(makeFolderCommand(config))}\n${networks.join("")}`;
}

/** every command that the file allows */
export function allowedCommands(config: NetworksConfig, platform: Platform): string[][] {
  const networks = managedNames(config).flatMap((name) => [
    startCommand(config, name, platform),
    stopCommand(config, name),
  ]);
  return [makeFolderCommand(config), ...networks];
}

export function installHint(file: string): string {
  const copy = `etc_sudoers.d_${basename(file)}`;
  return `(Hint: run \`limanet sudoers >${copy} && sudo install -o root ${copy} "${file}"\`)`;
}

const MOST_LINES = 12;

/** What would change in a file: lines to go with "-", lines to come with "+", each with its number; at most a dozen. */
export function shortDiff(is: string, shouldBe: string): string {
  const old = is.split("\n");
  const wanted = shouldBe.split("\n");
  const common = longestCommon(old, wanted);
  const lines: string[] = [];
  let i = 0;
  let j = 0;
  while (i < old.length || j < wanted.length) {
    if (i < old.length && j < wanted.length && old[i] === wanted[j]) {
      i++;
      j++;
    } else if (
      j === wanted.length ||
      (i < old.length && common[i + 1]![j]! >= common[i]![j + 1]!)
    ) {
      lines.push(`  -${i + 1}: ${old[i]}`);
      i++;
    } else {
      lines.push(`  +${j + 1}: ${wanted[j]}`);
      j++;
    }
  }
  const more = lines.length - MOST_LINES;
  return [
    ...lines.slice(0, MOST_LINES),
    ...(more > 0 ? [`  and ${more} more ${more === 1 ? "line" : "lines"}`] : []),
  ].join("\n");
}

/** table[i][j]: length of the longest common subsequence of a from i and b from j */
function longestCommon(a: readonly string[], b: readonly string[]): number[][] {
  const table = Array.from({ length: a.length + 1 }, () =>
    Array.from({ length: b.length + 1 }, () => 0),
  );
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i]![j] =
        a[i] === b[j] ? table[i + 1]![j + 1]! + 1 : Math.max(table[i + 1]![j]!, table[i]![j + 1]!);
  return table;
}
