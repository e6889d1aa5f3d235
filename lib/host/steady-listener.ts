/**
 * Bun tries to accept again and again, as fast as it can, while this process has no descriptor left for the connection. So
 * its listeners are closed when that is so, which is looked for every second, and open again when it is over.
 */
import { closeDescriptor, duplicate } from "./descriptors.ts";
import { errnoName } from "./libc.ts";

const STEP_MS = 1000;

interface Listener {
  stop(closeActiveConnections?: boolean): void;
}

interface Held {
  listen(): Listener;
  listener: Listener | undefined;
}

const all = new Set<Held>();
let timer: ReturnType<typeof setInterval> | undefined;

/** Listens until `stop`; `listen` may be called again later, when the listener before has been stopped. */
export function listenSteadily<L extends Listener>(
  listen: () => L,
): { first: L; stop: (closeActiveConnections?: boolean) => void } {
  const first = listen();
  const held: Held = { listen, listener: first };
  all.add(held);
  timer ??= setInterval(look, STEP_MS).unref();
  return {
    first,
    stop: (closeActiveConnections) => {
      all.delete(held);
      held.listener?.stop(closeActiveConnections);
      if (all.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    },
  };
}

function look(): void {
  const spare = duplicate(0);
  if (spare >= 0) closeDescriptor(spare);
  const isShort = spare < 0 && ["EMFILE", "ENFILE"].includes(errnoName(spare));
  for (const held of all)
    if (isShort) {
      held.listener?.stop();
      held.listener = undefined;
    } else open(held);
}

function open(held: Held): void {
  try {
    held.listener ??= held.listen();
  } catch {
    // its address will be free, or the next descriptor
  }
}
