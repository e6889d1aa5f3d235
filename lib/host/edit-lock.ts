/** The lock under which a file is read, changed and written again, so that two commands at once lose nothing. */

/** Holds the lock of a folder that is there while `work` runs; waits as long as another process has it. */
export async function whileEditing<T>(folder: string, work: () => Promise<T>): Promise<T> {
  // the lock needs bun:ffi, which Deno has not, and commands that edit run there, too
  if (process.versions["bun"] === undefined) return work();
  const { withLock } = await import("./lock.ts");
  return withLock(folder, work);
}
