/** A network's leases between the runs of its daemon. */
import { readTextIfThere, writeFileAtomically } from "../host/files.ts";
import type { Lease } from "../service/dhcp/lease-table.ts";
import type { Log } from "../trace/log.ts";

export function storeLeases(path: string, leases: readonly Lease[], log: Log): void {
  try {
    writeFileAtomically(path, `${JSON.stringify(leases)}\n`);
  } catch (error) {
    // the network goes on; what is lost is that guests keep their addresses over a restart
    log.error(`Cannot store the leases in ${path}: ${(error as Error).message}`);
  }
}

export function storedLeases(path: string, warn: (sentence: string) => void): Lease[] {
  const stored = readLeaseFile(path, warn);
  if (!Array.isArray(stored)) return [];
  return stored.filter((lease) => typeof lease?.ip === "string" && typeof lease?.mac === "string");
}

/** The JSON of a file of leases, ours or Lima's; undefined when there is none, or nothing that can be read. */
export function readLeaseFile(path: string, warn: (sentence: string) => void): unknown {
  try {
    const text = readTextIfThere(path);
    return text === undefined ? undefined : JSON.parse(text);
  } catch (error) {
    warn(`the leases in ${path} cannot be read and are given up: ${(error as Error).message}`);
    return undefined;
  }
}
