/**
 * How an instance's first network card is connected: the default network on our own stack in the host agent, QEMU's own
 * network, or a user-v2 network that a daemon of its own carries.
 */
import { parseEndpoint } from "../addr/endpoint.ts";
import { parseCidr } from "../addr/ipv4.ts";
import { isWithin } from "../config/host-access.ts";
import { hostnameOf } from "../config/names.ts";
import type { InstanceConfig } from "../config/instance.ts";
import type { InstancePaths } from "../config/paths.ts";
import type { NicBackend } from "../driver/nic.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import { serveDnsTcp, serveDnsUdp } from "../host/dns-server.ts";
import { hostSearchDomains } from "../host/host-naming.ts";
import { hostEnvironment } from "../host/machine.ts";
import { serveUnixHttp } from "../host/unix-http.ts";
import type { QmpClient } from "../host/qmp-client.ts";
import { loadNetworks } from "../instance/settings.ts";
import { canonicalName } from "../service/dns/message.ts";
import type { HostTable } from "../service/dns/static-hosts.ts";
import { zonesOfHosts } from "../service/dns/zones.ts";
import type { Log } from "../trace/log.ts";
import type { Forward, NetworkPlan, Transport } from "./network/engine-protocol.ts";
import type { NetworkAbilities } from "./forwards/forward-plan.ts";
import { JoinedNetwork, type JoinedNetworkOptions } from "./joined-network.ts";
import type { Machine } from "./machine.ts";
import {
  DEFAULT_DNS_POLICY,
  startHostResponder,
  type DnsPolicy,
} from "./network/host-responder.ts";
import { handlerOf } from "./network/api-routes.ts";
import { DNS_ROUTES } from "./network/dns-routes.ts";
import { startNetworkService } from "./network/network-service.ts";
import { userV2Network } from "./reconcile.ts";
import { GATEWAY_MAC, gatewayNames, userV2Plan } from "./usernet.ts";

/** the default network (specification, section 1) */
export const DEFAULT_SUBNET = "192.168.5.0/24";
const DEFAULT_CIDR = parseCidr(DEFAULT_SUBNET)!;
const DEFAULT_GATEWAY = "192.168.5.2";
const DEFAULT_DNS = "192.168.5.3";
const DEFAULT_GUEST = "192.168.5.15";
const STEP_MS = 100;

/** How eth0 is connected, whoever carries it. */
export interface FirstNetwork {
  nic: NicBackend;
  mtu: number;
  gateway: string;
  dns: string;
  /** "" when DHCP chooses */
  guestAddress: string;
  dnsPorts: { udp: number; tcp: number };
  /** The machine runs now; a network that it waits for connects itself. */
  attached(machine: Pick<Machine, "reconnects" | "monitor">): Promise<void>;
  /** Waits until the guest has an address; then port forwards can be made. */
  waitForAddress(signal: AbortSignal): Promise<string>;
  expose(forward: Forward): Promise<void>;
  unexpose(local: string, protocol: Transport): Promise<void>;
  /** Other `hostResolver.hosts` in place of those before. */
  setHosts(hosts: HostTable): Promise<void>;
  /** what its forwards can listen on */
  abilities: NetworkAbilities;
  /** rejects when the network breaks down under the machine */
  failed: Promise<never>;
  close(): Promise<void>;
}

/** for networks whose end is somebody else's to notice */
const NEVER = new Promise<never>(() => {});

/** The default network on our own stack, in this process. */
export async function carryDefaultNetwork(
  paths: InstancePaths,
  config: InstanceConfig,
  name: string,
  mac: string,
  sharesMemory: boolean,
  log: Log,
): Promise<FirstNetwork> {
  const plan: NetworkPlan = {
    subnet: DEFAULT_SUBNET,
    gateway: DEFAULT_GATEWAY,
    hostAliases: [DEFAULT_GATEWAY],
    // the guest of a vz machine asks the gateway (specification, section 3.4)
    dns: config.vmType === "vz" ? DEFAULT_GATEWAY : DEFAULT_DNS,
    gatewayMac: GATEWAY_MAC,
    mtu: 1500,
    hostAccess: config.hostAccess,
    linkLocalAccess: config.linkLocalAccess,
    searchDomains: hostSearchDomains(),
    leaseSeconds: 3600,
    dhcpFirst: DEFAULT_GUEST,
    staticLeases: [{ ip: DEFAULT_GUEST, mac }],
  };
  const service = await startNetworkService({
    plan,
    listen: [
      { kind: "stream", path: paths.guestSocket },
      { kind: "descriptor", path: paths.descriptorSocket },
      ...(sharesMemory ? [{ kind: "vhost-user", path: paths.vhostSocket } as const] : []),
    ],
    endpoint: paths.endpoint,
    dnsTcpPath: paths.dnsSocket,
    leaseFile: undefined,
    hosts: staticHosts(config.hostResolver.hosts, name),
    dns: dnsPolicy(config),
    capture: undefined,
    log,
  });
  return {
    nic: {
      kind: "switch",
      network: "default",
      stream: paths.guestSocket,
      descriptors: paths.descriptorSocket,
      vhostUser: sharesMemory ? paths.vhostSocket : undefined,
      absence: "never",
    },
    mtu: plan.mtu,
    gateway: plan.gateway,
    dns: plan.dns,
    guestAddress: DEFAULT_GUEST,
    dnsPorts: { udp: 0, tcp: 0 },
    attached: async () => {},
    waitForAddress: (signal) =>
      poll(signal, async () => {
        const outcome = await service.engine.request({
          type: "probe",
          ip: DEFAULT_GUEST,
          port: 22,
          timeoutMs: 500,
        });
        return outcome === "timeout" ? undefined : DEFAULT_GUEST;
      }),
    expose: async (forward) => void (await service.engine.request({ type: "expose", forward })),
    unexpose: async (local, protocol) =>
      void (await service.engine.request({ type: "unexpose", local, protocol })),
    setHosts: async (hosts) => service.dns.setNames(staticHosts(hosts, name)),
    abilities: { hasSockets: true, hasIpv6: true },
    failed: service.failed,
    close: () => service.close(),
  };
}

function dnsPolicy({ hostResolver }: InstanceConfig): DnsPolicy {
  const { ipv6, publicFallback, emptyOnOutage } = { ...DEFAULT_DNS_POLICY, ...hostResolver };
  return { ipv6, publicFallback, emptyOnOutage };
}

function staticHosts(hosts: HostTable, name: string): HostTable {
  // these win over entries of the same name (specification 10.1)
  return {
    ...hosts,
    ...gatewayNames(DEFAULT_GATEWAY),
    [hostnameOf(name)]: DEFAULT_GUEST,
    [`${hostnameOf(name)}.internal`]: DEFAULT_GUEST,
  };
}

/** QEMU's own network, with our DNS on two loopback ports that the guest redirects to. */
export async function useQemuSlirp(
  paths: InstancePaths,
  config: InstanceConfig,
  name: string,
  sshPort: number,
): Promise<FirstNetwork> {
  if (config.hostAccess !== "all")
    throw new Error(
      "Cannot keep hostAccess of lima.yaml: QEMU's own network leads guests to every port of this computer's loopback (leave --slirp=qemu out)",
    );
  const closers: (() => void)[] = [];
  let qmp: QmpClient | undefined;
  const dnsPorts = { udp: 0, tcp: 0 };
  let setHosts = (_hosts: HostTable): void => {};
  if (config.hostResolver.enabled) {
    const names = staticHosts(config.hostResolver.hosts, name);
    const dns = startHostResponder(names, dnsPolicy(config), DEFAULT_CIDR);
    setHosts = (hosts) => dns.setNames(staticHosts(hosts, name));
    const api = await serveUnixHttp(paths.endpoint, handlerOf(DNS_ROUTES, { dns }));
    const udp = await serveDnsUdp(dns.responder, "127.0.0.1", 0);
    const tcp = serveDnsTcp(dns.responder, "127.0.0.1", 0);
    dnsPorts.udp = udp.port;
    dnsPorts.tcp = tcp.port;
    closers.push(
      () => api.close(),
      () => udp.close(),
      () => tcp.close(),
      () => dns.close(),
    );
  }
  return {
    nic: { kind: "slirp", sshPort },
    mtu: 1500,
    gateway: DEFAULT_GATEWAY,
    dns: DEFAULT_DNS,
    guestAddress: DEFAULT_GUEST,
    dnsPorts,
    attached: async ({ monitor }) => {
      qmp = monitor;
    },
    waitForAddress: async () => DEFAULT_GUEST,
    expose: (forward) => exposeThroughQemu(qmp!, forward),
    unexpose: (local, protocol) => askQemu(qmp!, `hostfwd_remove net0 ${protocol}:${local}`),
    setHosts: async (hosts) => setHosts(hosts),
    abilities: { hasSockets: false, hasIpv6: false },
    failed: NEVER,
    close: async () => {
      for (const close of closers) close();
    },
  };
}

async function exposeThroughQemu(
  qmp: QmpClient,
  { local, remote, protocol }: Forward,
): Promise<void> {
  const from = parseEndpoint(local);
  const to = parseEndpoint(remote);
  if (protocol === "unix" || from === undefined || from.host.includes(":") || to === undefined)
    throw new Error("QEMU's own network forwards TCP and UDP ports of IPv4 addresses only");
  await askQemu(qmp, `hostfwd_add net0 ${protocol}:${from.host}:${from.port}-:${to.port}`);
}

/** what the monitor says when it has done a thing; of other things it says nothing */
const DONE = /^host forwarding rule for .* removed$/;

/** QEMU's monitor answers a command for people: a sentence when it could not be done. */
async function askQemu(qmp: QmpClient, command: string): Promise<void> {
  const said = await qmp.execute("human-monitor-command", { "command-line": command });
  const text = typeof said === "string" ? said.trim() : "";
  if (text !== "" && !DONE.test(text)) throw new Error(text);
}

/** A user-v2 network, which its own daemon carries; `listen` is where QEMU waits for it if it does not connect itself. */
export async function joinUserV2(
  options: JoinedNetworkOptions,
  name: string,
  config: InstanceConfig,
  mac: string,
  listen: string,
): Promise<FirstNetwork> {
  const { home, network } = options;
  const { subnet, mtu = 1500, hostAccess = "all" } = userV2Network(loadNetworks(home), network);
  if (!isWithin(hostAccess, config.hostAccess))
    throw new Error(
      `Cannot keep hostAccess of lima.yaml: the network ${network} allows its guests more (set networks.${network}.hostAccess in networks.yaml, which counts for all its guests)`,
    );
  const { gateway } = userV2Plan(subnet, mtu, undefined);
  const limitMs = addressLimitMs(hostEnvironment());
  const joined = new JoinedNetwork(options);
  const ownName = `${hostnameOf(name)}.internal`;
  const reserved = new Set([ownName, ...Object.keys(gatewayNames(gateway))]);
  // what the network says itself is not a user's to change
  const setHosts = (hosts: HostTable) =>
    joined.setHosts(
      name,
      Object.fromEntries(
        Object.entries(hosts).filter(([host]) => !reserved.has(canonicalName(host))),
      ),
    );
  return {
    nic: joined.backend(listen),
    mtu,
    gateway,
    dns: gateway,
    guestAddress: "",
    dnsPorts: { udp: 0, tcp: 0 },
    attached: ({ reconnects }) => joined.attached(reconnects),
    waitForAddress: async (signal) => {
      const limit = monotonicMs() + limitMs;
      const address = await poll(signal, async () => {
        const leases = await joined.leases();
        const found = Object.keys(leases).find((ip) => leases[ip]?.toLowerCase() === mac);
        if (found === undefined && monotonicMs() > limit)
          throw new Error(
            `usernet unable to resolve IP for SSH forwarding: the guest has asked for no address on ${network} within ${limitMs / MINUTE_MS} min (see serial.log; ${ADDRESS_LIMIT} sets the minutes)`,
          );
        return found;
      });
      if (address === "") return "";
      for (const zone of zonesOfHosts({ [ownName]: address, ...gatewayNames(gateway) }))
        await joined.addZone(zone);
      await setHosts(config.hostResolver.hosts);
      return address;
    },
    expose: (forward) => joined.expose(forward),
    unexpose: (local, protocol) => joined.unexpose({ local, protocol }),
    setHosts,
    abilities: { hasSockets: true, hasIpv6: true },
    failed: NEVER,
    close: () => joined.close(),
  };
}

/** how long a guest may take to get an address (specification, section 8.10) */
const ADDRESS_LIMIT = "LIMA_USERNET_RESOLVE_IP_ADDRESS_TIMEOUT";
const MINUTE_MS = 60_000;
const DEFAULT_MINUTES = 2;

export function addressLimitMs(environment: Readonly<Record<string, string | undefined>>): number {
  const text = environment[ADDRESS_LIMIT] ?? "";
  return (/^\d{1,6}$/.test(text) && text !== "0" ? Number(text) : DEFAULT_MINUTES) * MINUTE_MS;
}

/** Asks again and again until there is an answer, or the machine has ended (then ""). */
async function poll(signal: AbortSignal, ask: () => Promise<string | undefined>): Promise<string> {
  while (!signal.aborted) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await sleep(STEP_MS);
  }
  return "";
}
