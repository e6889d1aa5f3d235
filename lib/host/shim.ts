/**
 * The native library (native/vmn.h): the host's end of a vmnet network, a TAP device on Linux, an interface of
 * vmnet.framework on macOS. It is loaded when it is first asked for; nothing else of limanet needs it.
 */
import { dlopen, type Pointer } from "bun:ffi";
import type { PacketMemory } from "../storage/packet-memory.ts";
import { addressOf } from "./pinned.ts";
import { ShimError, shimFailure } from "./shim-failure.ts";
import { libraryFile, loadLibrary } from "./shim-library.ts";
import { ReceiveRing, TransmitRing } from "./shim-ring.ts";

const ABI_MAJOR = 1;
const TEXT_SIZE = 4096;
const NAME = "limanet";

const symbols = {
  vmn_abi: { args: [], returns: "u32" },
  vmn_caps: { args: ["ptr", "u32"], returns: "i32" },
  vmn_shared_ifs: { args: ["ptr", "u32"], returns: "i32" },
  vmn_start: { args: ["ptr", "u32", "ptr", "ptr", "ptr", "u32"], returns: "i32" },
  vmn_bell: { args: ["i32"], returns: "i32" },
  vmn_tx: { args: ["i32"], returns: "i32" },
  vmn_stats: { args: ["i32", "ptr"], returns: "i32" },
  vmn_stop: { args: ["i32"], returns: "i32" },
} as const;

const open = () => loadLibrary(NAME, (path) => dlopen(path, symbols).symbols);

/** Opens the library at the first call; later ones give the same. */
let library = (): ReturnType<typeof open> => {
  const opened = open();
  const abi = opened.vmn_abi();
  if (abi >>> 16 !== ABI_MAJOR)
    throw new Error(
      `Cannot use the native library ${libraryFile(NAME).place}: its ABI is ${abiText(abi)}, not ${ABI_MAJOR} (build it again with scripts/build-native)`,
    );
  library = () => opened;
  return opened;
};

const abiText = (abi: number): string => `${abi >>> 16}.${abi & 0xffff}`;

const linesOf = (text: Uint8Array): string[] =>
  new TextDecoder()
    .decode(text.subarray(0, text.indexOf(0)))
    .split("\n")
    .slice(0, -1);

/** key=value lines */
export function parseFacts(text: Uint8Array): Map<string, string> {
  return new Map(
    linesOf(text).map((line) => [
      line.slice(0, line.indexOf("=")),
      line.slice(line.indexOf("=") + 1),
    ]),
  );
}

/** What this process can have here (native/vmn.h, vmn_caps). */
export function shimCapabilities(): Map<string, string> {
  const out = new Uint8Array(TEXT_SIZE);
  library().vmn_caps(out, TEXT_SIZE);
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
  return { ...libraryFile(NAME), abi, capabilities: Object.fromEntries(shimCapabilities()) };
}

/** macOS: the interfaces that can be bridged; none elsewhere. */
export function bridgeableInterfaces(): string[] {
  const out = new Uint8Array(TEXT_SIZE);
  return library().vmn_shared_ifs(out, TEXT_SIZE) < 0 ? [] : linesOf(out);
}

interface RingSettings {
  /** frames carry a virtio_net_hdr where the system can, and may then be large or without checksum */
  offload: boolean;
  /** octets of the rings' data, powers of two */
  receiveSize: number;
  transmitSize: number;
}

/** Linux */
interface TapSettings {
  /** name of the TAP device that is made */
  tap: string;
}

/** macOS; what is left out the system chooses */
export interface VmnetInterfaceSettings {
  mode: "shared" | "host" | "bridged";
  /** shared and host: the host's address, the last one for DHCP, and the netmask; all or none */
  gateway?: string;
  end?: string;
  mask?: string;
  /** bridged: the host's interface */
  interface?: string;
  /** the same UUID gets the same MAC address again */
  uuid?: string;
  nat66?: string;
  /** host: a network of this UUID's own, without DHCP */
  identifier?: string;
  isolation?: boolean;
  /** false needs macOS 26 in networks of mode shared and host */
  dhcp?: boolean;
  /** shared and host: largest IP packet; needs macOS 26 */
  net_mtu?: number;
}

export type ShimSettings = RingSettings & (TapSettings | VmnetInterfaceSettings);

/** The settings as key=value lines. */
function linesOfSettings({ receiveSize, transmitSize, ...settings }: ShimSettings): Uint8Array {
  const entries = Object.entries({ ...settings, rx: receiveSize, tx: transmitSize });
  const lines = entries.map(([key, value]) => {
    const text = String(typeof value === "boolean" ? Number(value) : value);
    if (text.includes("\n"))
      throw new Error(`Cannot use ${JSON.stringify(text)} as ${key}: it is more than one line`);
    return `${key}=${text}\n`;
  });
  return new TextEncoder().encode(lines.join(""));
}

function startFailure(settings: ShimSettings, step: string, result: number): Error {
  const why = `${step}: ${shimFailure(result)}`;
  if ("tap" in settings)
    return new ShimError(
      result,
      `Cannot make the TAP device ${settings.tap}: ${why} (it needs CAP_NET_ADMIN and /dev/net/tun)`,
    );
  const others =
    settings.mode === "bridged" ? ` (can be bridged: ${bridgeableInterfaces().join(", ")})` : "";
  return new ShimError(
    result,
    `Cannot start an interface of mode ${settings.mode}: ${why}${others}`,
  );
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
    const conf = linesOfSettings(settings);
    const out = new Uint8Array(TEXT_SIZE);
    const base = addressOf(memory.octets);
    this.#id = this.#library.vmn_start(
      conf,
      conf.length,
      (base + this.receive.start) as Pointer,
      (base + this.transmit.start) as Pointer,
      out,
      TEXT_SIZE,
    );
    this.facts = parseFacts(out);
    if (this.#id < 0) throw startFailure(settings, this.facts.get("step") ?? "start", this.#id);
    this.bell = this.#library.vmn_bell(this.#id);
  }

  /** Sends what was put into the transmit ring: how many frames went. */
  flush(): number {
    this.transmit.publish();
    return this.#library.vmn_tx(this.#id);
  }

  stats(): Record<string, number> {
    const values = new BigUint64Array(16);
    this.#library.vmn_stats(this.#id, values);
    return Object.fromEntries(STATS.map((name, i) => [name, Number(values[i])]));
  }

  /** The bell must have been removed from the event loop. */
  stop(): void {
    const result = this.#library.vmn_stop(this.#id);
    if (result < 0) throw new Error(`Cannot stop the host's interface: ${shimFailure(result)}`);
  }
}
