/** What a daemon makes of the process that it was given, whoever has started it (docs/privileges.md). */
import { confine } from "../host/confinement.ts";
import { setUmask } from "../host/files.ts";
import type { Log } from "../trace/log.ts";

/** From now on; before a thread or a process is started that others could get at. The daemon serves without it, too. */
export function giveUpSystemCalls(log: Log): void {
  const problem = confine();
  if (problem !== undefined) log.info?.(`system calls are not filtered: ${problem}`);
}

const NOT_WRITTEN_BY_OTHERS = 0o022;

/** A user's daemon, and the programs that it starts, make nothing that others can write to; his umask may forbid more. */
export function keepFilesFromOthers(): void {
  setUmask((own) => own | NOT_WRITTEN_BY_OTHERS);
}

/** What root's daemon makes has the modes that it says: sudo hands its user's umask on, by which nobody could read the pid file. */
export function keepModesExact(): void {
  setUmask(() => NOT_WRITTEN_BY_OTHERS);
}
