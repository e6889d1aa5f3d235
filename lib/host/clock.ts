/** The clocks and the randomness of the host. */

/** milliseconds that never go back; the start is arbitrary */
export const monotonicMs = (): number => performance.now();

/** Unix time in milliseconds, as the wall clock has it now */
export const unixMs = (): number => Date.now();

const steadyOrigin = Date.now() - performance.now();

/**
 * Unix time in milliseconds as it was when this thread began, and by the monotonic clock from then on: a time limit that is
 * stored, and must not end early or late because somebody has set the wall clock meanwhile.
 */
export const steadyUnixMs = (): number => Math.round(steadyOrigin + performance.now());

const pool = new Uint32Array(256);
let used = pool.length;

/** 32 bits that nobody can foresee */
export function random32(): number {
  if (used === pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  return pool[used++]!;
}

/** Waits; a signal ends the wait early. */
export const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
