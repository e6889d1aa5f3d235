/**
 * `--set`: the part of yq's language that people write for settings: `.path = value`, `.path += value`, `del(.path)`,
 * joined by `|`. Values are YAML in flow form (JSON counts). Anything else is refused by name.
 */
import {
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  YAMLMap,
  YAMLSeq,
  type Document,
  type Node,
} from "yaml";

type Path = (string | number)[];
type Step =
  | { kind: "set" | "add"; path: Path; value: Node | null }
  | { kind: "delete"; path: Path };

const SUPPORTED = "what is understood is .path = value, .path += value and del(.path), joined by |";

/** Changes the document; throws a sentence that says what cannot be done. */
export function applySetExpression(document: Document, expression: string): void {
  const refuse = (why: string) =>
    new Error(`Cannot apply --set ${expression}: ${why} (${SUPPORTED})`);
  const steps = split(expression).map((text) => parseStep(text, refuse));
  for (const step of steps) {
    if (!isMap(document.contents)) document.contents = new YAMLMap() as never;
    if (step.kind === "delete") document.deleteIn(step.path);
    else if (step.kind === "set") set(document, step.path, step.value);
    else
      set(
        document,
        step.path,
        sum(document.getIn(step.path, true) as Node | undefined, step.value, refuse),
      );
  }
}

/** The steps between the bars that stand outside of quotes and brackets. */
function split(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quote = "";
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (quote !== "") {
      if (character === "\\" && quote === '"') at++;
      else if (character === quote) quote = "";
    } else if (character === '"' || character === "'") quote = character;
    else if ("([{".includes(character)) depth++;
    else if (")]}".includes(character)) depth--;
    else if (character === "|" && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, text.slice(start)];
}

type Refuse = (why: string) => Error;

function parseStep(text: string, refuse: Refuse): Step {
  const deleted = /^\s*del\((.*)\)\s*$/s.exec(text);
  if (deleted !== null) {
    const { path, rest } = parsePath(deleted[1]!.trim(), refuse);
    if (rest !== "") throw refuse(`${JSON.stringify(rest)} follows the path`);
    return { kind: "delete", path };
  }
  const { path, rest } = parsePath(text.trim(), refuse);
  const operator = /^(\+?=)(?!=)\s*(.+)$/s.exec(rest);
  if (operator === null) throw refuse(`${JSON.stringify(text.trim())} is none of these`);
  const value = parseDocument(operator[2]!);
  if (value.errors.length > 0 || operator[2]!.startsWith("."))
    throw refuse(`${JSON.stringify(operator[2])} is no value`);
  return { kind: operator[1] === "=" ? "set" : "add", path, value: value.contents as Node | null };
}

/** `.a.b[0]."c d".["e"]` and what follows it */
function parsePath(text: string, refuse: Refuse): { path: Path; rest: string } {
  const path: Path = [];
  let rest = text;
  for (;;) {
    const match =
      /^\.?\[(\d+)\]/.exec(rest) ??
      /^\.?\["((?:[^"\\]|\\.)*)"\]/.exec(rest) ??
      /^\."((?:[^"\\]|\\.)*)"/.exec(rest) ??
      /^\.([A-Za-z_][A-Za-z0-9_-]*)/.exec(rest);
    if (match === null) break;
    path.push(/^\.?\[\d/.test(match[0]) ? Number(match[1]) : match[1]!);
    rest = rest.slice(match[0].length);
  }
  if (path.length === 0) throw refuse(`${JSON.stringify(text)} begins with no path`);
  return { path, rest: rest.trim() };
}

/** Makes the mappings and lists on the way that are not there yet. */
function set(document: Document, path: Path, value: Node | null): void {
  for (let depth = 1; depth < path.length; depth++) {
    const above = document.getIn(path.slice(0, depth));
    if (!isMap(above) && !isSeq(above))
      document.setIn(
        path.slice(0, depth),
        typeof path[depth] === "number" ? new YAMLSeq() : new YAMLMap(),
      );
  }
  document.setIn(path, value);
}

/** yq's `+=`: lists follow each other, mappings are put together, numbers are added, strings joined. */
function sum(before: Node | undefined, value: Node | null, refuse: Refuse): Node | null {
  if (before === undefined || value === null || (isScalar(before) && before.value === null))
    return value;
  if (isSeq(before) && isSeq(value)) {
    for (const item of value.items) before.items.push(item);
    return before;
  }
  if (isSeq(before)) {
    before.items.push(value);
    return before;
  }
  if (isMap(before) && isMap(value)) {
    for (const pair of value.items) before.set(pair.key, pair.value);
    return before;
  }
  if (isScalar(before) && isScalar(value) && typeof before.value === typeof value.value) {
    before.value = (before.value as number) + (value.value as number);
    return before;
  }
  throw refuse("what is added is of another kind than what is there");
}
