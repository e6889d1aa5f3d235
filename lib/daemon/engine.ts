import type {
  EngineEvent,
  EngineReplies,
  EngineRequest,
  Lease,
  NetworkPlan,
} from "./engine-protocol.ts";

/** The main thread's handle on a running engine thread. Implemented in `engine-client.ts`. */
export interface Engine {
  /** Sends one request; rejects with an `EngineError` (literal `code`, a sentence as message). */
  request<R extends EngineRequest>(request: R): Promise<EngineReplies[R["type"]]>;
  /** Releases every socket and ends the thread. */
  close(): Promise<void>;
}

export interface EngineOptions {
  plan: NetworkPlan;
  /** leases of an earlier run */
  leases: Lease[];
  /** unix socket path of the DNS responder's stream listener */
  dnsTcpPath: string;
  /** answers a DNS query that came over UDP; undefined: stay silent */
  resolve(message: Uint8Array, client: string): Promise<Uint8Array | undefined>;
  onEvent(event: Exclude<EngineEvent, { type: "dns-query" }>): void;
  /** the engine has died after it had started, or could not start; every request fails from now on */
  onFailure(why: Error): void;
  /** pcap file; undefined: none */
  capture?: string;
}
