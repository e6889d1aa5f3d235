/** Names of instances and networks (specification, section 1). */
const IDENTIFIER = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;
const MAX_IDENTIFIER = 76;

/** What is wrong with a name of an instance, network or group; undefined: nothing. */
export function identifierProblem(name: string): string | undefined {
  if (name.length > 0 && name.length <= MAX_IDENTIFIER && IDENTIFIER.test(name)) return undefined;
  return `letters and digits, joined by single dots, dashes or underscores, at most ${MAX_IDENTIFIER} of them, are needed, not ${JSON.stringify(name)}`;
}

export function instanceNameProblem(name: string): string | undefined {
  if (/\.ya?ml$/i.test(name))
    return `a name that ends like a YAML file cannot be told from one: ${name}`;
  return identifierProblem(name);
}

/** host name of an instance, and its ssh alias */
export function hostnameOf(instance: string): string {
  return `lima-${instance.replaceAll(/[._]/g, "-")}`;
}
