/**
 * `--set`: the part of yq's language that people write for settings. An expression is steps joined by `|`; each names
 * places and says what becomes of them: `.path = value`, `|=` (the same for a value), `+=`, `*=`, `del(.path, .path)`.
 * Values are YAML in flow form (JSON counts). Anything else is refused by name, and then nothing is changed at all.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  visit,
  YAMLMap,
  YAMLSeq,
  type Document,
  type Node,
} from "yaml";

type Key = string | number;
/** "each" stands for `[]`: all entries of a list or mapping */
type Path = (Key | typeof EACH)[];
const EACH = Symbol("each");

type Step =
  | { kind: "set" | "add" | "merge"; path: Path; value: string }
  | { kind: "delete"; paths: Path[] };

const SUPPORTED =
  "what is understood is .path = value, |=, +=, *= and del(.path), joined by |, with values that stand for themselves";

type Refuse = (why: string) => Error;

/** Changes the document, wholly or, throwing a sentence that says what cannot be done, not at all. */
export function applySetExpression(document: Document, expression: string): void {
  const refuse = (why: string) =>
    new Error(`Cannot apply --set ${expression}: ${why} (${SUPPORTED})`);
  const steps = split(expression, "|").map((text) => parseStep(text.trim(), refuse));
  const draft = document.clone();
  for (const step of steps) applyStep(draft, step, refuse);
  document.contents = draft.contents;
}

/** What stands between the separators that are outside of quotes and brackets; `|=` is no separator. */
function split(text: string, separator: "|" | ","): string[] {
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
    else if (character === separator && depth === 0 && text[at + 1] !== "=") {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, text.slice(start)];
}

const OPERATORS = { "=": "set", "|=": "set", "+=": "add", "*=": "merge" } as const;

function parseStep(text: string, refuse: Refuse): Step {
  const deleted = /^del\((.*)\)$/s.exec(text);
  if (deleted !== null) {
    const paths = split(deleted[1]!, ",").map((part) => {
      const { path, rest } = parsePath(part.trim(), refuse);
      if (rest !== "") throw refuse(`${JSON.stringify(rest)} follows the path`);
      return path;
    });
    return { kind: "delete", paths };
  }
  const { path, rest } = parsePath(text, refuse);
  const assigned = /^([|+*]?=)(?!=)\s*(.+)$/s.exec(rest);
  if (assigned === null) throw refuse(`${JSON.stringify(text)} is none of these`);
  parseValue(assigned[2]!, refuse);
  return { kind: OPERATORS[assigned[1] as keyof typeof OPERATORS], path, value: assigned[2]! };
}

/** `.a.b[0][]."c d".["e"]` and what follows it */
function parsePath(text: string, refuse: Refuse): { path: Path; rest: string } {
  const path: Path = [];
  let rest = text;
  for (;;) {
    const match =
      /^\.?\[\s*(?<index>-?\d+)?\s*\]/.exec(rest) ??
      /^\.?\[\s*(?<quoted>"(?:[^"\\]|\\.)*")\s*\]/.exec(rest) ??
      /^\.(?<quoted>"(?:[^"\\]|\\.)*")/.exec(rest) ??
      /^\.(?<name>[A-Za-z_][A-Za-z0-9_-]*)/.exec(rest);
    // a path begins with a dot, also where a bracket is next
    if (match === null || (path.length === 0 && !rest.startsWith("."))) break;
    const { index, quoted, name } = match.groups as Record<string, string | undefined>;
    if (name !== undefined) path.push(name);
    else if (quoted !== undefined) path.push(JSON.parse(quoted) as string);
    else path.push(index === undefined ? EACH : Number(index));
    rest = rest.slice(match[0].length);
  }
  if (path.length === 0) throw refuse(`${JSON.stringify(text)} begins with no path`);
  return { path, rest: rest.trim() };
}

/** Words without quotes are taken as long as they cannot be meant as an expression of yq's. */
function parseValue(text: string, refuse: Refuse): Node | null {
  const parsed = parseDocument(text);
  let isValue = parsed.errors.length === 0 && parsed.contents !== null;
  visit(parsed, {
    Node: (_key, node) => {
      if (!standsForItself(node)) isValue = false;
    },
  });
  if (!isValue) throw refuse(`${JSON.stringify(text)} is no value (strings need quotes)`);
  return parsed.contents as Node | null;
}

function standsForItself(node: Node): boolean {
  if (isAlias(node) || node.anchor !== undefined || node.tag !== undefined) return false;
  if (!isScalar(node)) return (node as YAMLMap | YAMLSeq).flow === true;
  if (node.type === "BLOCK_FOLDED" || node.type === "BLOCK_LITERAL") return false;
  const { source = "" } = node;
  return (
    node.type !== "PLAIN" ||
    source === "" ||
    (/^[\w./:@%~-]+$/.test(source) && !/^\.[A-Za-z_]/.test(source))
  );
}

function applyStep(document: Document, step: Step, refuse: Refuse): void {
  if (!isMap(document.contents)) document.contents = new YAMLMap() as never;
  if (step.kind === "delete") {
    // from the last one on, so that the places before it stay where they are
    for (const path of step.paths.flatMap((one) => places(document, one)).toReversed())
      document.deleteIn(path);
    return;
  }
  for (const path of places(document, step.path)) {
    const before = document.getIn(path, true) as Node | undefined;
    const value = parseValue(step.value, refuse);
    const combine = { set: replaced, add: sum, merge: product }[step.kind];
    put(document, path, combine(before, value, refuse), refuse);
  }
}

/** The places that a path names; only `[]` and numbers from the end need to look at what is there. */
function places(document: Document, path: Path): Key[][] {
  let found: Key[][] = [[]];
  for (const key of path) {
    found = found.flatMap((above) => {
      const node = above.length === 0 ? document.contents : document.getIn(above);
      if (key === EACH) {
        if (isSeq(node)) return node.items.map((_item, i) => [...above, i]);
        return isMap(node) ? node.items.map((pair) => [...above, keyText(pair.key)]) : [];
      }
      if (typeof key === "number" && key < 0 && isSeq(node))
        return [[...above, node.items.length + key]];
      return [[...above, key]];
    });
  }
  return found;
}

const keyText = (key: unknown): string =>
  isScalar(key) && typeof key.value === "string" ? key.value : "";

/** Makes the mappings and lists on the way that are not there yet. */
function put(document: Document, path: Key[], value: Node | null, refuse: Refuse): void {
  path.forEach((key, depth) => {
    const isIndex = typeof key === "number";
    const above = depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true);
    const isEmpty =
      above === undefined || above === null || (isScalar(above) && above.value === null);
    if (isEmpty) document.setIn(path.slice(0, depth), isIndex ? new YAMLSeq() : new YAMLMap());
    else if (isIndex ? !isSeq(above) : !isMap(above))
      throw refuse(
        `${JSON.stringify(key)} is looked for in what is no ${isIndex ? "list" : "mapping"}`,
      );
    if (isIndex && (key < 0 || key > ((above as YAMLSeq | undefined)?.items?.length ?? 0)))
      throw refuse(`the list has no place ${key}`);
  });
  document.setIn(path, value);
}

/** The new value; a comment at the end of the line stays. */
function replaced(before: Node | undefined, value: Node | null): Node | null {
  if (isScalar(before) && isScalar(value)) {
    const { comment = null, commentBefore = null, spaceBefore = false } = before;
    Object.assign(value, { comment, commentBefore, spaceBefore });
  }
  return value;
}

const isNothing = (node: Node | null | undefined): boolean =>
  node === undefined || node === null || (isScalar(node) && node.value === null);

/** yq's `+`: lists follow each other, mappings are put together, numbers are added, strings joined. */
function sum(before: Node | undefined, value: Node | null, refuse: Refuse): Node | null {
  if (isNothing(before)) return value;
  if (isNothing(value)) return before ?? null;
  if (isSeq(before)) {
    before.items.push(...(isSeq(value) ? value.items : [value]));
    return before;
  }
  if (isMap(before) && isMap(value)) {
    for (const pair of value.items) before.set(pair.key, pair.value);
    return before;
  }
  if (isScalar(before) && isScalar(value) && typeof before.value === typeof value.value) {
    if (typeof before.value === "number" || typeof before.value === "string") {
      value.value = (before.value as number) + (value.value as number);
      return replaced(before, value);
    }
  }
  throw refuse("what is added is of another kind than what is there");
}

/** yq's `*`: mappings are put together in depth, the right one's values winning; numbers are multiplied. */
function product(before: Node | undefined, value: Node | null, refuse: Refuse): Node | null {
  if (isNothing(before)) return value;
  if (isMap(before) && isMap(value)) {
    for (const pair of value.items) {
      const there = before.get(pair.key, true) as Node | undefined;
      const deep = isMap(there) && isMap(pair.value);
      before.set(pair.key, deep ? product(there, pair.value as Node, refuse) : pair.value);
    }
    return before;
  }
  if (isScalar(before) && isScalar(value)) {
    const [left, right] = [before.value, value.value];
    if (typeof left === "number" && typeof right === "number") {
      value.value = left * right;
      return replaced(before, value);
    }
  }
  throw refuse("*= takes two mappings or two numbers");
}
