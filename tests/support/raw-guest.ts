/** A guest that is nothing but frames: on the socket that a QEMU would use. */
import { createConnection, createServer, type Socket } from "node:net";

/** One end of QEMU's framing: 32 bits of length, then a frame. */
export class RawGuest {
  readonly #socket: Socket;
  /** octets that the network has sent here */
  received = 0;
  /** see what comes */
  readonly listeners: ((frame: Uint8Array) => void)[] = [];
  #rest = new Uint8Array();

  constructor(to: string | Socket) {
    this.#socket = typeof to === "string" ? createConnection(to) : to;
    this.#socket.on("data", (octets) => this.#receive(octets as Uint8Array));
    this.#socket.on("error", () => {});
  }

  /** The other way round: waits at a socket for one who carries a device's frames. */
  static async awaitOne(path: string): Promise<RawGuest> {
    const { promise, resolve } = Promise.withResolvers<RawGuest>();
    const server = createServer((socket) => {
      server.close();
      resolve(new RawGuest(socket));
    });
    server.listen(path);
    return promise;
  }

  #receive(octets: Uint8Array): void {
    this.received += octets.length;
    if (this.listeners.length === 0) return;
    const all = new Uint8Array(Buffer.concat([this.#rest, octets]));
    const view = new DataView(all.buffer);
    let at = 0;
    while (at + 4 <= all.length) {
      const end = at + 4 + view.getUint32(at);
      if (end > all.length) break;
      const frame = all.slice(at + 4, end);
      for (const listener of this.listeners) listener(frame);
      at = end;
    }
    this.#rest = all.slice(at);
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
