/** The host's side of the flows in memory: sockets that are lists of what was written and what is there to read. */
import { formatIpv4 } from "../../lib/addr/ipv4.ts";
import type {
  HostDatagramOwner,
  HostDatagrams,
  HostFailure,
  HostStreamOwner,
  HostStreams,
  HostTarget,
  Received,
  ReceivedDetails,
} from "../../lib/flow/host-sockets.ts";
import type { Gather } from "../../lib/storage/gather.ts";
import { join } from "./injected-frames.ts";

const endpointText = (target: HostTarget): string =>
  target.kind === "unix" ? target.path : `${formatIpv4(target.address)}:${target.port}`;

/** a copy of what is listed, in one piece */
function gathered(octets: Uint8Array, from: Gather): Uint8Array {
  const pieces = Array.from({ length: from.count }, (_, i) =>
    octets.subarray(from.starts[i], from.starts[i]! + from.lengths[i]!),
  );
  return join(...pieces);
}

export class InjectedStream {
  /** where the flows connected it to; "accepted" for one that came from a listener */
  readonly target: string;
  owner: HostStreamOwner | undefined;
  state: "open" | "closed" | "reset" = "open";
  /** what the guest has said */
  heard: Uint8Array = new Uint8Array();
  /** the guest's end of stream has come */
  heardEnd = false;
  /** octets it takes before it is full */
  room = Infinity;
  /** octets to read; "end" or a failure after them */
  toSay: Uint8Array = new Uint8Array();
  after: "again" | "end" | HostFailure = "again";
  writeFailure: HostFailure | undefined;

  constructor(target: string, owner?: HostStreamOwner) {
    this.target = target;
    this.owner = owner;
  }

  get heardText(): string {
    return new TextDecoder().decode(this.heard);
  }
}

export class InjectedStreams implements HostStreams {
  readonly sockets: InjectedStream[] = [];
  /** the next connections fail at once with this */
  failure: HostFailure | undefined;
  /** connections are made by the time that they are started */
  connectsAtOnce = false;
  /** read calls, to tell a flow that waits from one that has nothing to wait for */
  reads = 0;
  readonly #octets: Uint8Array;

  constructor(octets: Uint8Array) {
    this.#octets = octets;
  }

  get last(): InjectedStream {
    return this.sockets.at(-1)!;
  }

  /** A connection as a listener would have accepted it; its handle. */
  accept(): number {
    return this.sockets.push(new InjectedStream("accepted")) - 1;
  }

  connect(target: HostTarget, owner: HostStreamOwner): number | HostFailure {
    if (this.failure !== undefined) return this.failure;
    return this.sockets.push(new InjectedStream(endpointText(target), owner)) - 1;
  }

  isConnected(_handle: number): boolean {
    return this.connectsAtOnce;
  }

  adopt(handle: number, owner: HostStreamOwner): void {
    const socket = this.#open(handle);
    if (socket.owner !== undefined) throw new Error(`handle ${handle} has an owner`);
    socket.owner = owner;
    owner.onHostReadable(0);
  }

  release(handle: number): void {
    this.#open(handle).owner = undefined;
  }

  write(handle: number, from: Gather): number | HostFailure {
    const socket = this.#open(handle);
    if (socket.writeFailure !== undefined) return socket.writeFailure;
    const taken = Math.min(from.octets, socket.room);
    socket.heard = join(socket.heard, gathered(this.#octets, from).subarray(0, taken));
    socket.room -= taken;
    return taken;
  }

  read(handle: number, into: Gather): number | HostFailure {
    this.reads++;
    const socket = this.#open(handle);
    if (socket.toSay.length === 0) return socket.after === "end" ? 0 : socket.after;
    let read = 0;
    for (let i = 0; i < into.count; i++) {
      const piece = socket.toSay.subarray(read, read + into.lengths[i]!);
      this.#octets.set(piece, into.starts[i]);
      read += piece.length;
    }
    socket.toSay = socket.toSay.slice(read);
    return read;
  }

  shutdownWrite(handle: number): void {
    this.#open(handle).heardEnd = true;
  }

  close(handle: number): void {
    this.#open(handle).state = "closed";
  }

  reset(handle: number): void {
    this.#open(handle).state = "reset";
  }

  /** the host would take a handle that is closed for somebody else's */
  #open(handle: number): InjectedStream {
    const socket = this.sockets[handle];
    if (socket?.state !== "open") throw new Error(`handle ${handle} is ${socket?.state}`);
    return socket;
  }
}

/** what a datagram socket has to be received */
export type Arrival =
  | { octets: Uint8Array; ttl?: number; peer?: Uint8Array }
  | { error: { type: number; code: number; info?: number; offender?: number }; quoted: Uint8Array };

export class InjectedDatagramSocket {
  /** "udp 8.8.8.8:53", "echo 8.8.8.8", "bound 127.0.0.1:5300" */
  readonly name: string;
  readonly owner: HostDatagramOwner;
  open = true;
  readonly sent: { octets: Uint8Array; ttl?: number; peer?: Uint8Array }[] = [];
  readonly arrivals: Arrival[] = [];
  /** what the next calls of `send` answer instead of sending */
  readonly sendFailures: HostFailure[] = [];

  constructor(name: string, owner: HostDatagramOwner) {
    this.name = name;
    this.owner = owner;
  }

  get sentTexts(): string[] {
    return this.sent.map(({ octets }) => new TextDecoder().decode(octets));
  }
}

export class InjectedDatagrams implements HostDatagrams {
  readonly sockets: InjectedDatagramSocket[] = [];
  takesTrains = true;
  /** how many datagrams each train had */
  readonly trains: number[] = [];
  failure: HostFailure | undefined;
  readonly received: ReceivedDetails = {
    length: 0,
    ttl: 0,
    peer: new Uint8Array(28),
    peerLength: 0,
    icmpType: 0,
    icmpCode: 0,
    icmpInfo: 0,
    offender: 0,
  };
  readonly #octets: Uint8Array;

  constructor(octets: Uint8Array) {
    this.#octets = octets;
  }

  get last(): InjectedDatagramSocket {
    return this.sockets.at(-1)!;
  }

  get openSockets(): InjectedDatagramSocket[] {
    return this.sockets.filter(({ open }) => open);
  }

  #make(name: string, owner: HostDatagramOwner): number | HostFailure {
    if (this.failure !== undefined) return this.failure;
    return this.sockets.push(new InjectedDatagramSocket(name, owner)) - 1;
  }

  connectUdp(address: number, port: number, owner: HostDatagramOwner): number | HostFailure {
    return this.#make(`udp ${formatIpv4(address)}:${port}`, owner);
  }

  bindUdp(host: string, port: number, owner: HostDatagramOwner): { handle: number; port: number } {
    const handle = this.#make(`bound ${host}:${port}`, owner);
    if (typeof handle === "string") throw new Error(handle);
    return { handle, port };
  }

  connectEcho(address: number, owner: HostDatagramOwner): number | HostFailure {
    return this.#make(`echo ${formatIpv4(address)}`, owner);
  }

  send(handle: number, start: number, length: number, ttl: number): HostFailure | undefined {
    const socket = this.#open(handle);
    const failure = socket.sendFailures.shift();
    if (failure !== undefined) return failure;
    socket.sent.push({ octets: this.#octets.slice(start, start + length), ttl });
    return undefined;
  }

  sendTrain(handle: number, from: Gather, length: number, ttl: number): boolean {
    const socket = this.#open(handle);
    if (!this.takesTrains || socket.sendFailures.length > 0) return false;
    const all = gathered(this.#octets, from);
    const datagrams = Math.ceil(all.length / length);
    for (let i = 0; i < datagrams; i++)
      socket.sent.push({ octets: all.slice(i * length, (i + 1) * length), ttl });
    this.trains.push(datagrams);
    return true;
  }

  sendTo(handle: number, start: number, length: number, peer: Uint8Array): undefined {
    const octets = this.#octets.slice(start, start + length);
    this.#open(handle).sent.push({ octets, peer: peer.slice() });
  }

  receive(handle: number, start: number, room: number): Received {
    const arrival = this.#open(handle).arrivals.shift();
    const { received } = this;
    if (arrival === undefined) return "nothing";
    const octets = "error" in arrival ? arrival.quoted : arrival.octets;
    if (octets.length > room) throw new Error("no room for what may come");
    this.#octets.set(octets, start);
    received.length = octets.length;
    if (!("error" in arrival)) {
      received.ttl = arrival.ttl ?? 64;
      received.peerLength = arrival.peer?.length ?? 0;
      received.peer.set(arrival.peer ?? []);
      return "datagram";
    }
    received.icmpType = arrival.error.type;
    received.icmpCode = arrival.error.code;
    received.icmpInfo = arrival.error.info ?? 0;
    received.offender = arrival.error.offender ?? 0;
    return "error";
  }

  close(handle: number): void {
    this.#open(handle).open = false;
  }

  #open(handle: number): InjectedDatagramSocket {
    const socket = this.sockets[handle];
    if (!socket?.open) throw new Error(`handle ${handle} is not open`);
    return socket;
  }
}
