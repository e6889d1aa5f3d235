/**
 * The control API of a user-mode network: routes and JSON of gvisor-tap-vsock as Lima uses them (specification
 * section 8.8). It is served on a unix socket of the host only; no guest can reach it.
 */
import { parseEndpoint } from "../../addr/endpoint.ts";
import { parseIpv4 } from "../../addr/ipv4.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "../../host/unix-http.ts";
import { sleep } from "../../host/clock.ts";
import { typeOf } from "../../service/dns/message.ts";
import { zonesOfHosts, type Zone } from "../../service/dns/zones.ts";
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
}

/** The handler for `serveUnixHttp`. */
export function controlApi(context: ControlContext): HttpHandler {
  return async (request) => {
    const route = ROUTES[request.path];
    if (route === undefined) return { status: 404, text: "404 page not found\n" };
    try {
      return await route(context, request);
    } catch (error) {
      return { status: 500, text: `${(error as Error).message}\n` };
    }
  };
}

type Route = (context: ControlContext, request: HttpRequest) => Promise<HttpResponse>;

const ROUTES: Record<string, Route> = {
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
  "/services/dns/all": async ({ dns }) => ({
    status: 200,
    json: [...dns.zones.all(), ...zonesOfHosts(dns.hosts.all())],
  }),
  "/services/dns/add": post(async ({ dns }, body) => {
    const zone = zoneOf(body);
    if (typeof zone === "string") return { status: 400, text: `${zone}\n` };
    dns.zones.add(zone);
    return { status: 200, text: "" };
  }),
  // ours: one owner's static hosts, in place of those it had; unlike a zone they may stand for names elsewhere
  "/limanet/dns/hosts": post(async ({ dns }, body) => {
    const { owner, hosts } = body;
    if (typeof owner !== "string" || owner === "" || !isTextMap(hosts))
      return { status: 400, text: "owner and hosts, an object of texts, are needed\n" };
    dns.hosts.set(owner, hosts);
    return { status: 200, text: "" };
  }),
  // ours: a query as a guest would send it, in hexadecimal digits
  "/limanet/dns/query": post(async ({ dns }, { query, transport }) => {
    if (typeof query !== "string" || !/^([0-9a-f]{2})+$/i.test(query))
      return { status: 400, text: "query, a message in hexadecimal digits, is needed\n" };
    const octets = Uint8Array.fromHex(query);
    const reply = await dns.responder.answer(
      octets,
      transport === "tcp" ? "tcp" : "udp",
      "control",
    );
    return { status: 200, json: { reply: reply === undefined ? null : reply.toHex() } };
  }),
  // ours: which source answers a name, and why
  "/limanet/dns/explain": async ({ dns }, { query }) => {
    const type = typeOf(query.get("type") ?? "A");
    if (type === undefined)
      return { status: 400, text: `type: no DNS type: ${query.get("type")}\n` };
    try {
      return { status: 200, json: await dns.responder.explain(query.get("name") ?? "", type) };
    } catch (error) {
      return { status: 400, text: `name: ${(error as Error).message}\n` };
    }
  },
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

/** A route that takes a JSON object by POST. */
function post(
  handle: (context: ControlContext, body: Record<string, unknown>) => Promise<HttpResponse>,
): Route {
  return async (context, request) => {
    if (request.method !== "POST") return { status: 400, text: "post only\n" };
    let body: unknown;
    try {
      body = JSON.parse(new TextDecoder().decode(request.body));
    } catch (error) {
      return { status: 400, text: `${(error as Error).message}\n` };
    }
    if (typeof body !== "object" || body === null || Array.isArray(body)) {
      return { status: 400, text: "a JSON object is needed\n" };
    }
    return handle(context, body as Record<string, unknown>);
  };
}

const isTextMap = (value: unknown): value is Record<string, string> =>
  typeof value === "object" &&
  value !== null &&
  Object.values(value).every((text) => typeof text === "string");

function transportOf(value: unknown): Transport | undefined {
  const protocol = value === undefined || value === "" ? "tcp" : value;
  return protocol === "tcp" || protocol === "udp" || protocol === "unix" ? protocol : undefined;
}

function zoneOf(body: Record<string, unknown>): Zone | string {
  const { Name: name, Records: records, DefaultIP: defaultIp } = body;
  if (typeof name !== "string" || name === "") return "Name is needed";
  if (records !== undefined && records !== null && !Array.isArray(records))
    return "Records: a list is needed";
  const zone: Zone = { Name: name, Records: [] };
  for (const record of (records ?? []) as unknown[]) {
    const { Name, IP, Regexp } = (record ?? {}) as Record<string, unknown>;
    if (typeof IP !== "string" || parseIpv4(IP) === undefined)
      return `Records: not an IPv4 address: ${String(IP)}`;
    zone.Records.push({
      Name: typeof Name === "string" ? Name : "",
      IP,
      ...(typeof Regexp === "string" && Regexp !== "" ? { Regexp } : {}),
    });
  }
  if (typeof defaultIp === "string" && defaultIp !== "") {
    if (parseIpv4(defaultIp) === undefined) return `DefaultIP: not an IPv4 address: ${defaultIp}`;
    zone.DefaultIP = defaultIp;
  }
  return zone;
}
