/** `limanet usernet`: one user-v2 network (specification 8.1 to 8.8). */
import { dirname } from "node:path";
import { cidrContains, formatIpv4, parseCidr, parseIpv4 } from "../addr/ipv4.ts";
import { parseMac } from "../addr/mac.ts";
import { parseHostAccess } from "../config/host-access.ts";
import { isFolder } from "../host/files.ts";
import { hostSearchDomains } from "../host/host-naming.ts";
import { releaseHandedLock, tryLockPidFile } from "../host/lock.ts";
import { hostPlatform } from "../host/machine.ts";
import { terminationSignal } from "../host/signals.ts";
import { releaseProgramPagesSoon } from "../host/unused-memory.ts";
import type { Log } from "../trace/log.ts";
import { giveUpSystemCalls, keepFilesFromOthers } from "./confined.ts";
import type { AttachKind } from "./engine/guest-ports.ts";
import type { Lease, NetworkPlan } from "./network/engine-protocol.ts";
import type { DnsPolicy } from "./network/host-responder.ts";
import { startNetworkService } from "./network/network-service.ts";

export interface UsernetOptions {
  pidFile: string | undefined;
  endpoint: string | undefined;
  listenQemu: string | undefined;
  listenVhostUser: string | undefined;
  listenDescriptor: string | undefined;
  listenVfkit: string | undefined;
  subnet: string;
  mtu: number;
  /** "all", "none" or ports */
  hostAccess: string;
  linkLocalAccess: boolean;
  /** "IP=MAC,IP=MAC" */
  leases: string | undefined;
  leaseFile: string | undefined;
  capture: string | undefined;
  /** whoever started us keeps others away until we have our pid file */
  handedLock: boolean;
  dns: DnsPolicy;
}

/** Lima's address plan (specification 8.3): the second address is router, DNS server and the way to the host. */
export const GATEWAY_MAC = "5a:94:ef:e4:0c:dd";
/** what guests of every network call the host, and the way to it (gvproxy has both names under another domain) */
export const gatewayNames = (address: string): Record<string, string> => ({
  "host.lima.internal": address,
  "gateway.lima.internal": address,
});
const LEASE_SECONDS = 3600;
const MIN_MTU = 576;
const MAX_MTU = 65520;

/** What a person asked for and cannot have. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The plan of a user-v2 network; throws UsageError. */
export function userV2Plan(
  subnetText: string,
  mtu: number,
  leases: string | undefined,
): NetworkPlan {
  const subnet = parseCidr(subnetText);
  if (subnet === undefined || subnet.prefix > 29) {
    throw new UsageError(
      `Cannot use the subnet ${subnetText}: an IPv4 subnet of at least 8 addresses is needed, such as 192.168.104.0/24`,
    );
  }
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU) {
    throw new UsageError(
      `Cannot use the MTU ${mtu}: a number from ${MIN_MTU} to ${MAX_MTU} is needed`,
    );
  }
  const gateway = formatIpv4(subnet.network + 2);
  const staticLeases: Lease[] = [];
  for (const item of (leases ?? "").split(",").filter((text) => text !== "")) {
    const [ip = "", mac = ""] = item.split("=");
    const address = parseIpv4(ip);
    if (address === undefined || parseMac(mac) === undefined) {
      throw new UsageError(`Cannot use the lease ${item}: not of the form IP=MAC`);
    }
    // specification 8.3: persisted leases outside of the subnet are left out, and the gateway always wins
    if (cidrContains(subnet, address) && ip !== gateway) staticLeases.push({ ip, mac });
  }
  return {
    subnet: subnetText,
    gateway,
    hostAliases: [gateway],
    dns: gateway,
    gatewayMac: GATEWAY_MAC,
    mtu,
    hostAccess: "all",
    linkLocalAccess: false,
    searchDomains: hostSearchDomains(),
    leaseSeconds: LEASE_SECONDS,
    staticLeases,
  };
}

/** Runs until a signal; the exit code. */
export async function runUsernet(options: UsernetOptions, log: Log): Promise<number> {
  const { linkLocalAccess } = options;
  const hostAccess = parseHostAccess(options.hostAccess);
  if (hostAccess === undefined)
    throw new UsageError(
      `Cannot use --host-access ${options.hostAccess}: all, none or ports such as 3128,5432 are needed`,
    );
  if (options.listenVhostUser !== undefined && hostPlatform() !== "linux")
    throw new UsageError(
      "Cannot use --listen-vhost-user here: virtual machines share their memory that way on Linux only; give --listen-qemu or --listen-vfkit",
    );
  const plan: NetworkPlan = {
    ...userV2Plan(options.subnet, options.mtu, options.leases),
    hostAccess,
    linkLocalAccess,
  };
  const base =
    options.endpoint ??
    options.listenQemu ??
    options.listenVhostUser ??
    options.listenDescriptor ??
    options.listenVfkit;
  if (base === undefined)
    throw new UsageError(
      "Cannot start a network that nobody can reach: give --endpoint and --listen-qemu, --listen-vhost-user, --listen or --listen-vfkit",
    );
  const { pidFile, endpoint, listenQemu, listenVhostUser, listenDescriptor, listenVfkit } = options;
  const listens = [listenQemu, listenVhostUser, listenDescriptor, listenVfkit];
  for (const path of [pidFile, endpoint, ...listens])
    if (path !== undefined && !isFolder(dirname(path)))
      throw new UsageError(
        `Cannot make ${path}: there is no folder ${dirname(path)} (make it, or name another)`,
      );
  keepFilesFromOthers();
  releaseProgramPagesSoon();
  const lock = options.pidFile === undefined ? undefined : tryLockPidFile(options.pidFile);
  if (options.handedLock) releaseHandedLock();
  if (options.pidFile !== undefined && lock === undefined) {
    log.error(
      `Cannot start the network: pidfile ${JSON.stringify(options.pidFile)} already exists and its process runs`,
    );
    return 1;
  }
  giveUpSystemCalls(log);
  const stop = terminationSignal();
  const attachments: [AttachKind, string | undefined][] = [
    ["stream", options.listenQemu],
    ["vhost-user", options.listenVhostUser],
    ["descriptor", options.listenDescriptor],
    ["datagram", options.listenVfkit],
  ];
  const listen = attachments.flatMap(([kind, path]) =>
    path === undefined ? [] : [{ kind, path }],
  );
  try {
    const service = await startNetworkService({
      plan,
      listen,
      endpoint: options.endpoint,
      dnsTcpPath: `${base.replace(/\.sock$/, "")}_dns.sock`,
      leaseFile: options.leaseFile,
      hosts: gatewayNames(plan.gateway),
      dns: options.dns,
      capture: options.capture,
      log,
    });
    log.info?.(`network ready subnet=${plan.subnet} gateway=${plan.gateway} mtu=${plan.mtu}`);
    log.info?.(`network ends signal=${await Promise.race([stop, service.failed])}`);
    await service.close();
    return 0;
  } finally {
    lock?.release();
  }
}
