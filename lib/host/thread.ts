/** The two ends of a worker thread. */

/** In the worker: hears the main thread. */
export function onMessage(listener: (message: unknown) => void): void {
  globalThis.onmessage = (event: MessageEvent) => listener(event.data);
}

/** In the worker: speaks to the main thread. */
export function postToMain(message: unknown): void {
  postMessage(message);
}

/** In the worker: runs `next` after the messages that have come were delivered. */
export function afterMessages(next: () => void): void {
  setImmediate(next);
}

/** where a compiled executable holds the modules given to the build */
const EMBEDDED_ROOT = "/$bunfs/root/";

/** this program is one compiled executable */
export const isCompiled = import.meta.url.includes(EMBEDDED_ROOT);

/** the modules that run in threads of their own, named from the project's folder; `scripts/build` has the same list */
export type ThreadModule =
  | "lib/daemon/network/engine-thread.ts"
  | "lib/daemon/vmnet/switch-thread.ts"
  | "lib/daemon/relay/relay-thread.ts"
  | "lib/host/resolver-thread.ts";

/** In the main thread: starts a worker in a module of this program. */
export function startThread(
  module: ThreadModule,
  listener: (message: unknown) => void,
  onFailure: (why: string) => void,
): Worker {
  const url = isCompiled
    ? `file://${EMBEDDED_ROOT}${module}`
    : new URL(`../../${module}`, import.meta.url).href;
  const worker = new Worker(url);
  worker.onmessage = (event) => listener(event.data);
  worker.onerror = (event) => onFailure(event.message);
  return worker;
}
