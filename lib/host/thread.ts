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

/** In the main thread: starts the worker in a module of this program. */
export function startThread(url: URL, listener: (message: unknown) => void, onFailure: (why: string) => void): Worker {
  const worker = new Worker(url.href);
  worker.onmessage = (event) => listener(event.data);
  worker.onerror = (event) => onFailure(event.message);
  return worker;
}
