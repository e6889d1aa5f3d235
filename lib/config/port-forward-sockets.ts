/** Socket paths of `portForwards`: templates in Go's form, filled with the values of an instance (specification, 17.1). */
import { nearest } from "./document.ts";

/** names that stand for a value of the guest */
export const GUEST_VARIABLES = ["Name", "Hostname", "UID", "User", "Home", "Param"] as const;
/** names that stand for a value of the host */
export const HOST_VARIABLES = [
  "Dir",
  "Name",
  "UID",
  "User",
  "Home",
  "Param",
  "TempDir",
  "GlobalTempDir",
] as const;

/** Values by name; Param has values by name of its own. */
type SocketVariables<Name extends string> = Record<Exclude<Name, "Param">, string> & {
  Param: Readonly<Record<string, string>>;
};
export type HostVariables = SocketVariables<(typeof HOST_VARIABLES)[number]>;

const ACTION = /\{\{-?(.*?)-?\}\}/g;
const FIELD = /^\s*\.(\w+)(?:\.(\w+))?\s*$/;

/** Why a path cannot be filled, whatever the values are; undefined when it can. */
export function socketPathProblem(text: string, variables: readonly string[]): string | undefined {
  if (text.replaceAll(ACTION, "").includes("{{")) return `"{{" without "}}" in ${text}`;
  for (const [action, inner] of text.matchAll(ACTION)) {
    const [, name, key] = FIELD.exec(inner!) ?? [];
    if (name === undefined || (key !== undefined) !== (name === "Param"))
      return `${action} is not understood: only variables such as {{.${variables[0]}}} and {{.Param.KEY}} are`;
    if (variables.includes(name)) continue;
    const near = nearest(name, variables);
    return `there is no variable ${name}${near === undefined ? ` (there are ${variables.join(", ")})` : ` (did you mean ${near}?)`}`;
  }
  return undefined;
}

/** A path with its variables filled in; throws when a parameter is not set. */
export function fillSocketPath(
  text: string,
  variables: { readonly [name: string]: string | Readonly<Record<string, string>> },
): string {
  return text.replaceAll(ACTION, (action, inner: string) => {
    const [, name = "", key] = FIELD.exec(inner) ?? [];
    const found = variables[name];
    const value = typeof found === "object" ? found[key ?? ""] : found;
    if (value === undefined)
      throw new Error(
        `Cannot fill the socket path ${text}: ${action} is not set (set it below param in lima.yaml)`,
      );
    return value;
  });
}

/** Where a hostSocket is: below the instance's folder unless it says otherwise. */
export function hostSocketPath(text: string, variables: HostVariables): string {
  const path = fillSocketPath(text, variables);
  return path.startsWith("/") ? path : `${variables.Dir}/sock/${path}`;
}
