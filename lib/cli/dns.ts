/** What `limanet dns serve`, `query` and `explain` do; each gives the exit code. */
import { parseEndpoint, formatEndpoint } from "../addr/endpoint.ts";
import { isLoopback, parseIpv4 } from "../addr/ipv4.ts";
import { networkPaths } from "../config/paths.ts";
import {
  DEFAULT_DNS_POLICY,
  startHostResponder,
  type DnsPolicy,
} from "../daemon/network/host-responder.ts";
import { userV2Network } from "../daemon/reconcile.ts";
import { UsageError } from "../daemon/usernet.ts";
import { monotonicMs, random32 } from "../host/clock.ts";
import { serveDns } from "../host/dns-server.ts";
import { NameServerUpstream } from "../host/dns-upstream.ts";
import { limanetHome } from "../host/machine.ts";
import { terminationSignal } from "../host/signals.ts";
import { writeOut } from "../host/terminal.ts";
import { requestUnixHttp } from "../host/unix-http.ts";
import { loadNetworks } from "../instance/settings.ts";
import { inspectInstance } from "../instance/store.ts";
import { statusName, type Explanation } from "../service/dns/explanation.ts";
import { isTruncated, queryOctets, rcodeOf, recordsText, typeOf } from "../service/dns/message.ts";
import { UDP_PAYLOAD_SIZE } from "../service/dns/reply.ts";
import { addressFamily, type HostTable } from "../service/dns/static-hosts.ts";
import { controlEndpoint } from "./control-endpoint.ts";

const DNS_PORT = 53;
/** how dig tells them */
const NO_ANSWER = 9;

export interface ServeOptions {
  listen: string;
  host?: string[] | undefined;
  policy: DnsPolicy;
}

/** Runs the host resolver by itself until a signal. */
export async function serve({ listen, host = [], policy }: ServeOptions): Promise<number> {
  const at = parseEndpoint(listen);
  const address = at === undefined ? undefined : parseIpv4(at.host);
  if (at === undefined || (at.host !== "::1" && address === undefined))
    throw new UsageError(`Cannot listen on ${listen}: not of the form ADDRESS:PORT`);
  if (address !== undefined && !isLoopback(address))
    throw new UsageError(
      `Cannot listen on ${listen}: it would answer strangers (take a loopback address, such as 127.0.0.1:5300)`,
    );
  const hosts: Record<string, string> = {};
  for (const item of host) {
    const [name = "", target = ""] = item.split("=");
    if (name === "" || target === "")
      throw new UsageError(
        `Cannot use the host ${item}: not of the form NAME=ADDRESS or NAME=NAME`,
      );
    hosts[name] = target;
  }
  const stop = terminationSignal();
  const dns = startHostResponder(hosts, policy);
  const server = await serveDns(dns.responder, at.host, at.port);
  writeOut(`serving DNS on ${formatEndpoint({ host: at.host, port: server.port })}\n`);
  await stop;
  server.close();
  dns.close();
  return 0;
}

export interface Whom {
  server?: string | undefined;
  instance?: string | undefined;
  network?: string | undefined;
}

export interface QueryOptions extends Whom {
  tcp?: true | undefined;
  json?: true | undefined;
}

/** Asks a name as a guest would, or of one server. */
export async function query(name: string, type: string, options: QueryOptions): Promise<number> {
  const octets = queryFor(name, type);
  const started = monotonicMs();
  const asked = await ask(octets, options);
  const took = Math.round((monotonicMs() - started) * 100) / 100;
  if (asked === undefined) {
    writeOut(options.json ? `${JSON.stringify({ status: null })}\n` : "no answer\n");
    return NO_ANSWER;
  }
  const status = statusName(rcodeOf(asked));
  const records = recordsText(asked);
  if (options.json) {
    const { length } = asked;
    const whole = {
      status,
      truncated: isTruncated(asked),
      records,
      octets: length,
      milliseconds: took,
    };
    writeOut(`${JSON.stringify(whole)}\n`);
    return 0;
  }
  const cut = isTruncated(asked) ? ", truncated" : "";
  writeOut(`${status}${cut}, ${asked.length} octets, ${took} ms\n`);
  for (const { section, text } of records)
    writeOut(section === "answer" ? `${text}\n` : `${text}  (${section})\n`);
  return 0;
}

function queryFor(name: string, type: string): Uint8Array {
  const number = typeOf(type);
  if (number === undefined)
    throw new UsageError(`Cannot ask for ${type}: no DNS type (A, MX, TYPE65 and so on are)`);
  try {
    return queryOctets(random32() & 0xffff, name, number, { payloadSize: UDP_PAYLOAD_SIZE });
  } catch {
    throw new UsageError(`Cannot ask for ${name}: it is no DNS name`);
  }
}

async function ask(octets: Uint8Array, options: QueryOptions): Promise<Uint8Array | undefined> {
  if (options.server !== undefined) {
    const server = serverOf(options.server);
    const upstream = new NameServerUpstream();
    const reply = await upstream.relay(octets, {
      servers: [server],
      origin: "--server",
      domain: undefined,
    });
    upstream.close();
    return reply;
  }
  const transport = options.tcp === true ? "tcp" : "udp";
  const endpoint = endpointOf(options);
  if (endpoint === undefined) {
    const dns = startHostResponder(noHosts, DEFAULT_DNS_POLICY);
    const reply = await dns.responder.answer(octets, transport);
    dns.close();
    return reply;
  }
  const body = { transport, query: toHex(octets) };
  const { reply } = JSON.parse(await call(endpoint, "POST", "/limanet/dns/query", body)) as {
    reply: string | null;
  };
  return reply === null ? undefined : fromHex(reply);
}

const noHosts: HostTable = {};
const toHex = (octets: Uint8Array): string => octets.toHex();
const fromHex = (text: string): Uint8Array => Uint8Array.fromHex(text);

function serverOf(text: string): { address: string; port: number } {
  if (addressFamily(text) !== undefined) return { address: text, port: DNS_PORT };
  const at = parseEndpoint(text);
  if (at === undefined || addressFamily(at.host) === undefined)
    throw new UsageError(`Cannot ask the server ${text}: not of the form ADDRESS or ADDRESS:PORT`);
  return { address: at.host, port: at.port };
}

/** Says which source answers a name, and why. */
export async function explain(
  name: string,
  type: string,
  options: Omit<Whom, "server"> & { json?: true | undefined },
): Promise<number> {
  queryFor(name, type);
  const told = await explanation(name, type, options);
  writeOut(options.json ? `${JSON.stringify(told)}\n` : explanationText(told));
  return 0;
}

async function explanation(name: string, type: string, whom: Whom): Promise<Explanation> {
  const endpoint = endpointOf(whom);
  if (endpoint !== undefined) {
    const target = `/limanet/dns/explain?${new URLSearchParams({ name, type }).toString()}`;
    return JSON.parse(await call(endpoint, "GET", target)) as Explanation;
  }
  const dns = startHostResponder(noHosts, DEFAULT_DNS_POLICY);
  const told = await dns.responder.explain(name, typeOf(type)!);
  dns.close();
  return told;
}

function explanationText(told: Explanation): string {
  const { cache } = told;
  const lines = [
    `${told.name} ${told.type}: ${told.status}`,
    `source: ${told.source} (${told.why})`,
    ...(told.servers.length === 0 ? [] : [`servers: ${told.servers.join(", ")}`]),
    ...told.answers.map((answer) => `answer: ${answer}`),
    `time: ${told.milliseconds} ms`,
    !cache.cached
      ? "cache: not in it before"
      : cache.secondsLeft === undefined
        ? "cache: in it until something changes"
        : `cache: in it for ${cache.secondsLeft} s more`,
  ];
  return `${lines.join("\n")}\n`;
}

/** The control API of whoever answers a guest's DNS; undefined: nobody is named. */
function endpointOf({ instance, network }: Whom): string | undefined {
  const home = limanetHome();
  if (network !== undefined) {
    userV2Network(loadNetworks(home), network);
    return networkPaths(home, network).endpoint;
  }
  return instance === undefined
    ? undefined
    : controlEndpoint(home, inspectInstance(home, instance));
}

async function call(endpoint: string, method: "GET" | "POST", target: string, body?: unknown) {
  const answer = await requestUnixHttp(endpoint, method, target, body).catch(() => undefined);
  if (answer === undefined)
    throw new Error(`Cannot ask the network: nobody serves ${endpoint} (start an instance on it)`);
  if (answer.status !== 200) throw new Error(`Cannot ask the network: ${answer.body.trim()}`);
  return answer.body;
}
