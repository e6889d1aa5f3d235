/** Which ports of the host's loopback guests reach at the host's address of a user-mode network: all, none, or those in a list. */
import type { Node } from "yaml";
import { isScalar } from "yaml";
import type { YamlReader } from "./document.ts";

export type HostAccess = "all" | "none" | readonly number[];

const LAST_PORT = 65_535;

/** `hostAccess` of networks.yaml and lima.yaml, which Lima does not know. */
export function readHostAccess(
  reader: YamlReader,
  node: Node,
  path: string,
): HostAccess | undefined {
  if (isScalar(node))
    return reader.oneOf(
      node,
      path,
      ["all", "none"] as const,
      "is no list of ports such as [3128, 5432]",
    );
  const ports: number[] = [];
  reader.list(node, path, (item, at) => {
    const port = reader.integer(item, at, 1, LAST_PORT);
    if (port !== undefined) ports.push(port);
  });
  return ports;
}

/** "all", "none" or "3128,5432", as a daemon is told; undefined: something else */
export function parseHostAccess(text: string): HostAccess | undefined {
  if (text === "all" || text === "none") return text;
  const ports = text.split(",").map((port) => (/^\d{1,5}$/.test(port) ? Number(port) : 0));
  return ports.every((port) => port >= 1 && port <= LAST_PORT) ? ports : undefined;
}

/** what parseHostAccess() reads */
export const formatHostAccess = (access: HostAccess): string =>
  typeof access === "string" ? access : access.join(",") || "none";

/** May guests reach a port? */
export const allowsPort = (access: HostAccess, port: number): boolean =>
  access === "all" || (access !== "none" && access.includes(port));

/** Is everything that one allows allowed by the other? */
export const isWithin = (access: HostAccess, other: HostAccess): boolean =>
  other === "all" ||
  access === "none" ||
  (access !== "all" && access.every((port) => allowsPort(other, port)));
