/** UDP sockets of the plain host (`plain-host.ts`): the runtime's, which takes its time to open them. */
import { formatIpv4, parseIpv4 } from "../../lib/addr/ipv4.ts";
import type {
  HostDatagramOwner,
  HostDatagrams,
  HostFailure,
  Received,
  ReceivedDetails,
} from "../../lib/flow/host-sockets.ts";
import { HostError } from "../../lib/host/listening-sockets.ts";
import { put16, put32, u16, u32 } from "../../lib/wire/octets.ts";
import type { PlainLoop } from "./plain-loop.ts";

const MAX_WAITING_DATAGRAMS = 256;
const TTL = 64;

/** a peer as `sendTo` takes it: address and port */
function peerOf(address: string, port: number): Uint8Array {
  const octets = new Uint8Array(6);
  put32(octets, 0, parseIpv4(address) ?? 0);
  put16(octets, 4, port);
  return octets;
}

interface Arrival {
  octets: Uint8Array;
  peer: Uint8Array;
  isRefusal: boolean;
}

class DatagramSocket {
  readonly owner: HostDatagramOwner;
  readonly arrivals: Arrival[] = [];
  /** what was sent before the runtime had the socket */
  readonly early: ((socket: Sender) => void)[] = [];
  socket: Sender | undefined;
  latest: Uint8Array = new Uint8Array();
  isClosed = false;

  constructor(owner: HostDatagramOwner) {
    this.owner = owner;
  }
}

interface Sender {
  send(octets: Uint8Array, port?: number, address?: string): boolean;
  close(): void;
}

export class PlainDatagrams implements HostDatagrams {
  readonly received: ReceivedDetails = {
    length: 0,
    ttl: TTL,
    peer: new Uint8Array(28),
    peerLength: 0,
    icmpType: 3,
    icmpCode: 3,
    icmpInfo: 0,
    offender: 0,
  };
  readonly #loop: PlainLoop;
  readonly #octets: Uint8Array;
  readonly #now: () => number;
  readonly #sockets = new Map<number, DatagramSocket>();
  #next = 1;

  constructor(loop: PlainLoop, octets: Uint8Array, now: () => number) {
    this.#loop = loop;
    this.#octets = octets;
    this.#now = now;
  }

  connectUdp(address: number, port: number, owner: HostDatagramOwner): number {
    return this.#open({ connect: { hostname: formatIpv4(address), port } }, owner);
  }

  bindUdp(host: string, port: number, owner: HostDatagramOwner): { handle: number; port: number } {
    if (port === 0)
      throw new HostError(
        "ENOTSUP",
        "Cannot open any UDP port that is free: the plain host must be told which",
      );
    return { handle: this.#open({ hostname: host === "" ? "0.0.0.0" : host, port }, owner), port };
  }

  connectEcho(): HostFailure {
    return "failed";
  }

  #open(where: object, owner: HostDatagramOwner): number {
    const handle = this.#next++;
    const made = new DatagramSocket(owner);
    this.#sockets.set(handle, made);
    const arrive = (octets: Uint8Array, peer: Uint8Array, isRefusal: boolean) => {
      if (made.arrivals.length >= MAX_WAITING_DATAGRAMS) return;
      made.arrivals.push({ octets: octets.slice(), peer, isRefusal });
      this.#tell(made);
    };
    const socket = {
      data: (_socket: unknown, octets: Uint8Array, port: number, address: string) =>
        arrive(octets, peerOf(address, port), false),
      // of a connected socket: nobody is at the port
      error: () => arrive(made.latest, new Uint8Array(), true),
    };
    void Bun.udpSocket({ ...where, socket } as never).then((opened) => {
      const sender = opened as unknown as Sender;
      made.socket = sender;
      if (made.isClosed) sender.close();
      else for (const send of made.early.splice(0)) send(sender);
    });
    return handle;
  }

  #tell(socket: DatagramSocket): void {
    this.#loop.tell(() => {
      if (!socket.isClosed) socket.owner.onHostReadable(this.#now());
    });
  }

  #send(handle: number, send: (socket: Sender) => void): undefined {
    const { socket, early } = this.#sockets.get(handle)!;
    if (socket !== undefined) send(socket);
    else if (early.length < MAX_WAITING_DATAGRAMS) early.push(send);
  }

  send(handle: number, start: number, length: number): undefined {
    const octets = this.#octets.slice(start, start + length);
    this.#sockets.get(handle)!.latest = octets;
    return this.#send(handle, (socket) => socket.send(octets));
  }

  sendTrain(): boolean {
    return false;
  }

  sendTo(handle: number, start: number, length: number, peer: Uint8Array): undefined {
    const octets = this.#octets.slice(start, start + length);
    const to = formatIpv4(u32(peer, 0));
    const port = u16(peer, 4);
    return this.#send(handle, (socket) => socket.send(octets, port, to));
  }

  receive(handle: number, start: number, room: number): Received {
    const arrival = this.#sockets.get(handle)!.arrivals.shift();
    if (arrival === undefined) return "nothing";
    const octets = arrival.octets.subarray(0, room);
    this.#octets.set(octets, start);
    this.received.length = octets.length;
    this.received.peer.set(arrival.peer);
    this.received.peerLength = arrival.peer.length;
    return arrival.isRefusal ? "error" : "datagram";
  }

  close(handle: number): void {
    const socket = this.#sockets.get(handle)!;
    this.#sockets.delete(handle);
    socket.isClosed = true;
    socket.socket?.close();
  }
}
