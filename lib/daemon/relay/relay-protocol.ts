/** What the main thread asks of the relay, within the frame of `engine/thread-protocol.ts`. */
import type { PortEvent } from "../engine/port-events.ts";

/** Carry frames between a switch's stream socket and a datagram socket, which is the relay's from then on. */
export interface RelayRequest {
  type: "join";
  path: string;
  fd: number;
}

export type RelayEvent = PortEvent;
