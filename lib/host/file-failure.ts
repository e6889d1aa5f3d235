/** What a file system has refused, in a sentence. */

const REASONS: Record<string, string> = {
  ENOSPC: "the disk is full (free some space and do it again)",
  EDQUOT: "this user's disk quota is used up (free some space and do it again)",
  EROFS: "the file system is read-only (choose another LIMANET_HOME, or mount it writable)",
  EACCES: "permission denied (it belongs to another user, or its mode forbids it)",
  EPERM: "permission denied (it belongs to another user, or its mode forbids it)",
  EISDIR: "it is a folder, and a file is needed",
  ENXIO: "nobody reads from this pipe (start its reader first)",
  ELOOP: "symbolic links lead in a circle",
  ENAMETOOLONG: "the name is too long",
};

/** Runs `work`; what it throws becomes "Cannot VERB PATH: why", with the `code` it had. */
export function orFileFailure<T>(verb: string, path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code = "", message } = error as { code?: string; message: string };
    const told = new Error(`Cannot ${verb} ${path}: ${REASONS[code] ?? message}`, { cause: error });
    throw Object.assign(told, { code });
  }
}
