/** A user-mode network of its own on 10.213.7.0/24, for guests that hand over one end of a pair of datagram sockets. */
import type { NetworkPlan } from "../../lib/daemon/network/engine-protocol.ts";
import { DEFAULT_DNS_POLICY } from "../../lib/daemon/network/host-responder.ts";
import {
  startNetworkService,
  type NetworkService,
} from "../../lib/daemon/network/network-service.ts";
import { SILENT } from "../../lib/trace/log.ts";

export const GATEWAY = "10.213.7.2";
export const GATEWAY_MAC = "52:55:55:00:00:02";

export const PLAN: NetworkPlan = {
  subnet: "10.213.7.0/24",
  gateway: GATEWAY,
  hostAliases: [],
  hostAccess: "all",
  linkLocalAccess: false,
  dns: GATEWAY,
  gatewayMac: GATEWAY_MAC,
  mtu: 1500,
  searchDomains: [],
  leaseSeconds: 3600,
  dhcpFirst: "10.213.7.15",
  staticLeases: [],
};

/** Its socket is fd.sock in the folder. */
export const startDescriptorNetwork = (folder: string): Promise<NetworkService> =>
  startNetworkService({
    plan: PLAN,
    listen: [{ kind: "descriptor", path: `${folder}/fd.sock` }],
    endpoint: undefined,
    dnsTcpPath: `${folder}/dns.sock`,
    leaseFile: undefined,
    hosts: {},
    dns: DEFAULT_DNS_POLICY,
    capture: undefined,
    log: SILENT,
  });
