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

/** what needs no answer */
export type EngineNotice = Exclude<
  EngineEvent,
  { type: "dns-query" | "name-query" | "leases-changed" | "frames-captured" }
>;

export interface EngineOptions {
  plan: NetworkPlan;
  /** leases of an earlier run */
  leases: Lease[];
  /** unix socket path of the DNS responder's stream listener */
  dnsTcpPath: string;
  /** answers a DNS query that came over UDP; undefined: stay silent */
  resolve(
    message: Uint8Array,
    client: string,
  ): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** the address of a name that a SOCKS client wants to reach; undefined: there is none */
  resolveName(name: string): Promise<string | undefined>;
  /** Stores the leases; until it resolves no guest is told of those that are new. */
  keepLeases(leases: readonly Lease[]): Promise<void>;
  onEvent(event: EngineNotice): void;
  /** the engine has died after it had started, or could not start; every request fails from now on */
  onFailure(why: Error): void;
  /** ring of a capture from the first frame on; undefined: none */
  capture?: SharedArrayBuffer;
  /** there are frames in the capture's ring */
  onCaptured(): void;
}
