/** What the main thread and a vmnet network's engine say to each other, within the frame of `engine/thread-protocol.ts`. */
import type { ShimSettings } from "../../host/shim.ts";
import type { DhcpPlan } from "../../service/dhcp/server.ts";
import type { Lease } from "../../service/dhcp/lease-table.ts";
import type { AttachKind, PortEvent } from "../engine/guest-ports.ts";

/** what an engine is started with: the host's interface that it makes */
export type SwitchStart = ShimSettings;

/** what the native library tells of the interface: name, mtu, mac, … */
export type UplinkFacts = ReadonlyMap<string, string>;

export type SwitchRequest =
  /** this address is behind the uplink, whoever of the guests says that it is theirs */
  | { type: "pin"; mac: number }
  /** answer DHCP at the switch, as the gateway */
  | { type: "serve-dhcp"; plan: DhcpPlan; gatewayMac: number; leases: Lease[] }
  /** a socket for guests, which members of the group may use */
  | { type: "listen"; kind: AttachKind; path: string; gid: number }
  | { type: "stats" };

export type SwitchEvent =
  | { type: "leases-changed"; leases: Lease[] }
  /** the host's interface has gone, and with it the network */
  | { type: "uplink-lost"; reason: string }
  | PortEvent;
