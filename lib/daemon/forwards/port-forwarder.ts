/**
 * Makes an instance's forwards what the plan says, tells of each change (specification, section 17.6), and tries again what
 * has failed. Plans may come at any time; the last one counts.
 */
import { sleep } from "../../host/clock.ts";
import type { Log } from "../../trace/log.ts";
import type { ForwardFailure } from "./forward-failure.ts";
import { endOf, forwardKey, type ForwardPlan, type PlannedForward } from "./forward-plan.ts";
import type { ForwardRow } from "./forward-states.ts";

/** Something that carries forwards; both throw sentences. */
export interface Carrier {
  open(local: string, forward: PlannedForward): Promise<void>;
  close(local: string, forward: PlannedForward): Promise<void>;
}

export interface ForwardEvent {
  type: "forwarding" | "not-forwarding" | "stopping" | "failed";
  protocol: string;
  guestAddr: string;
  hostAddr?: string;
  error?: string;
}

export interface PortForwarderOptions {
  carriers: Record<PlannedForward["way"]["via"], Carrier>;
  explain(forward: PlannedForward, local: string, error: Error): Promise<ForwardFailure>;
  emit(event: ForwardEvent): void;
  log: Log;
}

interface Actual {
  forward: PlannedForward;
  bound: string[];
  state: "forwarding" | "not-forwarding" | "failed";
  error?: string;
  /** the error is no more than usual */
  isUsual?: boolean;
}

const RETRY_MS = 10_000;
const NO_PLAN: ForwardPlan = { forwards: [], refused: [], waiting: [] };

export class PortForwarder {
  readonly #options: PortForwarderOptions;
  readonly #actual = new Map<string, Actual>();
  #plan = NO_PLAN;
  #toldRefused = new Set<string>();
  /** the work before this must be done first */
  #queue: Promise<void> = Promise.resolve();
  #pending = 0;
  #closed = false;

  constructor(options: PortForwarderOptions) {
    this.#options = options;
  }

  /** Carries out a plan; resolves when it, or a later one, is carried out. */
  apply(plan: ForwardPlan): Promise<void> {
    this.#plan = plan;
    this.#pending++;
    return this.#enqueue(async () => {
      // only the last of those that wait counts
      if (--this.#pending === 0) await this.#carryOut(this.#plan);
    });
  }

  /** What ssh carried is gone with its connection: it is made again. */
  restoreSsh(): Promise<void> {
    return this.#enqueue(async () => {
      for (const [key, { forward, bound }] of [...this.#actual]) {
        if (forward.way.via === "network" || bound.length === 0) continue;
        await this.#release(forward, bound);
        await this.#open(key, forward);
      }
    });
  }

  /** Tries again what has failed, until the signal comes. */
  async retry(signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(RETRY_MS, signal);
      if (signal.aborted) return;
      await this.retryFailed();
    }
  }

  retryFailed(): Promise<void> {
    return this.#enqueue(async () => {
      for (const [key, { forward, state }] of [...this.#actual])
        if (state !== "forwarding") await this.#open(key, forward);
    });
  }

  /** Ends all forwards. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue;
    for (const [key, actual] of [...this.#actual]) await this.#stop(key, actual);
  }

  /** sentences about forwards that could not be made, or only in part */
  errors(): string[] {
    return [...this.#actual.values()].flatMap(({ forward, error, isUsual }) => {
      if (error === undefined || isUsual === true) return [];
      return [sentence(forward, error)];
    });
  }

  rows(): ForwardRow[] {
    const rows: ForwardRow[] = [];
    for (const { forward, bound, state, error } of this.#actual.values()) {
      const { protocol, guest, host, way } = forward;
      const why = error ?? forward.remark;
      const row = { protocol, guest, host, bound, via: way.via, state };
      rows.push(why === undefined ? row : { ...row, error: why });
    }
    for (const { protocol, guest, host = "", why, silent } of this.#plan.refused)
      if (!silent)
        rows.push({ protocol, guest, host, bound: [], state: "not-forwarding", error: why });
    for (const waiting of this.#plan.waiting)
      rows.push({ ...waiting, bound: [], state: "waiting" });
    return rows;
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(async () => {
      if (!this.#closed) await work();
    });
    this.#queue = done.catch((error: Error) => this.#options.log.error(error.message));
    return done;
  }

  async #carryOut(plan: ForwardPlan): Promise<void> {
    const wanted = new Map(plan.forwards.map((forward) => [forwardKey(forward), forward]));
    // what is new comes before what goes (specification 17.6)
    for (const [key, forward] of wanted) if (!this.#actual.has(key)) await this.#open(key, forward);
    for (const [key, actual] of [...this.#actual]) {
      const forward = wanted.get(key);
      if (forward === undefined) await this.#stop(key, actual);
      else if (!isSameWay(forward, actual.forward)) {
        await this.#release(actual.forward, actual.bound);
        await this.#open(key, forward);
      } else actual.forward = forward;
    }
    this.#tellRefused(plan);
  }

  /** Binds what a forward is to have. The first place must be had; the others are said when they cannot be. */
  async #open(key: string, forward: PlannedForward): Promise<void> {
    const carrier = this.#options.carriers[forward.way.via];
    const before = this.#actual.get(key);
    const actual: Actual = { forward, bound: [], state: "forwarding" };
    this.#actual.set(key, actual);
    for (const local of forward.locals) {
      try {
        await carrier.open(local, forward);
        actual.bound.push(local);
      } catch (error) {
        const { type, why } = await this.#options.explain(forward, local, error as Error);
        actual.isUsual = type === "not-forwarding";
        if (actual.bound.length === 0) {
          actual.state = type;
          actual.error = why;
          break;
        }
        actual.error = `only ${actual.bound.join(", ")} is bound, not ${local}: ${why}`;
      }
    }
    // what has failed before for the same reason has been said
    if (before?.state === actual.state && before.error === actual.error) return;
    this.#tell(actual.state, forward, actual.error);
    if (actual.error !== undefined && actual.isUsual !== true)
      this.#options.log.warn(sentence(forward, actual.error));
  }

  async #stop(key: string, { forward, bound, state }: Actual): Promise<void> {
    this.#actual.delete(key);
    if (state === "forwarding") this.#tell("stopping", forward);
    await this.#release(forward, bound);
  }

  async #release(forward: PlannedForward, bound: readonly string[]): Promise<void> {
    const carrier = this.#options.carriers[forward.way.via];
    for (const local of bound) {
      // the network, or ssh, may be gone and the place with it
      await carrier
        .close(local, forward)
        .catch((error: Error) =>
          this.#options.log.info?.(`the forward of ${local} was gone already: ${error.message}`),
        );
    }
  }

  #tellRefused({ refused }: ForwardPlan): void {
    const told = new Set<string>();
    for (const { protocol, guest, host, why, silent } of refused) {
      if (silent) continue;
      const key = `${protocol} ${guest} ${host ?? ""} ${why}`;
      told.add(key);
      if (this.#toldRefused.has(key)) continue;
      this.#options.log.info?.(`Not forwarding ${protocol.toUpperCase()} ${guest}: ${why}`);
      const event: ForwardEvent = {
        type: "not-forwarding",
        protocol,
        guestAddr: guest,
        error: why,
      };
      this.#options.emit(host === undefined ? event : { ...event, hostAddr: host });
    }
    this.#toldRefused = told;
  }

  #tell(type: ForwardEvent["type"], forward: PlannedForward, error?: string): void {
    const { protocol, guest, host } = forward;
    const words = {
      forwarding: "Forwarding",
      stopping: "Stopping forwarding",
      failed: "Failed to forward",
      "not-forwarding": "Not forwarding",
    };
    const line = `${words[type]} ${protocol.toUpperCase()} from ${guest} to ${host}`;
    this.#options.log.info?.(error === undefined ? line : `${line}: ${error}`);
    const event: ForwardEvent = { type, protocol, guestAddr: guest, hostAddr: host };
    this.#options.emit(error === undefined ? event : { ...event, error });
  }
}

/** with the protocol, since a rule for any makes two forwards that may both fail */
const sentence = ({ protocol, host, guest }: PlannedForward, why: string): string =>
  `Cannot forward ${protocol.toUpperCase()} ${host} to ${guest}: ${why}`;

const isSameWay = (a: PlannedForward, b: PlannedForward): boolean =>
  a.way.via === b.way.via && endOf(a.way) === endOf(b.way);
