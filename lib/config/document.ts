/**
 * YAML text → values, with every complaint collected in file order and placed by line and column. Unknown keys are
 * warnings that name the nearest known key; duplicate keys and wrong values are errors.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
  type Pair,
  type YAMLMap,
} from "yaml";

/** A file's text and the name by which people know it. */
export interface Source {
  file: string;
  text: string;
}

export interface Diagnostic {
  file: string;
  line: number;
  column: number;
  /** e.g. "networks[0].lima"; "" for the document as a whole */
  path: string;
  message: string;
  severity: "error" | "warning";
}

/** "lima.yaml:4:14: networks[0].lima: …" */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { file, line, column, path, message, severity } = diagnostic;
  const subject = path === "" ? "" : `${path}: `;
  return `${file}:${line}:${column}: ${severity === "warning" ? "warning: " : ""}${subject}${message}`;
}

/**
 * Complaints about a text that was made of others, each at its place in that of the others where the same is wrong; the
 * rest are left where they are.
 */
export function placedIn(
  originals: readonly Diagnostic[],
  diagnostics: readonly Diagnostic[],
): Diagnostic[] {
  return diagnostics.map(
    (diagnostic) =>
      originals.find(
        ({ path, message }) => path === diagnostic.path && message === diagnostic.message,
      ) ?? diagnostic,
  );
}

/** what YAML 1.2 (5.1) has no place for: whoever gives us such a file has given another one than meant */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL_CHARACTER = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/;
/** a quoted value of which nobody would read the end */
const LONG_QUOTE = /("(?:[^"\\]|\\.){59})(?:[^"\\]|\\.)+"/g;

type ReadValue = (node: Node, path: string) => void;

/** where nodes come from */
interface Origin {
  file: string;
  lines: LineCounter;
  document: Document;
}

export class YamlReader {
  readonly diagnostics: Diagnostic[] = [];
  /** what is read; nodes of several sources may have been put together in it */
  root: Node | null;
  readonly #main: Origin;
  readonly #origins = new WeakMap<Node, Origin>();
  readonly #files: string[] = [];

  constructor(main: Source) {
    const { origin, root } = this.#parse(main);
    this.#main = origin;
    this.root = root;
  }

  /** Parses a further source; complaints about its nodes name its file. */
  include(source: Source): Node | null {
    return this.#parse(source).root;
  }

  #parse({ file, text }: Source): { origin: Origin; root: Node | null } {
    const lines = new LineCounter();
    const noText = text.search(CONTROL_CHARACTER);
    const parsed = parseDocument(noText < 0 ? text : "", {
      lineCounter: lines,
      uniqueKeys: true,
      version: "1.2",
    });
    const document = parsed as unknown as Document;
    const origin: Origin = { file, lines, document };
    this.#files.push(file);
    visit(document, { Node: (_key, node) => void this.#origins.set(node, origin) });
    for (const error of parsed.errors) {
      const message =
        error.code === "DUPLICATE_KEY"
          ? `the key ${keyAt(document, error.pos[0])} stands here a second time (leave one of them)`
          : error.message.split("\n")[0]!.replace(/ at line \d+, column \d+:?$/, "");
      this.#add(origin, error.pos[0], "", message, "error");
    }
    if (noText >= 0) {
      for (let at = text.indexOf("\n"); at >= 0 && at < noText; at = text.indexOf("\n", at + 1))
        lines.addNewLine(at + 1);
      this.#add(origin, noText, "", "this is not text: YAML takes no control characters", "error");
    }
    return { origin, root: parsed.contents as Node | null };
  }

  get failed(): boolean {
    return this.diagnostics.some((diagnostic) => diagnostic.severity === "error");
  }

  /** Is there an error at this key or below it? */
  hasFailedAt(key: string): boolean {
    return this.diagnostics.some(
      ({ path, severity }) =>
        severity === "error" &&
        path.startsWith(key) &&
        (path.length === key.length || ".[".includes(path[key.length]!)),
    );
  }

  /** all complaints in file order */
  sorted(): Diagnostic[] {
    const rank = ({ file }: Diagnostic) => this.#files.indexOf(file);
    return this.diagnostics.toSorted(
      (a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column,
    );
  }

  error(node: Node | null, path: string, message: string): void {
    this.#add(this.#originOf(node), node?.range?.[0] ?? 0, path, message, "error");
  }

  warn(node: Node | null, path: string, message: string): void {
    this.#add(this.#originOf(node), node?.range?.[0] ?? 0, path, message, "warning");
  }

  #originOf(node: Node | null): Origin {
    if (node === null) return this.#main;
    // a mapping that was put together is where its first key is
    const known = this.#origins.get(node) ?? (isMap(node) ? this.#originOfKey(node) : undefined);
    return known ?? this.#main;
  }

  #originOfKey(map: YAMLMap): Origin | undefined {
    const key = map.items[0]?.key;
    return isScalar(key) ? this.#origins.get(key) : undefined;
  }

  #add(
    { file, lines }: Origin,
    offset: number,
    path: string,
    message: string,
    severity: "error" | "warning",
  ): void {
    const { line, col } = lines.linePos(offset);
    this.diagnostics.push({
      file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      path,
      message: message.replace(LONG_QUOTE, '$1…"'),
      severity,
    });
  }

  #resolve(node: Node): Node {
    return isAlias(node) ? (node.resolve(this.#originOf(node).document as never) ?? node) : node;
  }

  /** Reads the keys of a mapping, each by its function; null values count as absent. */
  map(given: Node | null, path: string, keys: Record<string, ReadValue>): void {
    if (given === null || isNull(given)) return;
    const node = this.#resolve(given);
    if (!isMap(node)) {
      this.error(given, path, `a mapping is needed, not ${describe(node)}`);
      return;
    }
    for (const pair of node.items as Pair<Node, Node | null>[]) {
      const key = isScalar(pair.key) ? String(pair.key.value) : "";
      const at = path === "" ? key : `${path}.${key}`;
      const read = Object.hasOwn(keys, key) ? keys[key] : undefined;
      if (read === undefined) {
        const near = nearest(key, Object.keys(keys));
        this.warn(
          pair.key,
          at,
          `unknown key${near === undefined ? "" : ` (did you mean ${near}?)`}`,
        );
      } else if (pair.value !== null && !isNull(pair.value)) {
        read(this.#resolve(pair.value), at);
      }
    }
  }

  /** Reads each item of a list. */
  list(node: Node, path: string, read: ReadValue): void {
    if (!isSeq(node)) {
      this.error(node, path, `a list is needed, not ${describe(node)}`);
      return;
    }
    node.items.forEach((item, i) => read(this.#resolve(item as Node), `${path}[${i}]`));
  }

  /** Reads a mapping with free keys. */
  entries(node: Node, path: string, read: (key: string, value: Node, path: string) => void): void {
    if (!isMap(node)) {
      this.error(node, path, `a mapping is needed, not ${describe(node)}`);
      return;
    }
    for (const pair of node.items as Pair<Node, Node | null>[]) {
      const key = isScalar(pair.key) ? String(pair.key.value) : "";
      if (pair.value !== null) read(key, this.#resolve(pair.value), `${path}.${key}`);
    }
  }

  string(node: Node, path: string): string | undefined {
    if (isScalar(node) && typeof node.value === "string") return node.value;
    // what a person writes without quotes may look like a number
    if (isScalar(node) && (typeof node.value === "number" || typeof node.value === "bigint"))
      return node.source ?? String(node.value);
    this.error(node, path, `a string is needed, not ${describe(node)}`);
    return undefined;
  }

  boolean(node: Node, path: string): boolean | undefined {
    if (isScalar(node) && typeof node.value === "boolean") return node.value;
    this.error(node, path, `true or false is needed, not ${describe(node)}`);
    return undefined;
  }

  /** A whole number; quoted numerals are taken too (specification 3.1). */
  integer(node: Node, path: string, min: number, max: number): number | undefined {
    const value = isScalar(node) ? Number(node.value === "" ? Number.NaN : node.value) : Number.NaN;
    if (
      Number.isInteger(value) &&
      value >= min &&
      value <= max &&
      isScalar(node) &&
      typeof node.value !== "boolean"
    )
      return value;
    this.error(node, path, `a whole number from ${min} to ${max} is needed, not ${describe(node)}`);
    return undefined;
  }

  /** One of some words; `why` says what a word that is none of them would have to be. */
  oneOf<T extends string>(node: Node, path: string, words: readonly T[], why = ""): T | undefined {
    const text = isScalar(node) ? String(node.value) : "";
    const found = words.find((word) => word === text);
    if (found === undefined)
      this.error(
        node,
        path,
        `one of ${words.join(", ")} is needed, not ${describe(node)}${why === "" ? "" : `, which ${why}`}`,
      );
    return found;
  }
}

/** the text of the mapping key that begins at an offset */
function keyAt(document: Document, offset: number): string {
  let text = "";
  visit(document, {
    Scalar: (place, node) => {
      if (place !== "key" || node.range?.[0] !== offset) return undefined;
      text = String(node.value);
      return visit.BREAK;
    },
  });
  return text;
}

function isNull(node: Node): boolean {
  return isScalar(node) && node.value === null;
}

function describe(node: Node): string {
  if (isMap(node)) return "a mapping";
  if (isSeq(node)) return "a list";
  return isScalar(node) ? JSON.stringify(node.value) : "an alias";
}

/** the known word with the fewest edits, when there are few and they leave something of the word */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.min(word.length, Math.max(2, Math.floor(word.length / 3)) + 1);
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(
        Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length]!;
}
