/** A guest that is attached by unix datagrams, a frame each (`datagram-socket.ts`). */
import type { BridgePort } from "../link/bridge-port.ts";
import { OctetCount } from "../trace/octet-count.ts";
import { abi, errnoName } from "./libc.ts";
import type { DatagramSocket } from "./datagram-socket.ts";

/** what says that nobody is at the other end any more */
const GONE = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "ENOTCONN", "EPIPE"]);

export class DatagramPort implements BridgePort {
  readonly id: number;
  readonly kind = "datagram";
  towards: BridgePort | undefined;
  readonly socket: DatagramSocket;
  /** where its frames go; undefined: where its socket leads, which is its alone */
  readonly address: Uint8Array | undefined;
  /** frames are dropped for want of room: only the first of them waits for it, so that a guest that sleeps costs little */
  isStuck = false;
  framesIn = 0;
  framesOut = 0;
  readonly octetsIn = new OctetCount();
  readonly octetsOut = new OctetCount();
  dropped = 0;

  constructor(id: number, socket: DatagramSocket, address: Uint8Array | undefined) {
    this.id = id;
    this.socket = socket;
    this.address = address;
  }

  /** Of a socket with many guests nobody tells when one has room again: it never counts as busy. */
  get busy(): boolean {
    return this.socket.isFull;
  }

  transmit(
    head: number,
    headLength: number,
    body1: number,
    length1: number,
    body2: number,
    length2: number,
  ): boolean {
    const sent = this.socket.send(this, head, headLength, body1, length1, body2, length2);
    if (sent < 0) {
      this.dropped++;
      const why = errnoName(sent);
      if (why === "ENOBUFS" && abi.fullIsENOBUFS) this.isStuck = true;
      else if (GONE.has(why)) this.socket.lose(this, "the guest has gone");
      return false;
    }
    this.isStuck = false;
    this.framesOut++;
    this.octetsOut.add(sent);
    return true;
  }

  flush(): void {
    // every frame has been sent by itself
  }
}
