/** Follows on which ports a guest listens, over ssh, for as long as its machine runs. */
import type { Listener } from "../../config/port-forward-matching.ts";
import { LISTENING_PORTS_SCRIPT, ListeningPorts, MAX_LINE } from "../../guest/listening-ports.ts";
import { sleep } from "../../host/clock.ts";
import { startLineProcess, type LineProcess } from "../../host/line-stream.ts";
import type { Log } from "../../trace/log.ts";

export interface GuestWatch {
  /** runs a shell of the guest that reads its commands from standard input */
  command: readonly string[];
  signal: AbortSignal;
  /** the listeners, with every line the guest sends */
  onListeners(listeners: Listener[]): void;
  /** the connection was broken and is there again */
  onReconnect(): void;
  log: Log;
}

/** the script prints every 3 s; a connection without a word for so long is dead */
const SILENCE_LIMIT_MS = 20_000;
const RECONNECT_MS = 3000;
/** lines that come faster wait in the guest */
const LINE_GAP_MS = 500;

/** Resolves when the signal comes. */
export async function watchGuest(watch: GuestWatch): Promise<void> {
  const { signal, log } = watch;
  const ports = new ListeningPorts();
  for (let connection = 0; !signal.aborted; connection++) {
    const child = startLineProcess(watch.command, LISTENING_PORTS_SCRIPT, MAX_LINE);
    const kill = () => child.kill();
    signal.addEventListener("abort", kill);
    await follow(watch, ports, child, connection > 0);
    signal.removeEventListener("abort", kill);
    child.kill();
    const exit = await child.exited;
    if (signal.aborted) return;
    log.info?.(
      `the list of the guest's ports has ended (${exit}) ${child.complaint()}; it is asked for again`,
    );
    await sleep(RECONNECT_MS, signal);
  }
}

/** Reads what one connection brings, until it ends or says nothing for too long. */
async function follow(
  watch: GuestWatch,
  ports: ListeningPorts,
  child: LineProcess,
  again: boolean,
): Promise<void> {
  let complaint = "";
  for (let first = true; ; first = false) {
    const heard = new AbortController();
    const next = await Promise.race([
      child.lines.next(),
      sleep(SILENCE_LIMIT_MS, AbortSignal.any([heard.signal, watch.signal])),
    ]);
    heard.abort();
    if (next === undefined || next.done || watch.signal.aborted) return;
    if (first && again) watch.onReconnect();
    const told = ports.onLine(next.value);
    if (typeof told !== "string") watch.onListeners(told);
    // said once, however often the guest repeats it
    else if (told !== complaint) watch.log.warn(told);
    complaint = typeof told === "string" ? told : "";
    await sleep(LINE_GAP_MS, watch.signal);
  }
}
