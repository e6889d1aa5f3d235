/** The commands as data, from which completions, manual pages and docs/commands.md are made. */

export interface ArgumentInfo {
  /** as in the usage: what kinds of things it may be, joined by | */
  name: string;
  description: string;
  isRequired: boolean;
  isVariadic: boolean;
  choices: readonly string[];
}

export interface OptionInfo {
  short?: string;
  long: string;
  description: string;
  /** undefined: it takes none */
  value?: string;
  choices: readonly string[];
  defaultText?: string;
}

export interface CommandInfo {
  name: string;
  aliases: readonly string[];
  description: string;
  arguments: readonly ArgumentInfo[];
  options: readonly OptionInfo[];
  commands: readonly CommandInfo[];
}

/** what is read of the library's own definitions; lib/cli/program.ts alone knows the library */
interface Definition {
  name(): string;
  aliases(): readonly string[];
  description(): string;
  readonly registeredArguments: readonly {
    name(): string;
    description: string;
    required: boolean;
    variadic: boolean;
    argChoices?: readonly string[] | undefined;
  }[];
  createHelp(): Help;
}
interface Help {
  visibleCommands(command: Definition): readonly Definition[];
  visibleOptions(command: Definition): readonly OptionDefinition[];
}
interface OptionDefinition {
  short?: string | undefined;
  long?: string | undefined;
  flags: string;
  description: string;
  negate: boolean;
  defaultValue?: unknown;
  argChoices?: readonly string[] | undefined;
}

/** Options and commands that are hidden are left out, and the built-in command help, which says what --help does. */
export function commandInfo(definition: Definition): CommandInfo {
  const help = definition.createHelp();
  return {
    name: definition.name(),
    aliases: definition.aliases(),
    description: definition.description(),
    arguments: definition.registeredArguments.map((argument) => ({
      name: argument.name(),
      description: argument.description,
      isRequired: argument.required,
      isVariadic: argument.variadic,
      choices: argument.argChoices ?? [],
    })),
    options: help.visibleOptions(definition).map(optionInfo),
    commands: help
      .visibleCommands(definition)
      .filter((command) => command.name() !== "help")
      .map(commandInfo),
  };
}

function optionInfo(option: OptionDefinition): OptionInfo {
  const value = /[<[](.+?)[>\]]/.exec(option.flags)?.[1];
  const { defaultValue } = option;
  return {
    ...(option.short === undefined ? {} : { short: option.short }),
    long: option.long ?? "",
    description: option.description,
    ...(value === undefined ? {} : { value }),
    choices: option.argChoices ?? [],
    ...(value === undefined || defaultValue === undefined
      ? {}
      : { defaultText: JSON.stringify(defaultValue).replaceAll('"', "") }),
  };
}

/** an argument as in a usage line */
export function argumentText({ name, isRequired, isVariadic }: ArgumentInfo): string {
  const text = `${name}${isVariadic ? "..." : ""}`;
  return isRequired ? `<${text}>` : `[${text}]`;
}

export interface PlacedCommand {
  /** with the commands above it: "limanet network list" */
  path: string;
  command: CommandInfo;
}

/** a command and all below it, in the order of the help */
export function allCommands(command: CommandInfo, above = ""): PlacedCommand[] {
  const path = above === "" ? command.name : `${above} ${command.name}`;
  return [{ path, command }, ...command.commands.flatMap((below) => allCommands(below, path))];
}

export function usage({ path, command }: PlacedCommand): string {
  return [
    path,
    ...(command.commands.length > 0 ? ["<command>"] : []),
    ...(command.options.length > 0 ? ["[options]"] : []),
    ...command.arguments.map(argumentText),
  ].join(" ");
}
