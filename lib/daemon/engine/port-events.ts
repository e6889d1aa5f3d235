/** What an engine tells of its guests' ports by itself. */
import type { Log } from "../../trace/log.ts";

export type PortEvent =
  | { type: "port-attached"; port: number; kind: "stream" | "datagram" | "vhost-user" }
  | { type: "port-detached"; port: number; reason: string }
  | { type: "log"; level: "error" | "warn" | "info" | "debug"; line: string };

export function logPortEvent(event: PortEvent, log: Log): void {
  switch (event.type) {
    case "port-attached":
      log.info?.(`guest attached port=${event.port} kind=${event.kind}`);
      return;
    case "port-detached":
      log.info?.(`guest detached port=${event.port} reason=${JSON.stringify(event.reason)}`);
      return;
    case "log":
      log[event.level]?.(event.line);
  }
}
