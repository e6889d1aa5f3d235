/**
 * Locks that end with their holder: flock(2) on a file that also tells the holder's pid. The number alone is never
 * trusted, since it may by now belong to another process.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
  type Stats,
} from "node:fs";
import { orFileFailure } from "./file-failure.ts";
import { libc, LOCK_EX, LOCK_NB, LOCK_SH } from "./libc.ts";

export interface Lock {
  /** Removes the file and releases the lock. */
  release(): void;
}

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

/**
 * The folder may be somebody else's, and we root: a symbolic link, or a second name of a file, in the place of ours would
 * have us write where he likes, and a FIFO would have us wait. The file is opened, so the same one is checked and used.
 */
function openFile(path: string, flags: number): number {
  try {
    return openSync(path, flags | O_NOFOLLOW | O_NONBLOCK, 0o644);
  } catch (error) {
    if ((error as { code?: string }).code !== "ELOOP") throw error;
    throw new Error("it is a symbolic link (remove it)", { cause: error });
  }
}

function openToLock(path: string): number {
  return orFileFailure("lock", path, () => {
    const fd = openFile(path, O_RDWR | O_APPEND | O_CREAT);
    const there = fstatSync(fd);
    if (there.isFile() && there.nlink <= 1) return fd;
    closeSync(fd);
    throw new Error("it is not a file of that one name alone (remove it)");
  });
}

/** Takes the lock and writes our pid; undefined when another process holds it. */
export function tryLockPidFile(path: string): Lock | undefined {
  for (;;) {
    const fd = openToLock(path);
    if (libc.flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      // a shared lock is in the way of nobody but a holder: whoever else keeps us out is only asking, and soon done
      const isHeld = libc.flock(fd, LOCK_SH | LOCK_NB) !== 0;
      closeSync(fd);
      if (isHeld) return undefined;
      continue;
    }
    if (!isAt(fd, path)) {
      // the holder before us has removed the file between our open and its release
      closeSync(fd);
      continue;
    }
    orFileFailure("write", path, () => {
      ftruncateSync(fd);
      writeSync(fd, `${process.pid}\n`);
    });
    return {
      release() {
        // removed while still held, so that nobody locks a file that is about to vanish
        if (isAt(fd, path)) rmSync(path, { force: true });
        closeSync(fd);
      },
    };
  }
}

/** is what we have opened at the path, and has no other name? */
function isAt(fd: number, path: string): boolean {
  const there = lstatSync(path, { throwIfNoEntry: false });
  return there?.nlink === 1 && isOpened(fd, there);
}

function isOpened(fd: number, there: Stats): boolean {
  const { dev, ino } = fstatSync(fd);
  return there.ino === ino && there.dev === dev;
}

/** attempts to read the pid of a holder that has not written it yet */
const READS = 1000;
/** octets of which a pid and the end of its line are fewer */
const PID_ROOM = 32;

/** pid of the process that holds the lock; 0 when nobody does, whatever the file says */
export function lockHolder(path: string): number {
  let fd: number;
  try {
    fd = openFile(path, O_RDONLY);
  } catch {
    return 0;
  }
  try {
    const octets = new Uint8Array(PID_ROOM);
    for (let read = 0; read < READS; read++) {
      if (libc.flock(fd, LOCK_SH | LOCK_NB) === 0 || !isAt(fd, path)) return 0;
      const length = readSync(fd, octets, 0, octets.length, 0);
      const pid = Number(new TextDecoder().decode(octets.subarray(0, length)).trim());
      if (pid > 0) return pid;
    }
    return 0;
  } catch {
    return 0;
  } finally {
    closeSync(fd);
  }
}

/**
 * Takes a lock on a file for a process that is about to be started and inherits the descriptor: the lock ends with that
 * process, whatever becomes of us once we have closed ours. Undefined when another process has it.
 */
export function tryLockForChild(path: string): { fd: number; close(): void } | undefined {
  const fd = openToLock(path);
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return { fd, close: () => closeSync(fd) };
  closeSync(fd);
  return undefined;
}

export function isLocked(path: string): boolean {
  let fd: number;
  try {
    fd = openFile(path, O_RDONLY);
  } catch {
    return false;
  }
  try {
    return libc.flock(fd, LOCK_SH | LOCK_NB) !== 0;
  } finally {
    closeSync(fd);
  }
}

/** the descriptor under which a started process finds a lock that was handed to it (see `releaseHandedLock`) */
const HANDED_LOCK = 3;
const STEP_MS = 20;

/**
 * Holds a lock on a file or folder that is there while `work` runs; waits for it as long as another process has it.
 * `work` gets the descriptor: a child that inherits it keeps the lock, too, even when we are killed.
 */
export async function withLock<T>(path: string, work: (lock: number) => Promise<T>): Promise<T> {
  for (;;) {
    const fd = orFileFailure("lock", path, () => openSync(path, "r"));
    try {
      while (libc.flock(fd, LOCK_EX | LOCK_NB) !== 0)
        await new Promise((resolve) => setTimeout(resolve, STEP_MS));
      const there = statSync(path, { throwIfNoEntry: false });
      if (there !== undefined && isOpened(fd, there)) return await work(fd);
    } finally {
      closeSync(fd);
    }
    // what we have locked was removed while we waited: others lock what stands there now
  }
}

/**
 * Lets go of the lock that the process which started us holds and has handed to us. A daemon does so once it has a lock
 * of its own: whoever waited then sees a daemon that runs, although its starter may have been killed in between.
 */
export function releaseHandedLock(): void {
  closeSync(HANDED_LOCK);
}
