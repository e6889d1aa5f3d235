/**
 * The control API of a user-mode network: routes and JSON of gvisor-tap-vsock as Lima uses them (specification
 * section 8.8). It is served on a unix socket of the host only; no guest can reach it.
 */
import { parseEndpoint } from "../../addr/endpoint.ts";
import { parseIpv4 } from "../../addr/ipv4.ts";
import type { HttpHandler, HttpResponse } from "../../host/unix-http.ts";
import { sleep } from "../../host/clock.ts";
import { handlerOf, post, type Routes } from "./api-routes.ts";
import { DNS_ROUTES } from "./dns-routes.ts";
import type { Engine } from "./engine.ts";
import type { NetworkPlan, Transport } from "./engine-protocol.ts";
import type { HostResponder } from "./host-responder.ts";
import type { SocksPorts } from "./socks-ports.ts";

const DEFAULT_WAIT_SECONDS = 10;
const WAIT_STEP_MS = 250;

export interface ControlContext {
  engine: Engine;
  dns: HostResponder;
  plan: NetworkPlan;
  socks: SocksPorts;
  /** Starts to write all frames to a pcap file, in the place of the one before; null: to none. */
  captureTo: (path: string | null) => Promise<void>;
}

/** The handler for `serveUnixHttp`. */
export const controlApi = (context: ControlContext): HttpHandler => handlerOf(ROUTES, context);

const ROUTES: Routes<ControlContext> = {
  ...DNS_ROUTES,
  "/services/forwarder/all": async ({ engine }) => {
    const forwards = await engine.request({ type: "forwards" });
    forwards.sort((a, b) =>
      a.local < b.local ? -1 : a.local > b.local ? 1 : a.protocol < b.protocol ? -1 : 1,
    );
    return { status: 200, json: forwards };
  },
  "/services/forwarder/expose": post(async ({ engine }, body) => {
    const { local, remote, protocol } = body;
    const transport = transportOf(protocol);
    if (
      typeof local !== "string" ||
      local === "" ||
      typeof remote !== "string" ||
      transport === undefined
    ) {
      return { status: 400, text: "local, remote and a protocol of tcp, udp or unix are needed\n" };
    }
    const target = parseEndpoint(remote.replace(/^tcp:\/\//, ""));
    if (target === undefined || parseIpv4(target.host) === undefined || target.port === 0) {
      return { status: 400, text: `remote: not of the form IPv4:PORT: ${remote}\n` };
    }
    if (transport !== "unix" && parseEndpoint(local) === undefined) {
      return { status: 400, text: `local: not of the form IP:PORT: ${local}\n` };
    }
    try {
      await engine.request({
        type: "expose",
        forward: { local, remote: `${target.host}:${target.port}`, protocol: transport },
      });
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      const text =
        code === "EEXIST" ? `proxy already running for ${transport} on ${local}` : message;
      return { status: 500, text: `${text}\n` };
    }
    return { status: 200, text: "" };
  }),
  "/services/forwarder/unexpose": post(async ({ engine }, body) => {
    const transport = transportOf(body["protocol"]);
    const { local } = body;
    if (typeof local !== "string" || transport === undefined)
      return { status: 400, text: "local and protocol are needed\n" };
    await engine.request({ type: "unexpose", local, protocol: transport });
    return { status: 200, text: "" };
  }),
  "/services/dhcp/leases": leases,
  "/leases": leases,
  "/stats": async ({ engine }) => ({ status: 200, json: await engine.request({ type: "stats" }) }),
  "/cam": async ({ engine }) => ({ status: 200, json: await engine.request({ type: "cam" }) }),
  "/tunnel": async ({ engine }, { query }) => {
    const ip = query.get("ip") ?? "";
    const port = Number(query.get("port"));
    if (parseIpv4(ip) === undefined || !(port > 0 && port < 65536)) {
      return { status: 500, text: "ip and port are needed\n" };
    }
    return {
      status: 200,
      text: "OK",
      // a client waits for the greeting, so nothing can be early
      takeOver: (fd) => void engine.request({ type: "tunnel", fd, ip, port }),
    };
  },
  // ours: the SOCKS proxy of `limanet tunnel`
  "/limanet/socks": post(async ({ socks }, { port }) => {
    if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65535)
      return { status: 400, text: "port: a number from 0 to 65535 is needed\n" };
    return { status: 200, json: { local: `127.0.0.1:${await socks.open(port)}` } };
  }),
  // ours: what --capture does, while the network runs
  "/limanet/capture": post(async ({ captureTo }, { path }) => {
    if (path !== null && (typeof path !== "string" || !path.startsWith("/")))
      return { status: 400, text: "path, the absolute path of a file or null, is needed\n" };
    await captureTo(path);
    return { status: 200, text: "" };
  }),
  "/connect": async ({ engine }) => ({
    status: 200,
    takeOver: (fd, early) => void engine.request({ type: "attach-vpnkit", fd, early }),
  }),
  // ours: QEMU before 8.0 cannot connect a second time, but it can be connected to
  "/extension/attach": post(async ({ engine }, { path }) => {
    if (typeof path !== "string" || !path.startsWith("/"))
      return { status: 400, text: "path, the absolute path of a socket, is needed\n" };
    await engine.request({ type: "attach-listening", path });
    return { status: 200, text: "" };
  }),
  "/extension/wait_port": async ({ engine }, { query }) => {
    const ip = query.get("ip") ?? "";
    const port = Number(query.get("port"));
    const seconds = Number(query.get("timeout") ?? DEFAULT_WAIT_SECONDS);
    if (parseIpv4(ip) === undefined || !(port > 0 && port < 65536) || !(seconds >= 0)) {
      return { status: 400, text: "ip, port and a timeout in seconds are needed\n" };
    }
    const signal = AbortSignal.timeout(seconds * 1000);
    for (;;) {
      const outcome = await engine.request({ type: "probe", ip, port, timeoutMs: 1000 });
      if (outcome === "connected") return { status: 200, text: "" };
      if (signal.aborted)
        return { status: 408, text: `${ip}:${port} does not accept connections\n` };
      await sleep(WAIT_STEP_MS);
    }
  },
};

async function leases({ engine, plan }: ControlContext): Promise<HttpResponse> {
  const table: Record<string, string> = { [plan.gateway]: plan.gatewayMac };
  for (const lease of await engine.request({ type: "leases" })) table[lease.ip] = lease.mac;
  return { status: 200, json: table };
}

function transportOf(value: unknown): Transport | undefined {
  const protocol = value === undefined || value === "" ? "tcp" : value;
  return protocol === "tcp" || protocol === "udp" || protocol === "unix" ? protocol : undefined;
}
