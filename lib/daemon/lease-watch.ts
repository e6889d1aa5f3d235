/** Whether a guest has an address on each network whose DHCP is not ours to watch, and what may be to blame if not. */
import type { InstancePaths } from "../config/paths.ts";
import { noLease } from "../doctor/no-lease.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import { hostPlatform } from "../host/machine.ts";
import type { Log } from "../trace/log.ts";
import { examineHost } from "./doctor/examination.ts";
import { inGuest } from "./guest-access.ts";

/** from the end of the boot on, which on most systems waits for the network itself */
const LIMIT_MS = 15_000;
const STEP_MS = 500;

export interface WatchedCard {
  network: string;
  mac: string;
}

/** a line for each of the guest's cards: its hardware address, and its IPv4 addresses if it has any */
const ADDRESSES =
  'for card in /sys/class/net/*; do echo "$(cat $card/address) $(ip -4 -o addr show dev ${card##*/} scope global)"; done';

/** Sentences, one for each network on which the guest has got no address in time. */
export async function missingLeases(
  home: string,
  name: string,
  paths: InstancePaths,
  cards: readonly WatchedCard[],
  over: () => boolean,
  log: Log,
): Promise<string[]> {
  const limit = monotonicMs() + LIMIT_MS;
  let without: readonly WatchedCard[] = [];
  while (cards.length > 0 && !over()) {
    const { code, stdout } = await inGuest(paths, name, ADDRESSES);
    // a guest that cannot be asked is not accused
    without = code === 0 ? cards.filter(({ mac }) => !hasAddress(stdout, mac)) : [];
    if ((code === 0 && without.length === 0) || monotonicMs() > limit) break;
    await sleep(STEP_MS);
  }
  if (without.length === 0 || over()) return [];
  const { findings } = await examineHost(home, ["firewall"], log);
  return without.map(({ network }) => {
    const blocking = findings.filter((finding) => (finding.network ?? network) === network);
    return noLease(network, LIMIT_MS / 1000, hostPlatform(), blocking);
  });
}

const hasAddress = (lines: string, mac: string): boolean =>
  lines.split("\n").some((line) => line.startsWith(`${mac} `) && / inet /.test(line));
