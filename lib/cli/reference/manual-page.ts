/** Manual pages in man(7)'s language: one of limanet, one of each command. `mandoc -Tlint` finds nothing in them. */
import { AREA_EXIT_CODES } from "../../doctor/area.ts";
import {
  allCommands,
  argumentText,
  type CommandInfo,
  type OptionInfo,
  type PlacedCommand,
} from "./command-info.ts";

/** a page's file name → its text */
export function manualPages(root: CommandInfo, version: string, date: string): Map<string, string> {
  const pages = allCommands(root);
  return new Map(
    pages.map((placed) => [`${pageName(placed.path)}.1`, page(placed, pages, version, date)]),
  );
}

const pageName = (path: string): string => path.replaceAll(" ", "-");

function page(
  placed: PlacedCommand,
  pages: readonly PlacedCommand[],
  version: string,
  date: string,
): string {
  const { path, command } = placed;
  const name = pageName(path);
  const globals = pages[0]!.command.options.filter(({ long }) => long.startsWith("--log-"));
  return [
    `.TH ${name.toUpperCase()} 1 ${date} "limanet ${version}" "limanet"`,
    ".SH NAME",
    fill(`${escape(name)} \\- ${escape(command.description)}`),
    ".SH SYNOPSIS",
    `.B ${escape(path)}`,
    ...(command.commands.length > 0 ? [".I command"] : []),
    ...(command.options.length > 0 ? [".RI [ options ]"] : []),
    ...command.arguments.map((argument) => escape(argumentText(argument))),
    ".SH DESCRIPTION",
    sentence(command.description),
    ...aliasLines(command),
    ...command.arguments
      .filter(({ description }) => description !== "")
      .flatMap(({ name: word, description, choices }) =>
        item(`.I ${escape(word)}`, text(description, choices)),
      ),
    ...section("COMMANDS", [
      ...command.commands.flatMap((below) =>
        item(`.BR ${escape(`${name}-${below.name}`)} (1)`, sentence(below.description)),
      ),
    ]),
    ...section("OPTIONS", command.options.flatMap(optionLines)),
    ...section("GLOBAL OPTIONS", path === "limanet" ? [] : globals.flatMap(optionLines)),
    ".SH EXIT STATUS",
    fill(
      path === "limanet doctor"
        ? DOCTOR_STATUS
        : "0 when done, 1 when it failed, 2 for wrong usage.",
    ),
    ...(path === "limanet" ? ROOT_SECTIONS : []),
    ".SH SEE ALSO",
    ...(path === "limanet" ? [".BR ssh (1),", ".BR qemu (1)"] : [".BR limanet (1)"]),
    "",
  ].join("\n");
}

const DOCTOR_STATUS = `0 when nothing is at fault, 1 when it failed, 2 for wrong usage, else the code of the first area with a fault: ${Object.entries(
  AREA_EXIT_CODES,
)
  .map(([area, code]) => `${code} ${area}`)
  .join(", ")}.`;

const ROOT_SECTIONS = [
  ".SH ENVIRONMENT",
  ...item(".B LIMANET_HOME", "the home folder; else LIMA_HOME, else \\(ti/.lima."),
  ...item(".B NO_COLOR", "when it is not empty, nothing is coloured."),
  ...item(".B XDG_CACHE_HOME", "where downloads are kept, in its folder limanet."),
  ".SH FILES",
  ...item(".I \\(ti/.lima/_config/networks.yaml", "the named networks."),
  ...item(".I \\(ti/.lima/NAME/lima.yaml", "an instance."),
];

const section = (heading: string, lines: readonly string[]): readonly string[] =>
  lines.length === 0 ? [] : [`.SH ${heading}`, ...lines];

function item(tag: string, description: string): string[] {
  return [".TP", tag, description];
}

const aliasLines = ({ aliases }: CommandInfo): string[] =>
  aliases.length === 0
    ? []
    : [`It has the other ${aliases.length === 1 ? "name" : "names"} ${aliases.join(", ")}.`];

function optionLines({
  short,
  long,
  value,
  description,
  choices,
  defaultText,
}: OptionInfo): string[] {
  const names = [...(short === undefined ? [] : [short]), long].map(
    (name) => `\\fB${escape(name)}\\fR`,
  );
  const tag = `${names.join(", ")}${value === undefined ? "" : ` \\fI${escape(value)}\\fR`}`;
  return item(tag, text(description, choices, defaultText));
}

const text = (description: string, choices: readonly string[], defaultText?: string): string =>
  sentence(
    [
      description,
      ...(choices.length > 0 ? [`one of ${choices.join(", ")}`] : []),
      ...(defaultText === undefined ? [] : [`default: ${defaultText}`]),
    ].join("; "),
  );

const sentence = (words: string): string => fill(`${escape(words)}.`);

const LINE = 78;

/** lines that are no longer than they should be, each of them text */
function fill(words: string): string {
  const lines: string[] = [];
  for (const word of words.split(" ")) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= LINE)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.map((line) => line.replace(/^[.']/, "\\&$&")).join("\n");
}

/** a minus that can be copied, a backslash and a tilde that are ones */
const escape = (words: string): string =>
  words.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("~", "\\(ti");
