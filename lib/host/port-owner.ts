import type { BridgePort } from "../link/bridge-port.ts";

/** Who takes frames that were cut from large ones. */
export interface PiecesOwner {
  /** As PortOwner's `onFrame`, for a frame whose end is elsewhere. */
  onPieces(
    now: number,
    port: BridgePort,
    head: number,
    headLength: number,
    body: number,
    length: number,
  ): void;
}

/** What the ports of a network tell it and ask of it; all calls come from the engine thread. */
export interface PortOwner {
  /** monotonic milliseconds of this turn */
  now(): number;
  /** a frame in packet memory, valid until `settle` returns */
  onFrame(now: number, port: BridgePort, start: number, end: number): void;
  /** Carries out all that follows from the frames given so far; receive buffers may be used again afterwards. */
  settle(): void;
  /** the port may have more to receive in the next turn */
  receiveLater(port: { receive(): void }): void;
  /** the port has frames listed: call its `flush` before this turn ends */
  flushLater(port: { flush(): void }): void;
  /** a port that was busy takes frames again */
  portDrained(): void;
  /** the guest is gone; the owner closes the port */
  detach(port: BridgePort, reason: string): void;
}
