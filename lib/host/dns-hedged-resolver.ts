/**
 * The system's resolver, with a way round it while it waits for a name server that is dead: it asks one server after
 * the other, for seconds each. What its servers say themselves counts then, as far as they know the name.
 */
import { isReply, queryOctets, rcodeOf, shapeOf, TYPE } from "../service/dns/message.ts";
import { RCODE } from "../service/dns/reply.ts";
import type { SystemAnswer, SystemResolver, Upstream } from "../service/dns/responder.ts";
import type { HostNaming } from "../service/dns/sources.ts";
import { sleep } from "./clock.ts";

/** a resolver that is well has answered by then, if not always one whose servers have to ask others */
const PATIENCE_MS = 400;

export class HedgedSystemResolver implements SystemResolver {
  readonly #system: SystemResolver;
  readonly #upstream: Upstream;
  readonly #naming: HostNaming;

  constructor(system: SystemResolver, upstream: Upstream, naming: HostNaming) {
    this.#system = system;
    this.#upstream = upstream;
    this.#naming = naming;
  }

  addresses(name: string, family: 4 | 6, withRaw: boolean): Promise<SystemAnswer> {
    const system = this.#system.addresses(name, family, withRaw);
    // others than name servers know it
    if (!withRaw) return system;
    const type = family === 4 ? TYPE.A : TYPE.AAAA;
    const around = async (): Promise<SystemAnswer | undefined> => {
      const raw = await this.#relay(name, type);
      // that there is no such name is the system's to say: it may know more than DNS
      if (raw === undefined || !hasRecord(raw, type)) return undefined;
      return { kind: "addresses", addresses: [], canonicalName: undefined, raw };
    };
    return firstAnswer(system, around, ({ kind }) => kind !== "overload");
  }

  query(name: string, type: number): Promise<Uint8Array | undefined> {
    return firstAnswer(
      this.#system.query(name, type),
      () => this.#relay(name, type),
      (reply) => reply !== undefined,
    );
  }

  async #relay(name: string, type: number): Promise<Uint8Array | undefined> {
    const raw = await this.#upstream.relay(queryOctets(0, name, type), this.#naming.route(name));
    return raw === undefined || rcodeOf(raw) === RCODE.SERVFAIL || !isReply(raw) ? undefined : raw;
  }
}

const hasRecord = (raw: Uint8Array, type: number): boolean =>
  shapeOf(raw)?.records.some((record) => record.section === "answer" && record.type === type) ??
  false;

/** The system's answer, or what the way round it says when the system takes long or cannot. */
async function firstAnswer<T>(
  system: Promise<T>,
  around: () => Promise<T | undefined>,
  isAnswer: (answer: T) => boolean,
): Promise<T> {
  const patience = new AbortController();
  const early = await Promise.race([
    system.then((answer) => ({ answer })),
    sleep(PATIENCE_MS, patience.signal),
  ]);
  patience.abort();
  if (early !== undefined && isAnswer(early.answer)) return early.answer;
  const other = around();
  return Promise.any([
    other.then((answer) => answer ?? Promise.reject(new Error("no answer"))),
    system.then((answer) => (isAnswer(answer) ? answer : Promise.reject(new Error("no answer")))),
  ]).catch(() => system);
}
