import type { OctetCount } from "../trace/octet-count.ts";

/** octets in front of a frame that a port may overwrite with its framing */
export const FRAME_HEADROOM = 4;

/** A guest's attachment to the switch (IEEE 802.1D). */
export interface BridgePort {
  /** small integer, unique while the port exists */
  readonly id: number;
  /** the guest does not take frames as fast as they come: senders that can wait should */
  readonly busy: boolean;
  /**
   * The router's TCP segments over IPv4 may be larger than the link's MTU, and need no checksum: the guest takes them whole, and
   * cuts them and makes checksums where it passes them on.
   */
  readonly takesLarge?: boolean;
  /** It keeps some frames for a guest that takes none: a segment may leave in many of them without a look at `busy` between. */
  readonly keepsFrames?: boolean;
  /** the frame that it hands on now is a TCP segment over IPv4 for the router, without a checksum that could be looked at */
  readonly lacksChecksum?: boolean;
  /** of frames that the guest has taken */
  readonly octetsOut?: OctetCount;
  /** the port that its latest frame to another guest has gone to; the switch keeps it */
  towards: BridgePort | undefined;
  /**
   * Sends one frame, given as a head and up to two further pieces of packet memory. FRAME_HEADROOM octets in front of
   * the head may be overwritten; all pieces stay untouched until the port is flushed. False: dropped, and counted by the port.
   */
  transmit(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): boolean;
}
