/** What the main thread and a user-mode network's engine say to each other, within the frame of `engine/thread-protocol.ts`. */
import type { HostAccess } from "../../config/host-access.ts";
import type { AttachKind } from "../engine/guest-ports.ts";
import type { PortEvent } from "../engine/port-events.ts";
import type { Lease } from "../../service/dhcp/lease-table.ts";

export type { Lease };

/** Addresses are dotted-quad strings here: this is the control path. */
export interface NetworkPlan {
  /** e.g. "192.168.104.0/24" */
  subnet: string;
  /** the router's own address */
  gateway: string;
  /** addresses that reach the host's 127.0.0.1; the gateway is usually among them */
  hostAliases: string[];
  /** address that answers DNS; may equal the gateway */
  dns: string;
  /** e.g. "5a:94:ef:e4:0c:dd" */
  gatewayMac: string;
  /** largest IP packet on the link, octets, 576..65520 */
  mtu: number;
  /** DHCP option 119; empty: option absent */
  searchDomains: string[];
  /** DHCP option 15; undefined: absent */
  domainName?: string;
  /** ports of the host's 127.0.0.1 that guests reach at `hostAliases` */
  hostAccess: HostAccess;
  /** guests reach 169.254.0.0/16 */
  linkLocalAccess: boolean;
  leaseSeconds: number;
  /** first address handed out, e.g. 192.168.5.15; undefined: first free of the subnet (base+1) */
  dhcpFirst?: string;
  staticLeases: Lease[];
}

export type Transport = "tcp" | "udp" | "unix";

export interface Forward {
  /** "127.0.0.1:2222", "[::1]:2222", ":8080" (all addresses), or a socket path for "unix" */
  local: string;
  /** guest "IP:PORT" */
  remote: string;
  protocol: Transport;
}

export type EngineRequest =
  | { type: "listen"; kind: AttachKind; path: string }
  /** a connection that carries frames in VPNKit's framing; `early` has been read from it already */
  | { type: "attach-vpnkit"; fd: number; early: Uint8Array }
  /** connects to a QEMU that listens on a unix socket; nothing is done for one that is connected */
  | { type: "attach-listening"; path: string }
  | { type: "expose"; forward: Forward }
  | { type: "unexpose"; local: string; protocol: Transport }
  | { type: "forwards" }
  | { type: "leases" }
  | { type: "cam" }
  | { type: "stats" }
  /** a connected stream socket becomes a TCP connection to a guest; it belongs to the engine from now on */
  | { type: "tunnel"; fd: number; ip: string; port: number }
  /** serve the SOCKS proxy on this port of 127.0.0.1; 0: any that is free */
  | { type: "socks"; port: number }
  /** can a TCP connection to the guest be made? */
  | { type: "probe"; ip: string; port: number; timeoutMs: number }
  /** puts all frames into the ring of a capture from now on; null: into none */
  | { type: "capture"; into: SharedArrayBuffer | null };

export interface EngineReplies {
  listen: null;
  "attach-vpnkit": null;
  "attach-listening": null;
  /** `bound` is `local` with the port that port 0 became */
  expose: { bound: string };
  unexpose: null;
  forwards: Forward[];
  leases: Lease[];
  /** MAC → bridge port number */
  cam: Record<string, number>;
  stats: Record<string, number>;
  tunnel: null;
  socks: { port: number };
  probe: "connected" | "refused" | "timeout";
  capture: null;
}

export type EngineEvent =
  /** a guest's DNS query over UDP, `client` is ADDRESS PORT; answer with a DnsAnswer of the same `query` */
  | { type: "dns-query"; query: number; message: Uint8Array; client: string }
  /** a SOCKS client wants to reach a name; answer with a NameAnswer of the same `query` */
  | { type: "name-query"; query: number; name: string }
  /** the lease table changed; answer with a LeasesStored of the same `state` when it is on the disk */
  | { type: "leases-changed"; leases: Lease[]; state: number }
  /** the ring of the capture was empty, and is not any more */
  | { type: "frames-captured" }
  | PortEvent;

export interface DnsAnswer {
  type: "dns-answer";
  query: number;
  /** undefined: no answer (the client will retry) */
  message?: Uint8Array;
}

export interface NameAnswer {
  type: "name-answer";
  query: number;
  /** undefined: there is no such name */
  address?: string;
}

export interface LeasesStored {
  type: "leases-stored";
  state: number;
}

/** what the main thread tells by itself */
export type EngineAnswer = DnsAnswer | NameAnswer | LeasesStored;

/** what an engine is started with */
export interface EngineStart {
  plan: NetworkPlan;
  leases: Lease[];
  /** unix socket served by the main thread: DNS over TCP is relayed to it */
  dnsTcpPath: string;
  /** ring of a capture from the first frame on */
  capture?: SharedArrayBuffer;
}
