/**
 * What a daemon of root's may still do (Linux, capabilities(7)). Capabilities are kept for each thread, and Bun has threads
 * from its first moment: so the main thread gives away its own and becomes this program once more. That ends the other
 * threads, and all that come inherit what is left.
 */
import { readFileSync } from "node:fs";
import { openLibrary, abi, errno, errnoName } from "./libc.ts";
import { pinned } from "./pinned.ts";
import { privilegedEnvironment, selfCommand } from "./process.ts";

/** numbers of linux/capability.h */
const NUMBER = { CHOWN: 0, DAC_OVERRIDE: 1, SETPCAP: 8, NET_BIND_SERVICE: 10, NET_ADMIN: 12 };
export type Capability = keyof typeof NUMBER;

const HIGHEST = 63;
const VERSION_3 = 0x20080522;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_RAISE = 2;

const open = () =>
  openLibrary(abi.libraries, {
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
    capset: { args: ["ptr", "ptr"], returns: "i32" },
  });

/** does this process have it? */
export const hasCapability = (name: Capability): boolean => has(ownCapabilities().permitted, name);

const has = (set: bigint, name: Capability): boolean => ((set >> BigInt(NUMBER[name])) & 1n) === 1n;

function ownCapabilities(): { permitted: bigint; isFinal: boolean } {
  const status = readFileSync("/proc/thread-self/status", "utf8");
  const line = (name: string) => new RegExp(`^${name}:\\s*(\\w+)$`, "m").exec(status)?.[1] ?? "0";
  return { permitted: BigInt(`0x${line("CapPrm")}`), isFinal: line("NoNewPrivs") === "1" };
}

/**
 * Keeps what is wanted of the capabilities that there are and gives the rest away for good; nobody below this process can
 * get more, whatever they run. The first call starts the program anew, with the same words and process id and little of the
 * environment.
 */
export function keepCapabilities(wanted: readonly Capability[]): void {
  const { prctl, capset } = open();
  const { permitted, isFinal } = ownCapabilities();
  const all = wanted.reduce((set, name) => set | (1n << BigInt(NUMBER[name])), 0n);
  const kept = permitted & all;
  const numbers = Object.values(NUMBER).filter((number) => ((kept >> BigInt(number)) & 1n) === 1n);
  const must = (what: string, result: number) => {
    if (result !== 0)
      throw new Error(
        `Cannot give privileges away: ${what}: ${errnoName(errno())} (capabilities(7))`,
      );
  };
  const isReduced = isFinal && kept === permitted;
  if (!isReduced && has(permitted, "SETPCAP"))
    for (let number = 0; number <= HIGHEST; number++)
      // the kernel knows fewer than there is room for
      if (!numbers.includes(number)) prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
  // inheritable ones are what becomes ambient, and what a program of an ordinary user gets is ambient alone
  const low = Number(kept & 0xffffffffn);
  const high = Number(kept >> 32n);
  const header = pinned(new Uint32Array([VERSION_3, 0]));
  const sets = pinned(new Uint32Array([low, low, low, high, high, high]));
  must("capset", capset(header, sets));
  for (const number of numbers)
    must("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0));
  if (isReduced) return;
  must("no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  const [, ...own] = selfCommand();
  // not by its path, in which there may be folders that root has just lost its way into
  process.execve!(
    "/proc/self/exe",
    [process.argv0, ...own, ...process.argv.slice(2)],
    privilegedEnvironment(),
  );
}
