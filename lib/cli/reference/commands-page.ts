/** docs/commands.md: every command with its arguments and options. */
import {
  allCommands,
  usage,
  type CommandInfo,
  type OptionInfo,
  type PlacedCommand,
} from "./command-info.ts";

export function commandsPage(root: CommandInfo): string {
  return [
    "# Commands",
    "",
    "Made from the definitions in `lib/cli/program.ts` by `limanet generate commands docs`; a test tells when it is not current.",
    "`limanet COMMAND --help` prints the same. Exit codes: 0 done, 1 failed, 2 wrong usage; those of `doctor` are in",
    "[its own page](doctor.md).",
    "",
    'Completion: `eval "$(limanet completion bash)"` in `~/.bashrc`; the same with `zsh` in `~/.zshrc`, below `compinit`;',
    "`limanet completion fish | source` in fish. Manual pages: `limanet generate man FOLDER` writes them.",
    "",
    ...allCommands(root).flatMap(section),
  ].join("\n");
}

function section(placed: PlacedCommand): string[] {
  const { path, command } = placed;
  const { aliases, description, options } = command;
  const described = command.arguments.filter((argument) => argument.description !== "");
  return [
    `## ${path}`,
    "",
    `    ${usage(placed)}`,
    "",
    `${description[0]!.toUpperCase()}${description.slice(1)}.${aliases.length > 0 ? ` Also: ${aliases.map((alias) => `\`${alias}\``).join(", ")}.` : ""}`,
    "",
    ...list(described.map(({ name, choices, ...about }) => row(name, about.description, choices))),
    ...list(
      options
        .filter(({ long }) => long !== "--help")
        .map((option) =>
          row(flags(option), option.description, option.choices, option.defaultText),
        ),
    ),
    ...list(command.commands.map((below) => row(below.name, below.description, []))),
  ];
}

const list = (rows: readonly string[]): readonly string[] =>
  rows.length === 0 ? [] : ["| | |", "| --- | --- |", ...rows, ""];

function row(
  name: string,
  description: string,
  choices: readonly string[],
  defaultText?: string,
): string {
  const more = [
    ...(choices.length > 0 ? [`one of ${choices.join(", ")}`] : []),
    ...(defaultText === undefined ? [] : [`default: ${defaultText}`]),
  ].join("; ");
  const cell = `${description}${more === "" ? "" : ` (${more})`}`;
  return `| \`${name.replaceAll("|", "\\|")}\` | ${cell.replaceAll("|", "\\|").replaceAll("<", "&lt;")} |`;
}

const flags = ({ short, long, value }: OptionInfo): string =>
  `${short === undefined ? "" : `${short}, `}${long}${value === undefined ? "" : ` <${value}>`}`;
