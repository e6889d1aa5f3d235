/** A guest that is nothing but frames: on the socket that a QEMU would use. */
import { createConnection, type Socket } from "node:net";

/** One end of QEMU's framing: 32 bits of length, then a frame. */
export class RawGuest {
  readonly #socket: Socket;
  /** octets that the network has sent here */
  received = 0;

  constructor(path: string) {
    this.#socket = createConnection(path);
    this.#socket.on("data", (octets) => (this.received += octets.length));
    this.#socket.on("error", () => {});
  }

  /** Resolves when the socket has taken it. */
  send(...frames: Uint8Array[]): Promise<void> {
    const framed = frames.flatMap((frame) => [lengthOf(frame), frame]);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.write(Buffer.concat(framed), () => resolve());
    return promise;
  }

  close(): void {
    this.#socket.destroy();
  }
}

function lengthOf({ length }: Uint8Array): Uint8Array {
  const octets = new Uint8Array(4);
  new DataView(octets.buffer).setUint32(0, length);
  return octets;
}
