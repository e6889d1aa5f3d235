/** Why a place on the host cannot be bound for a forward, who has it, and what to do about it. */
import { parseEndpoint } from "../../addr/endpoint.ts";
import { isWildcardIp } from "../../addr/ip-text.ts";
import { portAdvice } from "../../host/loopback-peers.ts";
import { hostPlatform, userName } from "../../host/machine.ts";
import { portHolder } from "../../host/port-holder.ts";
import { tryToBind } from "../../host/listening-sockets.ts";
import { inspectInstance, instanceNames } from "../../instance/store.ts";
import { forwardsOf } from "./forward-states.ts";
import type { PlannedForward } from "./forward-plan.ts";

export interface ForwardFailure {
  /** specification 17.6: what is no more than usual is only "not forwarding" */
  type: "failed" | "not-forwarding";
  why: string;
}

/** a host without IPv6 has no ::1, and nobody misses it there */
const NO_IPV6 = new Set(["EADDRNOTAVAIL", "EAFNOSUPPORT"]);
/** ports of the host's own services */
const USUALLY_TAKEN = new Set([53, 323, 5353, 5355]);

/** Looks into an attempt that has failed. `name`: the instance whose forward it is. */
export async function forwardFailure(
  home: string,
  name: string,
  forward: PlannedForward,
  local: string,
  error: Error,
): Promise<ForwardFailure> {
  const endpoint = parseEndpoint(local);
  if (endpoint === undefined) return { type: "failed", why: error.message };
  const { host, port } = endpoint;
  const problem = tryToBind(forward.protocol, host, port);
  if (problem === undefined) return { type: "failed", why: error.message };
  if (problem.code === "EACCES") {
    return { type: "not-forwarding", why: portAdvice(hostPlatform(), String(port)) };
  }
  const isUsual = USUALLY_TAKEN.has(port) || (host === "::1" && NO_IPV6.has(problem.code));
  const type = isUsual ? "not-forwarding" : "failed";
  if (problem.code !== "EADDRINUSE") return { type, why: problem.message };
  const owner =
    (await instanceWith(home, name, forward.protocol, host, port)) ??
    holder(forward.protocol, host, port);
  return { type, why: `the address is in use by ${owner} (stop that, or choose another hostPort)` };
}

/** another instance of this home that has the port */
async function instanceWith(
  home: string,
  name: string,
  protocol: string,
  ip: string,
  port: number,
): Promise<string | undefined> {
  for (const other of instanceNames(home)) {
    if (other === name) continue;
    const { paths, status, sshPort } = inspectInstance(home, other);
    if (status !== "Running") continue;
    if (protocol === "tcp" && sshPort === port) return `the instance ${other} for ssh`;
    const has = (await forwardsOf(paths)).some(
      (row) => row.protocol === protocol && row.bound.some((bound) => overlaps(bound, ip, port)),
    );
    if (has) return `the instance ${other}`;
  }
  return undefined;
}

function overlaps(bound: string, ip: string, port: number): boolean {
  const endpoint = parseEndpoint(bound);
  if (endpoint?.port !== port) return false;
  return endpoint.host === ip || isWildcardIp(endpoint.host) || isWildcardIp(ip);
}

function holder(protocol: PlannedForward["protocol"], ip: string, port: number): string {
  const found = portHolder(protocol, ip, port);
  if (found === undefined) return "something that this system does not name";
  if (found.process !== undefined) return `${found.process.name} (process ${found.process.pid})`;
  return `a process of the user ${userName(found.uid)}, which only that user and root may look into`;
}
