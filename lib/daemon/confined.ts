/** What a daemon that serves guests gives up of its system's calls, and what is said where it cannot (docs/privileges.md). */
import { confine } from "../host/confinement.ts";
import type { Log } from "../trace/log.ts";

/** From now on; before a thread or a process is started that others could get at. The daemon serves without it, too. */
export function giveUpSystemCalls(log: Log): void {
  const problem = confine();
  if (problem !== undefined) log.info?.(`system calls are not filtered: ${problem}`);
}
