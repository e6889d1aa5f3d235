/** `limanet vmnet`: one shared, host or bridged network, as socket_vmnet is one (specification of vmnet, section 2). */
import { resolve } from "node:path";
import { formatCidr, formatIpv4 } from "../../addr/ipv4.ts";
import { hostSearchDomains } from "../../host/host-naming.ts";
import { lockHolder, tryLockPidFile, type Lock } from "../../host/lock.ts";
import { groupId } from "../../host/machine.ts";
import { onStatusSignal, terminationSignal } from "../../host/signals.ts";
import type { Lease } from "../../service/dhcp/lease-table.ts";
import type { Log } from "../../trace/log.ts";
import { vmnetSettings, type VmnetOptions, type VmnetSettings } from "../../vmnet/settings.ts";
import type { AttachKind } from "../engine/guest-ports.ts";
import { ThreadClient } from "../engine/thread-client.ts";
import { storedLeases, storeLeases } from "../stored-leases.ts";
import { UsageError } from "../usernet.ts";
import { serveGuestDns, type GuestDns } from "./guest-dns.ts";
import { cleanUp, HostNetwork, type HostPlan } from "./host-network.ts";
import { keepNeededPrivileges } from "./privileges.ts";
import type { SwitchEvent, SwitchRequest, SwitchStart, UplinkFacts } from "./switch-protocol.ts";

export interface VmnetDaemonOptions extends VmnetOptions {
  socket: string;
  group: string;
  pidFile: string | undefined;
}

/** a burst that comes while the engine is busy with another */
const RECEIVE_RING = 4 << 20;
const TRANSMIT_RING = 1 << 20;
const LEASE_SECONDS = 3600;

/** Runs until a signal; the exit code. */
export async function runVmnet(options: VmnetDaemonOptions, log: Log): Promise<number> {
  const settings = vmnetSettings(options);
  if (typeof settings === "string") throw new UsageError(settings);
  const gid = groupId(options.group);
  if (gid === undefined)
    throw new UsageError(
      `Cannot let the group ${options.group} attach: there is none of that name (--socket-group=GROUP names another)`,
    );
  const socket = resolve(options.socket);
  const { pidFile } = options;
  keepNeededPrivileges({
    files: [socket, pidFile ?? socket],
    gid,
    isServer: settings.mode !== "bridged",
  });
  const ended = terminationSignal();
  if (pidFile !== undefined && lockHolder(pidFile) !== 0) throw pidFileInUse(pidFile);
  const host = await HostNetwork.open(hostSettings(socket, settings), log);
  let network: RunningSwitch | undefined;
  let dns: GuestDns | undefined;
  let lock: Lock | undefined;
  try {
    network = await startSwitch({ tap: host.plan.tap, ...RINGS }, log, (leases) => {
      storeLeases(host.leaseFile, leases, log);
      dns?.name(leases);
    });
    await host.attach();
    if (host.plan.own !== undefined) {
      const leases = storedLeases(host.leaseFile, log);
      dns = await serveGuestDns(host.plan.own, log);
      dns.name(leases);
      await serveDhcp(network, settings, host.plan, leases);
    }
    for (const [kind, path] of Object.entries(socketsAt(socket)))
      await network.request({ type: "listen", kind: kind as AttachKind, path, gid });
    if (pidFile !== undefined) {
      lock = tryLockPidFile(pidFile);
      if (lock === undefined) throw pidFileInUse(pidFile);
    }
    const running = network;
    onStatusSignal(() => void tellStatistics(running, log));
    log.info?.(`network ready ${describe(settings, host.plan)} socket=${socket}`);
    log.info?.(`network ends signal=${await Promise.race([ended, network.failed])}`);
    return 0;
  } finally {
    await network?.close();
    dns?.close();
    await host.close();
    // last: whoever waits for the end waits for this file
    lock?.release();
  }
}

const RINGS = { offload: true, receiveSize: RECEIVE_RING, transmitSize: TRANSMIT_RING };

const pidFileInUse = (path: string): Error =>
  new Error(`Cannot start the network: process ${lockHolder(path)} holds the pid file ${path}`);

/** Datagram guests have sockets of their own beside the stream guests'. */
const socketsAt = (socket: string): Partial<Record<AttachKind, string>> => ({
  stream: socket,
  datagrams: `${socket}.datagram`,
  descriptor: `${socket}.descriptor`,
});

function hostSettings(name: string, { mode, own, interface: taken }: VmnetSettings) {
  return {
    name,
    mode,
    ...(own === undefined ? {} : { own }),
    ...(taken === undefined ? {} : { interface: taken }),
  };
}

const describe = ({ mode }: VmnetSettings, { bridge, mtu, own }: HostPlan): string =>
  [
    `mode=${mode} bridge=${bridge} mtu=${mtu}`,
    ...(own === undefined
      ? []
      : [`gateway=${formatIpv4(own.gateway)} subnet=${formatCidr(own.subnet)}`]),
  ].join(" ");

async function tellStatistics(network: RunningSwitch, log: Log): Promise<void> {
  // a network that ends meanwhile has nothing to tell
  const stats = (await network.request({ type: "stats" }).catch(() => ({}))) as object;
  const words = Object.entries(stats).map(([name, count]) => `${name}=${count}`);
  log.info?.(["statistics", ...words].join(" "));
}

interface RunningSwitch {
  facts: UplinkFacts;
  /** rejects when the engine has died or the host's interface has gone; never resolves */
  failed: Promise<never>;
  request(request: SwitchRequest): Promise<unknown>;
  close(): Promise<void>;
}

async function startSwitch(
  start: SwitchStart,
  log: Log,
  onLeases: (leases: readonly Lease[]) => void,
): Promise<RunningSwitch> {
  const { promise: failed, reject } = Promise.withResolvers<never>();
  // whoever waits for it is told; until then it is no unhandled rejection
  failed.catch(() => {});
  const module = "lib/daemon/vmnet/switch-thread.ts";
  const { thread, facts } = await ThreadClient.start<SwitchEvent>(module, start, {
    onEvent(event) {
      if (event.type === "uplink-lost")
        reject(new Error(`Cannot go on with the network: ${event.reason}`));
      else if (event.type === "leases-changed") onLeases(event.leases);
      else onEvent(event, log);
    },
    onFailure: reject,
  });
  return {
    facts: facts as UplinkFacts,
    failed,
    request: (request) => thread.request(request),
    close: () => thread.close(),
  };
}

function onEvent(
  event: Exclude<SwitchEvent, { type: "uplink-lost" | "leases-changed" }>,
  log: Log,
): void {
  switch (event.type) {
    case "port-attached":
      log.info?.(`guest attached port=${event.port} kind=${event.kind}`);
      return;
    case "port-detached":
      log.info?.(`guest detached port=${event.port} reason=${JSON.stringify(event.reason)}`);
      return;
    case "log":
      log[event.level]?.(event.line);
  }
}

/** On networks with a subnet of their own; the host's bridge is the gateway, and its address nobody else's. */
async function serveDhcp(
  network: RunningSwitch,
  settings: VmnetSettings,
  { mtu, own }: HostPlan,
  leases: Lease[],
): Promise<void> {
  if (own === undefined) return;
  const { gateway, subnet, mac: gatewayMac } = own;
  await network.request({ type: "pin", mac: gatewayMac });
  if (!settings.dhcp) return;
  await network.request({
    type: "serve-dhcp",
    gatewayMac,
    leases,
    plan: {
      subnet,
      gateway,
      dns: gateway,
      reserved: [],
      first: gateway + 1,
      ...(settings.own === undefined ? {} : { last: settings.own.last }),
      isClosed: settings.mode === "host",
      mtu,
      leaseSeconds: LEASE_SECONDS,
      domainName: undefined,
      searchDomains: hostSearchDomains(),
      staticLeases: [],
    },
  });
}

/** Undoes what networks whose daemons were killed have left; the exit code. */
export async function cleanUpVmnet(log: Log): Promise<number> {
  keepNeededPrivileges({ files: [], isServer: false });
  const count = await cleanUp(log);
  log.info?.(`cleaned up networks=${count}`);
  return 0;
}
