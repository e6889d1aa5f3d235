/** Changes to the text of networks.yaml that keep its comments and layout. */
import { isMap, parseDocument, YAMLMap } from "yaml";
import type { NetworkConfig } from "./networks.ts";

/** long comments and values stay on their lines */
const FORMAT = { lineWidth: 0, indentSeq: false } as const;

export function addNetwork(text: string, name: string, network: NetworkConfig): string {
  const document = parseDocument(text);
  if (!isMap(document.contents)) document.contents = new YAMLMap() as never;
  if (!isMap(document.get("networks"))) document.set("networks", new YAMLMap());
  document.setIn(["networks", name], network);
  return document.toString(FORMAT);
}

export function removeNetworks(text: string, names: readonly string[]): string {
  const document = parseDocument(text);
  for (const name of names) document.deleteIn(["networks", name]);
  return document.toString(FORMAT);
}
