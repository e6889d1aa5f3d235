/** What the main thread and a vmnet network's engine say to each other, within the frame of `engine/thread-protocol.ts`. */
import type { ShimSettings } from "../../host/shim.ts";
import type { DhcpPlan } from "../../service/dhcp/server.ts";
import type { Lease } from "../../service/dhcp/lease-table.ts";
import type { AttachKind } from "../engine/guest-ports.ts";
import type { PortEvent } from "../engine/port-events.ts";

/** what an engine is started with: the host's interface that it makes */
export type SwitchStart = ShimSettings;

/** its rings: a burst that comes while the engine is busy with another has room; large segments where the system can */
export const RINGS = { offload: true, receiveSize: 4 << 20, transmitSize: 1 << 20 };

/** what the native library tells of the interface: name, mtu, mac, … */
export type UplinkFacts = ReadonlyMap<string, string>;

export type SwitchRequest =
  /** this address is behind the uplink, whoever of the guests says that it is theirs */
  | { type: "pin"; mac: number }
  /** answer DHCP at the switch, as the gateway */
  | { type: "serve-dhcp"; plan: DhcpPlan; gatewayMac: number; leases: Lease[] }
  /** guests reach the uplink, and not each other */
  | { type: "isolate" }
  /** guests may not play the host's DHCP server */
  | { type: "refuse-dhcp-servers" }
  /** a socket for guests, which members of the group may use; without one this user alone */
  | { type: "listen"; kind: AttachKind; path: string; gid: number | undefined }
  | { type: "stats" };

/** the leases of this state are on the disk */
export interface LeasesStored {
  type: "leases-stored";
  state: number;
}

export type SwitchEvent =
  | { type: "leases-changed"; leases: Lease[]; state: number }
  /** the host's interface has gone, and with it the network */
  | { type: "uplink-lost"; reason: string }
  | PortEvent;
