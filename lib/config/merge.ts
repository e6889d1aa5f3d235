/**
 * An instance's lima.yaml put together with default.yaml and override.yaml (specification, sections 3.2 and 3.3), as
 * nodes, so that every value still knows the file and the line it comes from.
 */
import { isMap, isScalar, isSeq, Pair, YAMLMap, YAMLSeq, type Node } from "yaml";

export interface Layers {
  override: Node | null;
  instance: Node | null;
  defaults: Node | null;
}

/** the lists in which what is set for all comes first, and entries of one name become one */
const NAMED_LISTS: Record<string, string> = { networks: "interface", mounts: "location" };

/** The settings in force. Scalars: the override's, else the instance's, else the default. */
export function mergeLayers(layers: Layers): Node | null {
  return mergeNodes("", layers);
}

function mergeNodes(key: string, { override, instance, defaults }: Layers): Node | null {
  const given = [override, instance, defaults].filter((node) => node !== null && !isNull(node));
  const [first, ...others] = given;
  if (first === undefined) return instance;
  if (others.length === 0 && !(key in NAMED_LISTS)) return first;
  if (given.every(isMap)) return mergeMaps({ override, instance, defaults });
  if (given.every(isSeq)) {
    // never combined: the first that says anything
    if (key === "dns") return given.find((list) => (list as YAMLSeq).items.length > 0) ?? first;
    if (key in NAMED_LISTS)
      return mergeNamed(NAMED_LISTS[key]!, [defaults, instance, override].filter(isSeq));
    return listOf(given.flatMap((list) => (list as YAMLSeq).items as Node[]));
  }
  return first;
}

/** Keys stand in the order in which the files name them: the defaults', the instance's, the override's. */
function mergeMaps({ override, instance, defaults }: Layers): Node {
  const merged = new YAMLMap();
  const maps = [defaults, instance, override].filter(isMap);
  const keys = new Map<string, Node>();
  for (const map of maps)
    for (const pair of map.items as Pair<Node, Node | null>[]) keys.set(keyOf(pair), pair.key);
  for (const [key, node] of keys) {
    const value = mergeNodes(key, {
      override: valueOf(override, key),
      instance: valueOf(instance, key),
      defaults: valueOf(defaults, key),
    });
    merged.items.push(new Pair(node, value));
  }
  return merged;
}

/** An entry with a name that was seen overwrites the earlier one; entries without a name stand for themselves. */
function mergeNamed(name: string, lists: readonly YAMLSeq[]): Node {
  const merged: Node[] = [];
  const seen = new Map<string, YAMLMap>();
  for (const list of lists) {
    for (const item of list.items as Node[]) {
      const label = isMap(item) ? valueOf(item, name) : null;
      const text = isScalar(label) ? String(label.value) : "";
      const earlier = seen.get(text);
      if (!isMap(item) || text === "") {
        merged.push(item);
      } else if (earlier === undefined) {
        // overwriting must not change the file's own node
        const copy = new YAMLMap();
        copy.items = [...item.items];
        copy.range = item.range ?? null;
        seen.set(text, copy);
        merged.push(copy);
      } else {
        overwrite(earlier, item);
      }
    }
  }
  return listOf(merged);
}

function overwrite(earlier: YAMLMap, later: YAMLMap): void {
  const set = (key: string, pair: Pair<Node, Node | null> | undefined) => {
    earlier.items = earlier.items.filter(
      (other) => keyOf(other as Pair<Node, Node | null>) !== key,
    );
    if (pair !== undefined) earlier.items.push(pair);
  };
  for (const pair of later.items as Pair<Node, Node | null>[]) {
    const key = keyOf(pair);
    if (pair.value === null || isNull(pair.value)) continue;
    // a network is one or the other
    if (key === "lima") set("socket", undefined);
    if (key === "socket" && valueOf(later, "lima") === null) set("lima", undefined);
    if (key === "socket" && valueOf(later, "lima") !== null) continue;
    set(key, pair);
  }
}

function listOf(items: Node[]): YAMLSeq {
  const list = new YAMLSeq();
  list.items = items;
  return list;
}

const keyOf = ({ key }: Pair<Node, Node | null>): string =>
  isScalar(key) ? String(key.value) : "";

function valueOf(map: Node | null, key: string): Node | null {
  if (!isMap(map)) return null;
  const pair = (map.items as Pair<Node, Node | null>[]).find((item) => keyOf(item) === key);
  return pair?.value ?? null;
}

function isNull(node: Node): boolean {
  return isScalar(node) && node.value === null;
}
