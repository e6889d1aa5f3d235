/** Other processes: started, watched, ended. */
import { spawnSync } from "node:child_process";
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { orFileFailure } from "./file-failure.ts";
import { isCompiled } from "./thread.ts";

/** The command line that starts this program again. */
export function selfCommand(): string[] {
  return isCompiled
    ? [process.execPath]
    : [process.execPath, new URL("../../main.ts", import.meta.url).pathname];
}

/** What children inherit: our environment without the variables by which it would change how Bun runs our own code. */
export function childEnvironment(): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !name.startsWith("BUN_")) environment[name] = value;
  }
  return environment;
}

/** where root's programs are, and where nobody else puts any */
const ROOTS_FOLDERS = "/usr/sbin:/usr/bin:/sbin:/bin";
/** of these a daemon of an ordinary user's with capabilities makes the name of its folder */
const KEPT = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"];

/** What a daemon with privileges, and whatever it runs, gets of the environment: all that it knows what to do with. */
export function privilegedEnvironment(): Record<string, string> {
  const kept = KEPT.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  return { PATH: ROOTS_FOLDERS, ...Object.fromEntries(kept) };
}

export interface StartedProcess {
  pid: number;
  /** exit code, or the signal's name */
  exited: Promise<number | string>;
  kill(signal: "SIGTERM" | "SIGINT" | "SIGKILL"): void;
}

/**
 * Starts a process with its output in new files; `detached` ones outlive us. `lock` is a descriptor that the process
 * inherits as its descriptor 3, `folder` where it starts.
 */
export function startProcess(
  command: readonly string[],
  files: { stdout: string; stderr: string },
  detached: boolean,
  lock?: number,
  folder?: string,
): StartedProcess {
  const stdout = openNew(files.stdout);
  const stderr = openNew(files.stderr);
  try {
    const child = Bun.spawn([...command], {
      stdio: ["ignore", stdout, stderr, ...(lock === undefined ? [] : [lock])],
      env: childEnvironment(),
      ...(detached ? { detached: true } : {}),
      ...(folder === undefined ? {} : { cwd: folder }),
    });
    if (detached) child.unref();
    return {
      pid: child.pid,
      exited: child.exited.then((code) => child.signalCode ?? code),
      kill: (signal) => child.kill(signal),
    };
  } finally {
    closeSync(stdout);
    closeSync(stderr);
  }
}

/** A descriptor to write a new file. A process of before that still runs goes on writing into the old file, which is not there for anybody else. */
export function openNew(path: string): number {
  return orFileFailure("write", path, () => {
    rmSync(path, { force: true });
    return openSync(path, "w", 0o644);
  });
}

export interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs a command to its end; after `timeoutMs` it is killed and the code is -1. Then its output is not waited for either:
 * a process that it has left, such as ssh's shared connection, may hold it open for ever.
 */
export async function runCommand(command: readonly string[], timeoutMs: number): Promise<Finished> {
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: childEnvironment(),
  });
  const late = new AbortController();
  const timer = setTimeout(() => {
    child.kill("SIGKILL");
    late.abort();
  }, timeoutMs);
  const [stdout, stderr, code] = await Promise.all([
    readAll(child.stdout, late.signal),
    readAll(child.stderr, late.signal),
    child.exited,
  ]);
  clearTimeout(timer);
  return { code: late.signal.aborted ? -1 : code, stdout, stderr };
}

/** the text of a stream up to its end, or up to the signal */
async function readAll(stream: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<string> {
  const reader = stream.getReader();
  signal.addEventListener("abort", () => void reader.cancel());
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
  }
}

/** Runs a command on our own terminal; its exit code. */
export async function runInTerminal(command: readonly string[]): Promise<number> {
  const child = Bun.spawn([...command], {
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
    env: childEnvironment(),
  });
  return child.exited;
}

/** the path of a program, or undefined when it is not installed; a name with a slash in it is a path already */
export function findProgram(name: string): string | undefined {
  const folders = name.includes("/") ? [""] : (process.env["PATH"] ?? "").split(":");
  return folders.map((folder) => (folder === "" ? name : `${folder}/${name}`)).find(isProgram);
}

export function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Is there a process of that number, whoever owns it? */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** the words with which a process was started, one blank between; empty when they cannot be seen */
export function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    const { stdout } = spawnSync("ps", ["-ww", "-o", "command=", "-p", String(pid)], {
      encoding: "utf8",
    });
    return (stdout ?? "").trim();
  }
}

/** Sends a signal; false when there is no such process. */
export function signalProcess(pid: number, signal: "SIGTERM" | "SIGINT" | "SIGKILL"): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** the pid that a pid file tells if there is a process of that number, whosever it is; else 0 (specification, section 2) */
export function livingProcess(pidFile: string | undefined): number {
  const pid = Number((pidFile ?? "").trim());
  if (!Number.isInteger(pid) || pid <= 0) return 0;
  try {
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    // a process of somebody else lives, too
    return (error as { code?: string }).code === "EPERM" ? pid : 0;
  }
}
