/**
 * Templates that build on others (specification, section 3.2): what `base` names is put into a template's document when
 * an instance is made. Where the others are found is the business of `lib/instance/template.ts`.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  visit,
  YAMLMap,
  type Document,
  type Node,
  type Pair,
} from "yaml";

/** Lists of which a base's entries come first; entries of other lists follow the template's. */
const IN_FRONT = new Set(["provision", "probes"]);
/** aliases of aliases of aliases would never end */
const MAX_ALIASES = 1000;

/** Takes `base` out of a document: a location, `{url: location}`, or a list of those. Throws what it cannot read. */
export function takeBases(document: Document): string[] {
  if (!isMap(document.contents)) return [];
  const base = document.get("base", true) as Node | undefined;
  const [first] = document.contents.items as Pair<Node, Node | null>[];
  // what stands above the first key is about the whole file
  if (first !== undefined && keyOf(first) === "base" && isScalar(first.key))
    document.commentBefore ??= first.key.commentBefore ?? document.contents.commentBefore ?? null;
  document.delete("base");
  if (base === undefined || (isScalar(base) && base.value === null)) return [];
  return (isSeq(base) ? base.items : [base]).map((item) => {
    const location = isMap(item) ? item.get("url") : isScalar(item) ? item.value : undefined;
    if (typeof location === "string" && location !== "") return location;
    throw new Error("`base` takes locations of templates, or url: with one");
  });
}

/** Adds what the template does not say: missing keys are taken, lists become longer. The base's nodes are moved. */
export function mergeBase(template: Document, base: Document): void {
  expandAliases(base);
  if (!isMap(base.contents)) return;
  if (!isMap(template.contents)) template.contents = new YAMLMap() as never;
  expandAliases(template);
  const own = template.contents as unknown as YAMLMap;
  const other = base.contents as unknown as YAMLMap;
  // address lists are one or the other
  const dns = valueOf(own, "dns");
  if (isSeq(dns) && dns.items.length > 0) other.delete("dns");
  mergeMap(own, other, false);
}

function mergeMap(own: YAMLMap, other: YAMLMap, inFront: boolean): void {
  for (const pair of other.items as Pair<Node, Node | null>[]) {
    const key = keyOf(pair);
    const mine = own.has(key) ? valueOf(own, key) : undefined;
    if (mine === undefined) own.items.push(pair);
    else if (isMap(mine) && isMap(pair.value)) mergeMap(mine, pair.value, inFront);
    else if (isSeq(mine) && isSeq(pair.value)) {
      const { items } = pair.value;
      mine.items =
        inFront || IN_FRONT.has(key) ? [...items, ...mine.items] : [...mine.items, ...items];
    }
  }
}

/**
 * After all bases: networks of one interface become one, the earlier ones' values winning, and what an entry with the
 * interface `*` says counts for all before it.
 */
export function combineNetworks(document: Document): void {
  const list = isMap(document.contents) ? valueOf(document.contents as YAMLMap, "networks") : null;
  if (!isSeq(list)) return;
  const kept: Node[] = [];
  for (const entry of list.items as Node[]) {
    const name = isMap(entry) ? entry.get("interface") : undefined;
    const isNamed = (other: Node) => isMap(other) && other.get("interface") === name;
    const earlier =
      name === "*" ? kept : typeof name === "string" && name !== "" ? kept.filter(isNamed) : [];
    if (name !== "*" && earlier.length === 0) kept.push(entry);
    else for (const other of earlier) if (isMap(other)) complete(other, entry as YAMLMap);
  }
  list.items = kept;
}

const KINDS = ["lima", "socket", "vzNAT"];

function complete(earlier: YAMLMap, later: YAMLMap): void {
  const isSet = (map: YAMLMap, key: string) =>
    ![undefined, null, ""].includes(map.get(key) as never);
  // a network is one of these: what is there stays
  const hasKind = KINDS.some((kind) => isSet(earlier, kind));
  for (const key of [...KINDS, "macAddress", "metric"]) {
    if (!isSet(later, key) || isSet(earlier, key) || (hasKind && KINDS.includes(key))) continue;
    earlier.set(key, (later.get(key, true) as Node).clone());
  }
}

/** Nodes that leave their document cannot refer to anchors of it. */
function expandAliases(document: Document): void {
  let expanded = 0;
  visit(document, {
    Alias: (_key, alias, path) => {
      expanded++;
      const node = alias.resolve(document as never);
      if (node === undefined || path.includes(node as never) || expanded > MAX_ALIASES)
        throw new Error(`the alias *${alias.source} cannot be followed`);
      const copy = node.clone() as Node;
      if (!isAlias(copy)) delete copy.anchor;
      return copy;
    },
  });
  visit(document, {
    Node: (_key, node) => {
      if (!isAlias(node)) delete node.anchor;
    },
  });
}

const keyOf = ({ key }: Pair<Node, Node | null>): string =>
  isScalar(key) && typeof key.value === "string" ? key.value : "";

/** undefined: no such key */
function valueOf(map: YAMLMap, key: string): Node | null | undefined {
  return (map.items as Pair<Node, Node | null>[]).find((pair) => keyOf(pair) === key)?.value;
}
