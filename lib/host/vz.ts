/**
 * One virtual machine of Virtualization.framework, through native/vz.h. It lives in this process and ends with it. Its bell
 * is read by a thread of the runtime's pool, which sleeps in the read until something happens.
 */
import { closeSync, read } from "node:fs";
import { vzAttachmentText, vzEvent, type VzEvent, type VzNic } from "../driver/vz.ts";
import { errnoName } from "./libc.ts";
import { parseFacts } from "./shim.ts";
import type { VzLibrary } from "./vz-library.ts";

const TEXT_SIZE = 4096;
const encoder = new TextEncoder();

/** "" when it has powered off, else why it has ended */
export type VzEnd = string;

/** Can there be machines here at all? */
export function canVirtualize(library: VzLibrary): boolean {
  const out = new Uint8Array(TEXT_SIZE);
  library.vz_caps(out, TEXT_SIZE);
  return parseFacts(out).get("supported") === "1";
}

interface Waiting<T> {
  resolve: (value: T) => void;
  reject: (error: Error) => void;
}

export class VzMachine {
  /** fulfilled when it has ended, however that came */
  readonly ended: Promise<VzEnd>;
  readonly #library: VzLibrary;
  readonly #number: number;
  readonly #onNicLost: (nic: number, why: string) => void;
  readonly #connections = new Map<number, Waiting<number>>();
  #start: Waiting<void> | undefined;
  #stop: Waiting<void> | undefined;
  #end!: (end: VzEnd) => void;
  #isOver = false;
  #isClosed = false;

  /** `configuration`: see vzConfiguration. Throws what the framework does not like. */
  constructor(
    library: VzLibrary,
    configuration: string,
    onNicLost: (nic: number, why: string) => void,
  ) {
    this.#library = library;
    this.#onNicLost = onNicLost;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#number = withText(configuration, (...texts) => library.vz_open(...texts));
    this.#listen();
  }

  /** Fulfilled when the machine runs. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#start = { resolve, reject };
      this.#library.vz_start(this.#number);
    });
  }

  /** Presses the power button; nothing more is known until it has ended. */
  pressPowerButton(): void {
    this.#library.vz_request_stop(this.#number);
  }

  /** Pulls the plug. */
  stop(): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#stop = { resolve, reject };
      this.#library.vz_stop(this.#number);
    });
  }

  /** Attaches a network card anew; the descriptor stays the caller's. */
  attach(index: number, nic: Omit<VzNic, "mac">): void {
    withText(vzAttachmentText(nic), (...texts) =>
      this.#library.vz_attach(this.#number, index, ...texts),
    );
  }

  /** A connection to a vsock port of the guest: a descriptor of the caller's. */
  connect(port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#connections.set(this.#library.vz_connect(this.#number, port), { resolve, reject });
    });
  }

  /** Gives it back; one that runs ends as if its plug were pulled. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#library.vz_close(this.#number);
    this.#over("it was closed");
  }

  #listen(): void {
    const rings = new Uint8Array(64);
    const out = new Uint8Array(TEXT_SIZE);
    const library = this.#library;
    const bell = library.vz_bell(this.#number);
    const next = () =>
      read(bell, rings, 0, rings.length, null, (error, got) => {
        if (error !== null || got === 0) {
          closeSync(bell);
          return;
        }
        // a ring of before the end comes after it; by then the number may be another machine's
        while (!this.#isClosed && library.vz_event(this.#number, out, TEXT_SIZE) > 0) {
          const event = vzEvent(parseFacts(out));
          if (event !== undefined) this.#onEvent(event);
        }
        next();
      });
    next();
  }

  #onEvent(event: VzEvent): void {
    switch (event.tag) {
      case "started":
        this.#start?.resolve();
        break;
      case "start-failed":
        this.#start?.reject(new Error(event.why));
        this.#over(event.why);
        break;
      case "stopped":
        this.#over("");
        break;
      case "failed":
        this.#over(event.why);
        break;
      case "stop-failed":
        // a machine that cannot be asked is stopped in another way by whoever has asked
        this.#stop?.reject(new Error(event.why));
        break;
      case "nic-lost":
        this.#onNicLost(event.nic, event.why);
        break;
      case "vsock":
        this.#settle(event.ticket)?.resolve(event.fd);
        break;
      case "vsock-failed":
        this.#settle(event.ticket)?.reject(new Error(event.why));
        break;
    }
  }

  #settle(ticket: number): Waiting<number> | undefined {
    const waiting = this.#connections.get(ticket);
    this.#connections.delete(ticket);
    return waiting;
  }

  #over(end: VzEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop?.resolve();
    for (const { reject } of this.#connections.values())
      reject(new Error("the virtual machine has ended"));
    this.#connections.clear();
    this.#end(end);
  }
}

/** Calls with a text for the library and one that it fills; throws the sentence that the library puts there. */
function withText(
  text: string,
  call: (conf: Uint8Array, length: number, out: Uint8Array, size: number) => number,
): number {
  const conf = encoder.encode(text);
  const out = new Uint8Array(TEXT_SIZE);
  const result = call(conf, conf.length, out, TEXT_SIZE);
  if (result < 0) throw new Error(parseFacts(out).get("error") ?? errnoName(result));
  return result;
}
