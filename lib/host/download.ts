/** Downloads and digests of files. */
import { createHash } from "node:crypto";
import { createReadStream, renameSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import cliProgress from "cli-progress";
import { isDrawable } from "./terminal.ts";

/** hexadecimal digest of a file */
export async function digestOfFile(
  path: string,
  algorithm: "sha256" | "sha512",
  ended?: AbortSignal,
): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(path)) {
    ended?.throwIfAborted();
    hash.update(chunk as Uint8Array);
  }
  return hash.digest("hex");
}

/**
 * Fetches a URL into a file, which appears only when it is whole. Shows progress on a terminal. One process at a time
 * may do so for one path.
 */
export async function download(url: string, path: string, ended?: AbortSignal): Promise<void> {
  const response = await fetch(url, ended === undefined ? {} : { signal: ended });
  if (!response.ok || response.body === null)
    throw new Error(`the server answered ${response.status} ${response.statusText}`);
  const total = Number(response.headers.get("content-length") ?? 0);
  // what is not told beforehand cannot be a part of something
  const bar =
    total > 0 && isDrawable("error")
      ? new cliProgress.SingleBar({
          format: "{bar} {percentage} % of {mib} MiB, {eta} s left",
          stream: process.stderr,
        })
      : undefined;
  // of a name that the next download takes again: what a killed process left behind does not stay
  const temporary = `${path}.tmp`;
  // nobody else may change an image on its way, whatever the umask
  const file = await open(temporary, "w", 0o644);
  bar?.start(total, 0, { mib: Math.ceil(total / 1024 ** 2) });
  try {
    let received = 0;
    for await (const chunk of response.body) {
      await file.writeFile(chunk);
      received += chunk.length;
      bar?.update(received);
    }
    if (total > 0 && received !== total)
      throw new Error(`the connection ended after ${received} of ${total} octets`);
    await file.sync();
    renameSync(temporary, path);
  } finally {
    bar?.stop();
    await file.close();
    rmSync(temporary, { force: true });
  }
}

/** the first octets of a file */
export async function firstOctets(path: string, count: number): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const octets = new Uint8Array(count);
    const { bytesRead } = await file.read(octets, 0, count, 0);
    return octets.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
