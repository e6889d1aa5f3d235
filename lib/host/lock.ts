/**
 * Locks that end with their holder: flock(2) on a file that also tells the holder's pid. The number alone is never
 * trusted, since it may by now belong to another process.
 */
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { libc, LOCK_EX, LOCK_NB } from "./libc.ts";

export interface Lock {
  /** Removes the file and releases the lock. */
  release(): void;
}

/** Takes the lock and writes our pid; undefined when another process holds it. */
export function tryLockPidFile(path: string): Lock | undefined {
  const fd = openSync(path, "a+", 0o644);
  if (libc.flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    closeSync(fd);
    return undefined;
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  return {
    release() {
      // removed while still held, so that nobody locks a file that is about to vanish
      try {
        unlinkSync(path);
      } catch {
        // it is gone already
      }
      closeSync(fd);
    },
  };
}

/** pid of the process that holds the lock; 0 when nobody does (a dead holder's file is removed) */
export function lockHolder(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, "r+");
  } catch {
    return 0;
  }
  try {
    if (libc.flock(fd, LOCK_EX | LOCK_NB) !== 0) return Number(readFileSync(path, "utf8").trim()) || 0;
    unlinkSync(path);
    return 0;
  } catch {
    return 0;
  } finally {
    closeSync(fd);
  }
}

/** Holds a lock on a file or folder while `work` runs; waits for it as long as another process has it. */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const fd = existsSync(path) ? openSync(path, "r") : openSync(path, "a", 0o644);
  try {
    while (libc.flock(fd, LOCK_EX | LOCK_NB) !== 0) await new Promise((resolve) => setTimeout(resolve, 20));
    return await work();
  } finally {
    closeSync(fd);
  }
}
