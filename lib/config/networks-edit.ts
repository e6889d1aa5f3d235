/**
 * Changes to the text of networks.yaml. What is not changed stays octet for octet where the networks stand one below
 * the other, as in every file that Lima or limanet has written; in other forms its comments stay.
 */
import {
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  stringify,
  YAMLMap,
  type Node,
  type Pair,
} from "yaml";
import type { NetworkConfig } from "./networks.ts";

/** long comments and values stay on their lines */
const FORMAT = { lineWidth: 0, indentSeq: false } as const;

export function addNetwork(text: string, name: string, network: NetworkConfig): string {
  const document = parseDocument(text);
  const block = blockOf(text);
  if (!isMap(document.contents)) document.contents = new YAMLMap() as never;
  if (!isMap(document.get("networks"))) document.set("networks", new YAMLMap());
  document.setIn(["networks", name], network);
  const rewritten = document.toString(FORMAT);
  const last = block?.pairs.at(-1);
  if (block === undefined || last === undefined) return rewritten;
  const lines = stringify({ [name]: network }, FORMAT).replaceAll(/^(?=.)/gm, block.indent);
  const at = endOf(text, last, block.indent);
  const before = text.slice(0, at);
  const inserted = `${before}${before.endsWith("\n") ? "" : "\n"}${lines}${text.slice(at)}`;
  return isSame(inserted, rewritten) ? inserted : rewritten;
}

export function removeNetworks(text: string, names: readonly string[]): string {
  const document = parseDocument(text);
  for (const name of names) document.deleteIn(["networks", name]);
  const rewritten = document.toString(FORMAT);
  const block = blockOf(text);
  if (block === undefined) return rewritten;
  let kept = "";
  let from = 0;
  block.pairs.forEach((pair, i) => {
    if (!names.includes(keyOf(pair))) return;
    let start = lineStart(text, pair.key.range![0]);
    // a comment right above belongs to the network, above the first one perhaps to all
    for (let above = i > 0 ? start : 0; above > 0;) {
      above = lineStart(text, above - 1);
      if (!text.startsWith(`${block.indent}#`, above)) break;
      start = above;
    }
    kept += text.slice(from, start);
    from = endOf(text, pair, block.indent);
  });
  kept += text.slice(from);
  return isSame(kept, rewritten) ? kept : rewritten;
}

type NetworkPair = Pair<Node, Node | null>;

/** The networks where they stand one below the other, and the blanks before each; undefined: they do not. */
function blockOf(text: string): { pairs: NetworkPair[]; indent: string } | undefined {
  const networks = parseDocument(text).get("networks", true);
  if (!isMap(networks) || networks.flow === true) return undefined;
  const pairs = networks.items as unknown as NetworkPair[];
  const first = pairs[0]?.key.range?.[0];
  if (first === undefined) return undefined;
  const indent = text.slice(lineStart(text, first), first);
  return /^ +$/.test(indent) ? { pairs, indent } : undefined;
}

/** Where the lines of a network end, with comments that are further in than the network's name. */
function endOf(text: string, pair: NetworkPair, indent: string): number {
  let end = lineEnd(text, lastOctet(pair));
  for (;;) {
    const line = /^ *#.*(?:\n|$)/.exec(text.slice(end))?.[0];
    if (line === undefined || !line.startsWith(`${indent} `)) return end;
    end += line.length;
  }
}

/** offset after the last value within */
function lastOctet(pair: NetworkPair): number {
  const { value } = pair;
  if (isMap(value) && value.flow !== true && value.items.length > 0)
    return lastOctet(value.items.at(-1) as unknown as NetworkPair);
  return isMap(value) || isSeq(value) || isScalar(value)
    ? Math.max(value.range![1], pair.key.range![1])
    : pair.key.range![1];
}

const lineStart = (text: string, at: number): number => text.lastIndexOf("\n", at - 1) + 1;

function lineEnd(text: string, at: number): number {
  if (text[at - 1] === "\n") return at;
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end + 1;
}

const keyOf = ({ key }: NetworkPair): string => (isScalar(key) ? String(key.value) : "");

/** Do two texts say the same, in the same order? */
function isSame(one: string, other: string): boolean {
  const [first, second] = [parseDocument(one), parseDocument(other)];
  return (
    first.errors.length === 0 && JSON.stringify(first.toJS()) === JSON.stringify(second.toJS())
  );
}
