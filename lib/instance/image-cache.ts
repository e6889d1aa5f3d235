/** Images, kernels and initrds: local paths are used where they are, URLs are fetched once into a cache. */
import type { ImageFile } from "../config/images.ts";
import { digestOfFile, download } from "../host/download.ts";
import { exists, makeFolder, remove, writeFileAtomically } from "../host/files.ts";
import { withLock } from "../host/lock.ts";
import { cacheFolder, hostEnvironment, sha256 } from "../host/machine.ts";

/**
 * The path of a file's local copy, checked against its digest; throws a sentence that says what is wrong.
 * Fetching and checking end when `ended` says so, and leave nothing half done.
 */
export async function localFile(file: ImageFile, ended?: AbortSignal): Promise<string> {
  const location = file.location.replace(/^~(?=\/)/, hostEnvironment()["HOME"] ?? "~");
  if (!/^[a-z]+:\/\//.test(location)) return checked(file, location, ended);
  if (location.startsWith("file://"))
    return checked(file, decodeURIComponent(new URL(location).pathname), ended);
  const key = Array.from(sha256(location), (octet) => octet.toString(16).padStart(2, "0")).join("");
  const folder = `${cacheFolder()}/download/by-url-sha256/${key}`;
  const data = `${folder}/data`;
  makeFolder(folder);
  // two instances that start together fetch an image once
  return withLock(folder, async () => {
    if (!exists(data)) {
      writeFileAtomically(`${folder}/url`, location);
      try {
        await download(location, data, ended);
      } catch (error) {
        throw new Error(
          `Cannot download ${location}: ${(error as Error).message} (check the location and the connection)`,
          { cause: error },
        );
      }
    }
    try {
      return await checked(file, data, ended);
    } catch (error) {
      ended?.throwIfAborted();
      // what is wrong once is wrong for ever: the next start fetches it anew
      remove(data);
      throw error;
    }
  });
}

async function checked(file: ImageFile, path: string, ended?: AbortSignal): Promise<string> {
  if (!exists(path))
    throw new Error(
      `Cannot use the image ${path}: there is no such file (check images in lima.yaml)`,
    );
  if (file.digest === undefined) return path;
  const [algorithm = "", wanted = ""] = file.digest.split(":");
  const found = await digestOfFile(path, algorithm as "sha256" | "sha512", ended);
  if (found !== wanted) {
    throw new Error(
      `Cannot use the image ${file.location}: its ${algorithm} is ${found}, not ${wanted} (correct digest in lima.yaml, or get the right file)`,
    );
  }
  return path;
}
