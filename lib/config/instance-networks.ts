/** `networks` of lima.yaml (specification, sections 3.1, 3.3 and 3.8): further network cards, and what they lead to. */
import type { Node } from "yaml";
import { formatMac, parseMac } from "../addr/mac.ts";
import type { YamlReader } from "./document.ts";

export interface InstanceNetwork {
  /** exactly one of lima, socket, vzNAT */
  lima?: string;
  socket?: string;
  vzNAT?: boolean;
  macAddress?: string;
  /** name of the interface in the guest */
  interface: string;
  metric: number;
}

/** What stands outside of lima.yaml and decides whether its networks can be had; what is left out is not checked. */
export interface NetworkSurroundings {
  /** names in networks.yaml */
  networks?: readonly string[];
  /** what is at a path of this machine */
  fileKind?: (path: string) => "socket" | "other" | "none";
}

/** octets; Linux' IFNAMSIZ with the zero at its end */
const INTERFACE_NAME_LIMIT = 16;
/** the guest's first card, which every instance has */
const FIRST_INTERFACE = "eth0";
export const DEFAULT_METRIC = 100;

/**
 * Reads the list, filled; the index that makes default names counts all entries. `onNat` is told where vzNAT: true stands:
 * whether it can be had depends on what is read elsewhere.
 */
export function readInstanceNetworks(
  reader: YamlReader,
  node: Node,
  path: string,
  surroundings: NetworkSurroundings,
  onNat: (node: Node, path: string) => void,
): InstanceNetwork[] {
  const networks: InstanceNetwork[] = [];
  reader.list(node, path, (item, at) => {
    const network = readEntry(reader, item, at, networks.length, surroundings, onNat);
    const earlier = networks.findIndex((other) => other.interface === network.interface);
    if (earlier >= 0) {
      reader.error(
        item,
        `${at}.interface`,
        `${network.interface} has already been used by networks[${earlier}].interface`,
      );
    }
    networks.push(network);
  });
  return networks;
}

function readEntry(
  reader: YamlReader,
  node: Node,
  path: string,
  index: number,
  { networks: defined, fileKind }: NetworkSurroundings,
  onNat: (node: Node, path: string) => void,
): InstanceNetwork {
  const network: InstanceNetwork = { interface: `lima${index}`, metric: DEFAULT_METRIC };
  const before = reader.diagnostics.length;
  let nat: Node | undefined;
  reader.map(node, path, {
    lima: (value, at) => {
      const name = reader.string(value, at);
      if (name === undefined || name === "") return;
      network.lima = name;
      if (defined !== undefined && !defined.includes(name)) {
        reader.error(
          value,
          at,
          `network \`${name}\` is not defined (networks.yaml has ${defined.join(", ")})`,
        );
      }
    },
    socket: (value, at) => {
      const socket = reader.string(value, at);
      if (socket === undefined || socket === "") return;
      network.socket = socket;
      // what is not there yet may come
      if (fileKind?.(socket) === "other")
        reader.error(value, at, `points to a non-socket file: ${socket}`);
    },
    vzNAT: (value, at) => {
      if (reader.boolean(value, at) !== true) return;
      network.vzNAT = true;
      nat = value;
    },
    macAddress: (value, at) => {
      const text = reader.string(value, at);
      if (text === undefined || text === "") return;
      const mac = parseMac(text);
      if (mac === undefined) {
        reader.error(
          value,
          at,
          `must be a 48 bit (6 bytes) MAC address, not ${JSON.stringify(text)}`,
        );
      } else {
        // in the one form that QEMU and cloud-init know
        network.macAddress = formatMac(mac);
      }
    },
    interface: (value, at) => {
      const name = reader.string(value, at) ?? "";
      if (name === "") return;
      network.interface = name;
      for (const problem of interfaceProblems(name)) reader.error(value, at, problem);
    },
    metric: (value, at) => {
      network.metric = reader.integer(value, at, 0, 2 ** 32 - 1) ?? DEFAULT_METRIC;
    },
  });
  const kinds = (["lima", "socket", "vzNAT"] as const).filter(
    (kind) => network[kind] !== undefined,
  );
  // a value that could not be read was complained about already
  const failed = reader.diagnostics.slice(before).some(({ severity }) => severity === "error");
  if (kinds.length === 0 && !failed)
    reader.error(node, path, "lima, socket or vzNAT: true must be set");
  if (kinds.length === 1 && nat !== undefined) onNat(nat, `${path}.vzNAT`);
  if (kinds.length > 1) reader.error(node, path, `${kinds.join(" and ")} are mutually exclusive`);
  return network;
}

function interfaceProblems(name: string): string[] {
  const problems: string[] = [];
  if (new TextEncoder().encode(name).length >= INTERFACE_NAME_LIMIT)
    problems.push(`must be less than ${INTERFACE_NAME_LIMIT} bytes`);
  if (/[ \t\n/]/.test(name)) problems.push("must not contain whitespace or slashes");
  if (name === FIRST_INTERFACE) problems.push(`${name} is reserved for the first network`);
  return problems;
}
