/**
 * A user-mode network as a service on the main thread: engine, DNS responder, control API, stored leases. The usernet
 * daemon runs one for a user-v2 network, the host agent one for an instance's default network.
 */
import { parseCidr } from "../../addr/ipv4.ts";
import { CaptureFile } from "../../host/capture-file.ts";
import { serveDnsUnix, type DnsServer } from "../../host/dns-server.ts";
import { serveUnixHttp, type HttpServer } from "../../host/unix-http.ts";
import type { Log } from "../../trace/log.ts";
import { LeaseStore, storedLeases } from "../stored-leases.ts";
import { controlApi } from "./control-api.ts";
import { startEngine } from "./engine-client.ts";
import { SocksPorts } from "./socks-ports.ts";
import type { Engine, EngineOptions } from "./engine.ts";
import type { AttachKind } from "../engine/guest-ports.ts";
import { logPortEvent } from "../engine/port-events.ts";
import type { NetworkPlan } from "./engine-protocol.ts";
import { startHostResponder, type DnsPolicy, type HostResponder } from "./host-responder.ts";

export interface NetworkServiceOptions {
  plan: NetworkPlan;
  /** sockets on which guests attach */
  listen: { kind: AttachKind; path: string }[];
  /** control API socket; undefined: none */
  endpoint: string | undefined;
  /** socket that only this process uses, for DNS over TCP */
  dnsTcpPath: string;
  /** where leases are kept between runs; undefined: not kept */
  leaseFile: string | undefined;
  /** names the network knows: name → address or other name */
  hosts: Readonly<Record<string, string>>;
  dns: DnsPolicy;
  /** pcap file for all frames of the guests */
  capture: string | undefined;
  log: Log;
  /** starts the engine; in place of the one with a thread of its own */
  startEngine?: (options: EngineOptions) => Promise<Engine>;
}

export interface NetworkService {
  engine: Engine;
  dns: HostResponder;
  /** rejects when the engine has died; never resolves */
  failed: Promise<never>;
  close(): Promise<void>;
}

/** Starts everything; on failure nothing is left behind. */
export async function startNetworkService(options: NetworkServiceOptions): Promise<NetworkService> {
  const { plan, log } = options;
  const dns = startHostResponder(options.hosts, options.dns, parseCidr(plan.subnet));
  const { responder } = dns;
  let dnsServer: DnsServer | undefined;
  let api: HttpServer | undefined;
  let engine: Engine | undefined;
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  // whoever waits for it is told; until then it is no unhandled rejection
  failed.catch(() => {});
  const { leaseFile } = options;
  const leases = leaseFile === undefined ? undefined : new LeaseStore(leaseFile, log);
  let capture: CaptureFile | undefined;
  const captureTo = async (path: string | null) => {
    const before = capture;
    capture = path === null ? undefined : new CaptureFile(path, log);
    await engine?.request({ type: "capture", into: capture?.buffer ?? null });
    await before?.close();
  };
  const close = async () => {
    api?.close();
    await engine?.close();
    await capture?.close();
    leases?.close();
    dnsServer?.close();
    dns.close();
  };
  try {
    if (options.capture !== undefined) await captureTo(options.capture);
    // the engine starts in its own thread while the DNS socket is made
    const starting = (options.startEngine ?? startEngine)({
      plan,
      leases: leaseFile === undefined ? [] : storedLeases(leaseFile, log.warn),
      dnsTcpPath: options.dnsTcpPath,
      resolve: (message, client) => responder.answer(message, "udp", client),
      resolveName: (name) => responder.address(name),
      keepLeases: async (changed) => leases?.put(changed),
      onEvent: (event) => logPortEvent(event, log),
      onCaptured: () => capture?.wake(),
      onFailure: fail,
      ...(capture === undefined ? {} : { capture: capture.buffer }),
    });
    dnsServer = serveDnsUnix(responder, options.dnsTcpPath);
    engine = await starting;
    for (const { kind, path } of options.listen)
      await engine.request({ type: "listen", kind, path });
    if (options.endpoint !== undefined)
      api = await serveUnixHttp(
        options.endpoint,
        controlApi({
          engine,
          dns,
          plan,
          socks: new SocksPorts(engine, options.endpoint),
          captureTo,
        }),
      );
    return { engine, dns, failed, close };
  } catch (error) {
    await close();
    throw error;
  }
}
