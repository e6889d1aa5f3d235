/** What is told of an instance's forwards: wanted, actual, and how it stands. */
import type { InstancePaths } from "../../config/paths.ts";
import { sleep } from "../../host/clock.ts";
import { requestUnixHttp } from "../../host/unix-http.ts";

export interface ForwardRow {
  protocol: "tcp" | "udp" | "any";
  /** what it leads to: endpoint or socket in the guest */
  guest: string;
  /** where it is wanted on the host; "": nowhere */
  host: string;
  /** what is bound for it in fact */
  bound: string[];
  /** undefined: nothing carries it */
  via?: "network" | "ssh" | "ssh-reverse";
  state: "forwarding" | "waiting" | "not-forwarding" | "failed";
  /** why the state is not what was wanted, or what is wrong although it is */
  error?: string;
}

const ANSWER_LIMIT_MS = 2000;

/** The forwards of a running instance, as its host agent tells them; none when it does not answer. */
export async function forwardsOf(paths: InstancePaths): Promise<ForwardRow[]> {
  const asked = requestUnixHttp(paths.hostAgentSocket, "GET", "/v1/forwards").then(
    ({ status, body }) => (status === 200 ? (JSON.parse(body) as ForwardRow[]) : []),
    () => [],
  );
  return (await Promise.race([asked, sleep(ANSWER_LIMIT_MS)])) ?? [];
}
