/** Bodies of replies that are still good: by TTL, negative ones by their SOA (RFC 2308), the least used given up first. */
import { HEADER_LENGTH, rcodeOf, TYPE, u16, u32, type Shape } from "./message.ts";
import { RCODE } from "./reply.ts";

export interface CachedReply {
  body: Uint8Array;
  /** offsets of the TTLs in the body */
  ttlsAt: readonly number[];
  storedAtMs: number;
  expiresAtMs: number;
}

const MAX_ENTRIES = 4096;
const MAX_OCTETS = 4 * 1024 * 1024;
/** RFC 2308 5 wants negative answers forgotten sooner; what is asked again is right again */
const MAX_NEGATIVE_SECONDS = 300;
const MAX_SECONDS = 86_400;

export class ReplyCache {
  /** in the order of their last use */
  readonly #entries = new Map<string, CachedReply>();
  #octets = 0;

  get size(): number {
    return this.#entries.size;
  }

  get(key: string, now: number): CachedReply | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.expiresAtMs <= now) {
      this.#octets -= entry.body.length;
      return undefined;
    }
    this.#entries.set(key, entry);
    return entry;
  }

  /** Keeps a body for a time; what is kept for no time is not. */
  put(
    key: string,
    body: Uint8Array,
    ttlsAt: readonly number[],
    seconds: number,
    now: number,
  ): void {
    this.#drop(key);
    if (seconds <= 0) return;
    this.#entries.set(key, {
      body,
      ttlsAt,
      storedAtMs: now,
      expiresAtMs: now + seconds * 1000,
    });
    this.#octets += body.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES && this.#octets <= MAX_OCTETS) return;
      this.#drop(oldest);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#octets = 0;
  }

  #drop(key: string): void {
    this.#octets -= this.#entries.get(key)?.body.length ?? 0;
    this.#entries.delete(key);
  }
}

/** How long a reply of a name server may be kept, in seconds; 0: not at all. */
export function lifetimeOf(body: Uint8Array, { records }: Shape): number {
  const rcode = rcodeOf(body);
  if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) return 0;
  const answers = records.filter(({ section }) => section === "answer");
  const soa = records.find(({ section, type }) => section === "authority" && type === TYPE.SOA);
  const asked = questionType(body);
  // a chain of aliases without an end is as good a "no" as an empty answer
  const positive =
    rcode === RCODE.NOERROR &&
    answers.some(({ type }) => type === asked || asked === TYPE.ANY || type !== TYPE.CNAME);
  if (positive) return Math.min(MAX_SECONDS, ...answers.map(({ ttlAt }) => ttl(body, ttlAt)));
  // RFC 2308 5: without an SOA it is not kept
  if (soa === undefined || soa.end - soa.dataAt < 22) return 0;
  return Math.min(
    MAX_NEGATIVE_SECONDS,
    ttl(body, soa.ttlAt),
    ttl(body, soa.end - 4),
    ...answers.map(({ ttlAt }) => ttl(body, ttlAt)),
  );
}

/** RFC 2181 8: with the highest bit set it means nothing */
function ttl(octets: Uint8Array, at: number): number {
  const seconds = u32(octets, at);
  return seconds >= 0x80000000 ? 0 : seconds;
}

function questionType(body: Uint8Array): number {
  let at = HEADER_LENGTH;
  while (body[at] !== 0 && at < body.length) at += body[at]! + 1;
  return u16(body, at + 1);
}
