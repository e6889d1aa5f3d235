/** What may stand at a place of a command line. Pure: the shells' scripts ask it through `limanet complete`. */
import type { ArgumentInfo, CommandInfo, OptionInfo } from "./command-info.ts";

export interface Candidate {
  word: string;
  description: string;
}

export interface Completion {
  candidates: Candidate[];
  /** the shell's own names of files, or of folders, stand here, too */
  files: "none" | "files" | "folders";
}

/** What a kind of value may be on this machine; a kind is the name of an argument, or of an option's value. */
export type ValuesOf = (kind: string) => readonly Candidate[];

const NOTHING: Completion = { candidates: [], files: "none" };
const FILE_KINDS = new Set(["file", "socket", "template", "command"]);

/** `before`: the words between "limanet" and the one that is being typed */
export function complete(
  root: CommandInfo,
  before: readonly string[],
  current: string,
  valuesOf: ValuesOf,
): Completion {
  let command = root;
  let position = 0;
  let isPastOptions = false;
  for (let at = 0; at < before.length; at++) {
    const word = before[at]!;
    if (!isPastOptions && word === "--") isPastOptions = true;
    else if (!isPastOptions && word.startsWith("-")) {
      const option = optionOf(command, root, word.split("=")[0]!);
      const isSeparate = option?.value !== undefined && !word.includes("=");
      if (isSeparate && at === before.length - 1)
        return values(option, option.value!, current, valuesOf);
      if (isSeparate) at++;
    } else {
      const below = position === 0 ? subcommand(command, word) : undefined;
      if (below === undefined) position++;
      else command = below;
    }
    // the rest is another program's
    if (argumentAt(command, position - 1)?.name === "command" && position > 0) isPastOptions = true;
  }
  if (!isPastOptions && current.startsWith("-")) return options(command, root, current, valuesOf);
  const words = position === 0 && !isPastOptions ? command.commands : [];
  const argument = argumentAt(command, position);
  const here =
    argument === undefined ? NOTHING : values(argument, argument.name, current, valuesOf);
  return {
    ...here,
    candidates: [
      ...matching(
        words.map(({ name, description }) => ({ word: name, description })),
        current,
      ),
      ...here.candidates,
    ],
  };
}

const subcommand = (command: CommandInfo, word: string): CommandInfo | undefined =>
  command.commands.find(({ name, aliases }) => name === word || aliases.includes(word));

function argumentAt(command: CommandInfo, position: number): ArgumentInfo | undefined {
  const last = command.arguments.at(-1);
  return command.arguments[position] ?? (last?.isVariadic === true ? last : undefined);
}

const optionOf = (command: CommandInfo, root: CommandInfo, flag: string): OptionInfo | undefined =>
  [...command.options, ...root.options].find(({ short, long }) => short === flag || long === flag);

function options(
  command: CommandInfo,
  root: CommandInfo,
  current: string,
  valuesOf: ValuesOf,
): Completion {
  const equals = current.indexOf("=");
  if (equals !== -1) {
    const flag = current.slice(0, equals);
    const option = optionOf(command, root, flag);
    if (option?.value === undefined) return NOTHING;
    const { candidates, files } = values(option, option.value, current.slice(equals + 1), valuesOf);
    const withFlag = candidates.map(({ word, description }) => ({
      word: `${flag}=${word}`,
      description,
    }));
    return { candidates: withFlag, files };
  }
  const all = command.options.map(({ long, description }) => ({ word: long, description }));
  return { candidates: matching(all, current), files: "none" };
}

function values(
  { choices }: { choices: readonly string[] },
  kinds: string,
  current: string,
  valuesOf: ValuesOf,
): Completion {
  if (choices.length > 0) {
    const words = choices.map((word) => ({ word, description: "" }));
    return { candidates: matching(words, current), files: "none" };
  }
  const each = kinds.split("|");
  return {
    candidates: matching(each.flatMap(valuesOf), current),
    files: each.some((kind) => FILE_KINDS.has(kind))
      ? "files"
      : each.includes("folder")
        ? "folders"
        : "none",
  };
}

const matching = (candidates: readonly Candidate[], current: string): Candidate[] =>
  candidates.filter(({ word }) => word.startsWith(current));
