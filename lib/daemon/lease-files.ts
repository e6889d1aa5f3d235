/**
 * A user-v2 network's leases while its daemon does not run: our own file, which the daemon keeps up to date, and beside it
 * the leases.json that Lima reads and writes (specification, section 8.2). Both are touched here only under the network's lock.
 */
import type { NetworkPaths } from "../config/paths.ts";
import { unixMs } from "../host/clock.ts";
import { writeFileAtomically } from "../host/files.ts";
import type { Lease } from "./network/engine-protocol.ts";
import { readLeaseFile, storedLeases } from "./stored-leases.ts";

/** Makes the daemon that starts next remember those whom Lima's own daemon has given addresses. */
export function takeOverLimaLeases(paths: NetworkPaths, warn: (sentence: string) => void): void {
  const theirs = readLeaseFile(paths.leases, warn);
  if (typeof theirs !== "object" || theirs === null || Array.isArray(theirs)) return;
  const own = storedLeases(paths.ownLeases, warn);
  const known = new Set(own.flatMap(({ ip, mac }) => [ip, mac]));
  const taken: Lease[] = Object.entries(theirs as Record<string, unknown>).flatMap(([ip, mac]) =>
    typeof mac !== "string" || known.has(ip) || known.has(mac)
      ? []
      : // over, but remembered: it goes to somebody else only when the subnet has no other address left
        [{ ip, mac, expiresAt: unixMs() }],
  );
  if (taken.length > 0)
    writeFileAtomically(paths.ownLeases, `${JSON.stringify([...own, ...taken])}\n`);
}

/** Writes leases.json; `inForce` is what the daemon says of itself, "{}" when it says nothing any more. */
export function writeLimaLeases(paths: NetworkPaths, inForce: string): void {
  const table = Object.fromEntries(
    storedLeases(paths.ownLeases, () => {}).map(({ ip, mac }) => [ip, mac]),
  );
  Object.assign(table, JSON.parse(inForce));
  writeFileAtomically(paths.leases, `${JSON.stringify(table)}\n`);
}
