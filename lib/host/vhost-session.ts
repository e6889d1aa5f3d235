/**
 * A virtual machine's connection of vhost-user: by its messages it gives us its memory and the two queues of its card, from
 * which `vhost-port.ts` takes frames and to which it gives them. A queue runs from when all that it needs is known until the
 * machine takes it back, as it does for every start of the guest; when the connection ends the guest has gone.
 */
import {
  bodyLength,
  featuresReply,
  MAX_REGIONS,
  needsReply,
  parseVhostMessage,
  protocolFeaturesReply,
  VHOST_HEAD_LENGTH,
  VHOST_MAX_BODY,
  vhostReply,
  type Region,
  type VhostMessage,
} from "../link/vhost-user.ts";
import {
  availableLength,
  descriptorsLength,
  isQueueSize,
  usedLength,
  Virtqueue,
} from "../link/virtqueue.ts";
import { passedDescriptors } from "./descriptor-passing.ts";
import { closeDescriptor, closeOnExec, isEventDescriptor } from "./descriptors.ts";
import type { EventHandler, EventLoop } from "./event-loop.ts";
import { GuestMemory } from "./guest-memory.ts";
import { Iovecs } from "./iovecs.ts";
import { abi, EAGAIN, libc, MSG_DONTWAIT, MSG_NOSIGNAL, orErrno } from "./libc.ts";
import { MessageHeader } from "./message-header.ts";
import { addressOf } from "./pinned.ts";
import { EDGE_TRIGGERED, FAILED, HUNG_UP, PEER_DONE, READABLE } from "./poller.ts";
import { VhostPort, type LargeFrames, type VhostMemory, type VhostOwner } from "./vhost-port.ts";
import type { VectoredIo } from "./vectored-io.ts";

/** the card's receive queue, as seen by the guest, and its transmit queue (OASIS virtio 1.2, section 5.1.2) */
const TO_GUEST = 0;
const QUEUES = 2;
/** pieces of messages that are taken in one turn: a machine says some twenty things when it starts */
const MESSAGES = 64;
const CONTROL_LENGTH = abi.control.data + 4 * MAX_REGIONS;

const NO_EVENTS = "its queues have no eventfd";

/** What is known of a queue. */
class QueueSetup {
  size = 0;
  next = 0;
  areas: { descriptors: number; used: number; available: number } | undefined;
  kick = -1;
  call = -1;
  isEnabled = false;
  running: Virtqueue | undefined;
}

export class VhostSession implements EventHandler {
  readonly port: VhostPort;
  readonly #fd: number;
  readonly #owner: VhostOwner;
  readonly #memory = new GuestMemory();
  readonly #queues = Array.from({ length: QUEUES }, () => new QueueSetup());
  readonly #view = new DataView(new ArrayBuffer(VHOST_HEAD_LENGTH + VHOST_MAX_BODY));
  readonly #viewAt = addressOf(this.#view);
  readonly #control = new DataView(new ArrayBuffer(CONTROL_LENGTH));
  readonly #controlAt = addressOf(this.#control);
  readonly #iovecs = new Iovecs(1);
  readonly #message = new MessageHeader();
  /** octets of the message that is being read, and the descriptors that came with it */
  #received = 0;
  #descriptors: number[] = [];
  #loop: EventLoop | undefined;
  #isClosed = false;

  constructor(
    id: number,
    fd: number,
    memory: VhostMemory,
    io: VectoredIo,
    owner: VhostOwner,
    large: LargeFrames,
  ) {
    this.#fd = fd;
    this.#owner = owner;
    this.port = new VhostPort(id, memory, this.#memory, io.octets, io.base, owner, large);
    this.#message.setIovecs(this.#iovecs.at);
    this.#message.iovecCount = 1;
  }

  watch(loop: EventLoop): void {
    this.#loop = loop;
    loop.add(this.#fd, READABLE | PEER_DONE, this);
  }

  /** Whoever calls this closes the connection. */
  close(): void {
    this.#isClosed = true;
    for (let queue = 0; queue < QUEUES; queue++) this.#stop(queue);
    for (const fd of this.#descriptors) closeDescriptor(fd);
    this.#memory.unmap();
  }

  // ---------------------------------------------------------------- messages

  onEvents(events: number): void {
    // who says more than that lets others have their turn
    for (let left = MESSAGES; left > 0 && !this.#isClosed; left--) if (!this.#receive()) break;
    if (!this.#isClosed && (events & (HUNG_UP | FAILED)) !== 0) this.#end("the guest has gone");
  }

  #end(reason: string): void {
    this.#owner.detach(this.port, reason);
  }

  /** Reads on; false: there is no more at present. */
  #receive(): boolean {
    const wanted =
      this.#received < VHOST_HEAD_LENGTH
        ? VHOST_HEAD_LENGTH
        : VHOST_HEAD_LENGTH + bodyLength(this.#view)!;
    if (this.#received < wanted) {
      this.#iovecs.set(0, this.#viewAt + this.#received, wanted - this.#received);
      this.#message.setControl(this.#controlAt, CONTROL_LENGTH);
      const flags = MSG_DONTWAIT | abi.MSG_CMSG_CLOEXEC;
      const got = orErrno(libc.recvmsg(this.#fd, this.#message.at, flags));
      if (got === -EAGAIN) return false;
      if (got <= 0) {
        this.#end(got === 0 ? "the guest has gone" : "the connection broke");
        return false;
      }
      const passed = passedDescriptors(this.#control, this.#message.controlLength, abi);
      if (abi.MSG_CMSG_CLOEXEC === 0) passed.forEach(closeOnExec);
      this.#descriptors.push(...passed);
      this.#received += got;
      if (this.#descriptors.length > MAX_REGIONS) {
        this.#end("it passed more descriptors than a message has");
        return false;
      }
    }
    if (this.#received < VHOST_HEAD_LENGTH) return true;
    const length = bodyLength(this.#view);
    if (length === undefined) {
      this.#end("it does not speak vhost-user");
      return false;
    }
    if (this.#received < VHOST_HEAD_LENGTH + length) return true;
    this.#received = 0;
    const descriptors = this.#descriptors;
    this.#descriptors = [];
    const message = parseVhostMessage(this.#view, length);
    const failure =
      message === undefined
        ? `it asks for what we do not have (vhost-user message ${this.#view.getUint32(0, true)})`
        : this.#onMessage(message, descriptors);
    for (const fd of descriptors) closeDescriptor(fd);
    if (failure !== undefined) this.#end(failure);
    return failure === undefined;
  }

  /** Descriptors that are kept are taken out of the list. A sentence's end: the session cannot go on. */
  #onMessage(message: VhostMessage, descriptors: number[]): string | undefined {
    if ("queue" in message && message.queue >= QUEUES) return "it has more queues than two";
    switch (message.type) {
      case "get-features":
        return this.#send(featuresReply(this.#view));
      case "get-protocol-features":
        return this.#send(protocolFeaturesReply(this.#view));
      case "queue-stop": {
        const setup = this.#queues[message.queue]!;
        this.#stop(message.queue);
        return this.#send(vhostReply(this.#view, message.queue, setup.next));
      }
      default: {
        const failure = this.#set(message, descriptors);
        if (failure !== undefined || !needsReply(this.#view)) return failure;
        return this.#send(vhostReply(this.#view, 0, 0));
      }
    }
  }

  #set(message: VhostMessage, descriptors: number[]): string | undefined {
    switch (message.type) {
      case "set-features":
        this.port.features = message.features;
        return undefined;
      case "memory":
        return this.#setMemory(message.regions, descriptors);
      case "queue-size":
        if (!isQueueSize(message.size)) return `it has a queue of ${message.size} buffers`;
        this.#queues[message.queue]!.size = message.size;
        return undefined;
      case "queue-start":
        this.#queues[message.queue]!.next = message.next;
        return undefined;
      case "queue-areas":
        this.#queues[message.queue]!.areas = message;
        return this.#run(message.queue);
      case "kick": {
        const setup = this.#queues[message.queue]!;
        if (!message.withDescriptor) return "it wants us to look for frames again and again";
        const fd = this.#eventDescriptor(descriptors);
        if (fd === undefined) return NO_EVENTS;
        this.#dropKick(setup);
        setup.kick = fd;
        // an eventfd tells of every kick that way, without being read
        this.#loop?.add(fd, READABLE | EDGE_TRIGGERED, {
          onEvents: () => this.#onKick(message.queue),
        });
        return this.#run(message.queue);
      }
      case "call": {
        const setup = this.#queues[message.queue]!;
        const fd = message.withDescriptor ? this.#eventDescriptor(descriptors) : -1;
        if (fd === undefined) return NO_EVENTS;
        if (setup.call >= 0) closeDescriptor(setup.call);
        setup.call = fd;
        this.#show(message.queue);
        return undefined;
      }
      case "queue-enable":
        this.#queues[message.queue]!.isEnabled = message.isEnabled;
        return this.#run(message.queue);
      default:
        return undefined;
    }
  }

  /** Takes the one descriptor of a message out of the list. */
  #eventDescriptor(descriptors: number[]): number | undefined {
    const [fd] = descriptors;
    if (fd === undefined || !isEventDescriptor(fd)) return undefined;
    descriptors.shift();
    return fd;
  }

  #send(reply: Uint8Array): string | undefined {
    const sent = orErrno(
      libc.sendto(this.#fd, reply, reply.length, MSG_NOSIGNAL | MSG_DONTWAIT, null, 0),
    );
    return sent === reply.length ? undefined : "it does not read our answers";
  }

  // ---------------------------------------------------------------- memory and queues

  #setMemory(regions: Region[], descriptors: number[]): string | undefined {
    if (descriptors.length !== regions.length) return "its memory comes without descriptors";
    for (let queue = 0; queue < QUEUES; queue++) this.#pause(queue);
    this.#memory.unmap();
    for (const [i, region] of regions.entries()) {
      const failure = this.#memory.map(region, descriptors[i]!);
      if (failure !== undefined) return failure;
    }
    for (let queue = 0; queue < QUEUES; queue++) {
      const failure = this.#run(queue);
      if (failure !== undefined) return failure;
    }
    return undefined;
  }

  /** Runs a queue of which all is known, and does not run it otherwise. */
  #run(queue: number): string | undefined {
    this.#pause(queue);
    const setup = this.#queues[queue]!;
    const { size, areas, kick, next } = setup;
    const isEnabled = setup.isEnabled || !this.port.features.enablesQueues;
    if (size === 0 || areas === undefined || kick < 0 || !isEnabled) return undefined;
    const descriptors = this.#memory.view(areas.descriptors, descriptorsLength(size));
    const available = this.#memory.view(areas.available, availableLength(size));
    const used = this.#memory.view(areas.used, usedLength(size));
    if (
      descriptors === undefined ||
      available === undefined ||
      used === undefined ||
      areas.available % 2 !== 0 ||
      areas.used % 4 !== 0
    )
      return "its queues are not in its memory";
    setup.running = new Virtqueue(
      size,
      {
        descriptors: new DataView(descriptors),
        available: new Uint16Array(available),
        used: new Uint16Array(used),
      },
      queue === TO_GUEST,
      this.port.features.wakesByIndex,
      next,
    );
    this.#show(queue);
    // what the guest listed before
    if (queue !== TO_GUEST) this.#owner.receiveLater(this.port);
    return undefined;
  }

  /** Nothing of the guest's memory is used any more; `#run` goes on where it was. */
  #pause(queue: number): void {
    const setup = this.#queues[queue]!;
    if (setup.running === undefined) return;
    setup.next = setup.running.next;
    setup.running = undefined;
    this.#show(queue);
  }

  #stop(queue: number): void {
    this.#pause(queue);
    const setup = this.#queues[queue]!;
    this.#dropKick(setup);
    if (setup.call >= 0) closeDescriptor(setup.call);
    setup.call = -1;
    setup.areas = undefined;
  }

  #dropKick(setup: QueueSetup): void {
    if (setup.kick < 0) return;
    this.#loop?.remove(setup.kick);
    closeDescriptor(setup.kick);
    setup.kick = -1;
  }

  /** Tells the port what it has. */
  #show(queue: number): void {
    const { running, call } = this.#queues[queue]!;
    const end = running === undefined ? undefined : { queue: running, call };
    if (queue === TO_GUEST) this.port.toGuest = end;
    else this.port.fromGuest = end;
  }

  #onKick(queue: number): void {
    if (queue === TO_GUEST) this.port.onRoom();
    else this.port.receive();
  }
}
