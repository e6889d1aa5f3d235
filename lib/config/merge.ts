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

type Warn = (node: Node, path: string, message: string) => void;

/** what a network leads to: an entry says one of these */
const KINDS = ["lima", "socket", "vzNAT"];

/** The settings in force. Scalars: the override's, else the instance's, else the default. */
export function mergeLayers(layers: Layers, warn: Warn = () => {}): Node | null {
  const given = [layers.defaults, layers.instance, layers.override].filter(isSomething);
  // what is no mapping is left for the reader to complain about
  if (given.length === 0 || !given.every(isMap)) return given.find((node) => !isMap(node)) ?? null;
  const merged = mergeMaps(layers);
  const lists = (key: string) =>
    given.map((layer) => mapValue(layer, key)).filter((node) => isSeq(node)) as YAMLSeq[];
  replace(merged, "networks", lists("networks"), (all) => mergeNetworks(all, warn));
  replace(merged, "mounts", lists("mounts"), mergeMounts);
  // never combined: the first that says anything
  const dns = lists("dns");
  replace(merged, "dns", dns, () => dns.findLast((list) => list.items.length > 0) ?? dns[0]!);
  return merged;
}

function replace(
  merged: YAMLMap,
  key: string,
  lists: readonly YAMLSeq[],
  merge: (lists: readonly YAMLSeq[]) => YAMLSeq,
): void {
  const pair = pairOf(merged, key);
  if (pair !== undefined && isSeq(pair.value) && lists.length > 0) pair.value = merge(lists);
}

/** Lists follow each other, the override's first; mappings are put together. */
function mergeNodes(layers: Layers): Node | null {
  const given = [layers.override, layers.instance, layers.defaults].filter(isSomething);
  const [first, ...others] = given;
  if (first === undefined) return null;
  if (others.length === 0) return first;
  if (given.every(isMap)) return mergeMaps(layers);
  if (given.every(isSeq)) return listOf(given.flatMap((list) => (list as YAMLSeq).items as Node[]));
  return first;
}

/** Keys stand in the order in which the files name them: the defaults', the instance's, the override's. */
function mergeMaps({ override, instance, defaults }: Layers): YAMLMap {
  const merged = new YAMLMap();
  const keys = new Map<string, Node>();
  for (const map of [defaults, instance, override].filter(isMap))
    for (const pair of map.items as Pair<Node, Node | null>[]) keys.set(keyOf(pair), pair.key);
  for (const [key, node] of keys) {
    const value = mergeNodes({
      override: mapValue(override, key),
      instance: mapValue(instance, key),
      defaults: mapValue(defaults, key),
    });
    merged.items.push(new Pair(node, value));
  }
  return merged;
}

/** Specification 3.3: an entry whose interface was seen overwrites the earlier one; unnamed ones stand for themselves. */
function mergeNetworks(lists: readonly YAMLSeq[], warn: Warn): YAMLSeq {
  return mergeNamed(lists, "interface", (earlier, later) => {
    const kinds = KINDS.filter((kind) => says(later, kind));
    if (kinds.includes("lima") && kinds.includes("socket"))
      warn(later, "networks", "an entry has both lima and socket: lima is taken");
    const [kind] = kinds;
    for (const pair of later.items as Pair<Node, Node | null>[]) {
      const key = keyOf(pair);
      if (!says(later, key) || (KINDS.includes(key) && key !== kind)) continue;
      put(earlier, key, pair);
    }
    // a network is one or the other
    if (kind !== undefined) for (const other of KINDS) if (other !== kind) put(earlier, other);
  });
}

function mergeMounts(lists: readonly YAMLSeq[]): YAMLSeq {
  return mergeNamed(lists, "location", (earlier, later) => {
    for (const pair of later.items as Pair<Node, Node | null>[]) put(earlier, keyOf(pair), pair);
  });
}

function mergeNamed(
  lists: readonly YAMLSeq[],
  name: string,
  overwrite: (earlier: YAMLMap, later: YAMLMap) => void,
): YAMLSeq {
  const merged: Node[] = [];
  const seen = new Map<string, YAMLMap>();
  for (const item of lists.flatMap((list) => list.items as Node[])) {
    const label = mapValue(item, name);
    const text = isScalar(label) && isSomething(label) ? String(label.value) : "";
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
  return listOf(merged);
}

/** Does an entry say something that overwrites? Lima takes "" and `vzNAT: false` for nothing. */
function says(entry: YAMLMap, key: string): boolean {
  const value = mapValue(entry, key);
  if (!isSomething(value)) return false;
  return !(isScalar(value) && (value.value === "" || (key === "vzNAT" && value.value === false)));
}

/** Puts a pair in the place of the one with its key, or takes that away. */
function put(map: YAMLMap, key: string, pair?: Pair<Node, Node | null>): void {
  const at = map.items.findIndex((other) => keyOf(other as Pair<Node, Node | null>) === key);
  if (at >= 0) map.items.splice(at, 1, ...(pair === undefined ? [] : [pair]));
  else if (pair !== undefined) map.items.push(pair);
}

function listOf(items: Node[]): YAMLSeq {
  const list = new YAMLSeq();
  list.items = items;
  return list;
}

const keyOf = ({ key }: Pair<Node, Node | null>): string =>
  isScalar(key) ? String(key.value) : "";

function pairOf(map: YAMLMap, key: string): Pair<Node, Node | null> | undefined {
  return (map.items as Pair<Node, Node | null>[]).find((pair) => keyOf(pair) === key);
}

function mapValue(map: Node | null, key: string): Node | null {
  return isMap(map) ? (pairOf(map, key)?.value ?? null) : null;
}

const isSomething = (node: Node | null): node is Node =>
  node !== null && !(isScalar(node) && node.value === null);
