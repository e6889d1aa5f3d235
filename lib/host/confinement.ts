/** A daemon gives up, for itself and all that it starts, what it never needs (Linux): docs/privileges.md. */
import { systemCallFilter } from "../privilege/system-call-filter.ts";
import { abi, errno, errnoName, openLibrary } from "./libc.ts";
import { pinned } from "./pinned.ts";

const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_SET_MODE_FILTER = 1;
/** every thread of the process gets the filter, and no_new_privs with it, or none does */
const SECCOMP_FILTER_FLAG_TSYNC = 1;

/** Why it could not be done, as on a kernel without seccomp(2); undefined: it is done, for good. */
export function confine(): string | undefined {
  const { platform, arch } = process;
  if (platform !== "linux" || (arch !== "x64" && arch !== "arm64")) return undefined;
  const { prctl, syscall } = openLibrary(abi.libraries, {
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
    // variadic, but Linux passes variable arguments like others
    syscall: { args: ["i64", "u64", "u64", "ptr"], returns: "i64" },
  });
  const failure = (what: string) => `${what}: ${errnoName(errno())}`;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) !== 0) return failure("no_new_privs");
  const filter = systemCallFilter(arch);
  // struct sock_fprog: how many instructions, and where they are
  const program = new BigUint64Array([BigInt(filter.length / 8), BigInt(pinned(filter))]);
  const seccomp = arch === "x64" ? 317 : 277;
  const result = syscall(seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program);
  if (Number(result) < 0) return failure("seccomp");
  return Number(result) === 0 ? undefined : "seccomp: a thread has a filter of its own";
}
