/**
 * Where a native library is and how it is loaded. In the source tree it is a file that scripts/build-native has made. In
 * the executable it is an embedded file: its octets are compared with the hash that scripts/build compiled in, and the
 * system's loader gets them in a way that nobody else can write to. (What Bun does by itself, a file below $TMPDIR whose
 * content nobody checks, would let others choose the code that root runs.)
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { abi, errno, errnoName, libc, openLibrary } from "./libc.ts";

/** file names and hashes in hexadecimal; there only in the executable */
declare const LIMANET_LIBRARIES: Readonly<Record<string, string>> | undefined;
const embedded = typeof LIMANET_LIBRARIES === "object" ? LIMANET_LIBRARIES : undefined;

const fileOf = (name: string): string =>
  process.platform === "darwin" ? `${name}-darwin.dylib` : `${name}-linux-${process.arch}.so`;
const placeOf = (file: string): string =>
  embedded === undefined
    ? new URL(`../../dist/native/${file}`, import.meta.url).pathname
    : `/$bunfs/root/${file}`;

/** A library's file for whoever reads a message, and the hash of its octets. */
export function libraryFile(name: string): { place: string; sha256: string } {
  const file = fileOf(name);
  const place = embedded === undefined ? placeOf(file) : `${file} of the executable`;
  return { place, sha256: sha256(readLibrary(file)) };
}

/** Gives `load` the path by which the library of this name can be loaded, during the call. */
export function loadLibrary<Loaded>(name: string, load: (path: string) => Loaded): Loaded {
  const file = fileOf(name);
  const octets = readLibrary(file);
  if (embedded === undefined) return load(placeOf(file));
  const found = sha256(octets);
  if (found !== embedded[file])
    throw new Error(
      `Cannot load the native library ${file}: its SHA-256 is ${found}, not ${embedded[file]} with which the executable was built (install the executable again)`,
    );
  return process.platform === "darwin" ? fromFolder(octets, load) : fromMemory(octets, load);
}

const sha256 = (octets: Uint8Array): string => createHash("sha256").update(octets).digest("hex");

function readLibrary(file: string): Uint8Array {
  try {
    return readFileSync(placeOf(file));
  } catch (error) {
    throw new Error(
      `Cannot read the native library ${file}: ${(error as Error).message} (make it with scripts/build-native)`,
      { cause: error },
    );
  }
}

// memfd_create(2)
const MFD_CLOEXEC = 1;

/** Linux: a file without a name, which only this process has. */
function fromMemory<Loaded>(octets: Uint8Array, load: (path: string) => Loaded): Loaded {
  const { memfd_create: createFile } = openLibrary(abi.libraries, {
    memfd_create: { args: ["ptr", "u32"], returns: "i32" },
  });
  const fd = createFile(new TextEncoder().encode("limanet\0"), MFD_CLOEXEC);
  if (fd < 0)
    throw new Error(`Cannot load the native library: memfd_create: ${errnoName(errno())}`);
  try {
    writeAll(fd, octets);
    return load(`/proc/self/fd/${fd}`);
  } finally {
    libc.close(fd);
  }
}

function writeAll(fd: number, octets: Uint8Array): void {
  for (let at = 0; at < octets.length;) at += writeSync(fd, octets, at);
}

/** root's, and sticky: nobody else can rename what lies there, whatever TMPDIR says */
const DARWIN_FOLDERS = "/private/tmp";

/** macOS, whose loader wants a name: a file in a new folder of mode 0700 below `folders`, gone when it is loaded. */
export function fromFolder<Loaded>(
  octets: Uint8Array,
  load: (path: string) => Loaded,
  folders = DARWIN_FOLDERS,
): Loaded {
  const folder = mkdtempSync(`${folders}/limanet-`);
  try {
    writeFileSync(`${folder}/library`, octets, { mode: 0o500, flag: "wx" });
    return load(`${folder}/library`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
