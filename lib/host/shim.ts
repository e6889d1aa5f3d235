/**
 * The native library (native/vmn.h): the host's end of a vmnet network, a TAP device on Linux. It is loaded when it is
 * first asked for; nothing else of limanet needs it.
 */
import { dlopen, type Pointer } from "bun:ffi";
import type { PacketMemory } from "../storage/packet-memory.ts";
import { errnoName } from "./libc.ts";
import { addressOf } from "./pinned.ts";
import { libraryFile, loadLibrary } from "./shim-library.ts";
import { ReceiveRing, TransmitRing } from "./shim-ring.ts";

const ABI_MAJOR = 1;
const TEXT_SIZE = 4096;

const symbols = {
  vmn_abi: { args: [], returns: "u32" },
  vmn_caps: { args: ["ptr", "u32"], returns: "i32" },
  vmn_start: { args: ["ptr", "u32", "ptr", "ptr", "ptr", "u32"], returns: "i32" },
  vmn_bell: { args: ["i32"], returns: "i32" },
  vmn_tx: { args: ["i32"], returns: "i32" },
  vmn_stats: { args: ["i32", "ptr"], returns: "i32" },
  vmn_stop: { args: ["i32"], returns: "i32" },
} as const;

const open = () => loadLibrary((path) => dlopen(path, symbols).symbols);

/** Opens the library at the first call; later ones give the same. */
let library = (): ReturnType<typeof open> => {
  const opened = open();
  const abi = opened.vmn_abi();
  if (abi >>> 16 !== ABI_MAJOR)
    throw new Error(
      `Cannot use the native library ${libraryFile().place}: its ABI is ${abiText(abi)}, not ${ABI_MAJOR} (build it again with scripts/build-native)`,
    );
  library = () => opened;
  return opened;
};

const abiText = (abi: number): string => `${abi >>> 16}.${abi & 0xffff}`;

/** key=value lines */
export function parseFacts(text: Uint8Array): Map<string, string> {
  const lines = new TextDecoder().decode(text.subarray(0, text.indexOf(0))).split("\n");
  return new Map(
    lines
      .filter((line) => line.includes("="))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

/** What this process can have here (native/vmn.h, vmn_caps). */
export function shimCapabilities(): Map<string, string> {
  const out = new Uint8Array(TEXT_SIZE);
  library().vmn_caps(addressOf(out), TEXT_SIZE);
  return parseFacts(out);
}

/** Which library it is, and what it can do here. */
export function shimIdentity(): {
  place: string;
  sha256: string;
  abi: string;
  capabilities: object;
} {
  const abi = abiText(library().vmn_abi());
  return { ...libraryFile(), abi, capabilities: Object.fromEntries(shimCapabilities()) };
}

export interface ShimSettings {
  /** Linux: name of the TAP device that is made */
  tap: string;
  /** frames carry a virtio_net_hdr, and may be large or without checksum */
  offload: boolean;
  /** octets of the rings' data, powers of two */
  receiveSize: number;
  transmitSize: number;
}

const STATS = ["framesIn", "octetsIn", "dropped", "reads", "framesOut", "octetsOut", "refused"];

export class ShimInterface {
  readonly receive: ReceiveRing;
  readonly transmit: TransmitRing;
  /** readable when the armed receive ring has something */
  readonly bell: number;
  /** name, mtu, mac, max_packet, header */
  readonly facts: ReadonlyMap<string, string>;
  readonly #id: number;
  readonly #library = library();

  /** Blocks until the interface is up. `memory` must be kept until it was stopped. */
  constructor(settings: ShimSettings, memory: PacketMemory) {
    this.receive = new ReceiveRing(memory, settings.receiveSize);
    this.transmit = new TransmitRing(memory, settings.transmitSize);
    const conf = new TextEncoder().encode(
      `tap=${settings.tap}\noffload=${Number(settings.offload)}\nrx=${this.receive.size}\ntx=${this.transmit.size}\n`,
    );
    const out = new Uint8Array(TEXT_SIZE);
    const base = addressOf(memory.octets);
    this.#id = this.#library.vmn_start(
      addressOf(conf),
      conf.length,
      (base + this.receive.start) as Pointer,
      (base + this.transmit.start) as Pointer,
      addressOf(out),
      TEXT_SIZE,
    );
    this.facts = parseFacts(out);
    if (this.#id < 0)
      throw new Error(
        `Cannot make the TAP device ${settings.tap}: ${this.facts.get("step") ?? "start"}: ${errnoName(this.#id)} (it needs CAP_NET_ADMIN and /dev/net/tun)`,
      );
    this.bell = this.#library.vmn_bell(this.#id);
  }

  /** Sends what was put into the transmit ring: how many frames went. */
  flush(): number {
    this.transmit.publish();
    return this.#library.vmn_tx(this.#id);
  }

  stats(): Record<string, number> {
    const values = new BigUint64Array(16);
    this.#library.vmn_stats(this.#id, addressOf(values));
    return Object.fromEntries(STATS.map((name, i) => [name, Number(values[i])]));
  }

  /** The bell must have been removed from the event loop. */
  stop(): void {
    const result = this.#library.vmn_stop(this.#id);
    if (result < 0) throw new Error(`Cannot stop the TAP device: ${errnoName(result)}`);
  }
}
