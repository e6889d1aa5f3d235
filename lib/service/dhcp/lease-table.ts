/**
 * Which client has which address of a subnet. A client is known by its hardware address and, when it has one, its identifier
 * (option 61), and keeps its address as long as that is free; hardware address and identifier of one client are the same
 * lease. An identifier alone is not enough, other than in RFC 2131 4.2: every guest can send another's, and machines that
 * are copies of each other have the same. What the guests of one port have and refuse is bounded.
 */
import { formatIpv4, parseIpv4 } from "../../addr/ipv4.ts";
import { formatMac, parseMac } from "../../addr/mac.ts";

/** A lease as it is stored and shown. */
export interface Lease {
  ip: string;
  mac: string;
  /** option 61 as hex, when the client sent one */
  clientId?: string;
  /** option 12 */
  hostname?: string;
  /** Unix milliseconds; undefined: never (static) */
  expiresAt?: number;
}

/** Stored leases as they count now: one that was given while the wall clock was ahead ends no later than one given now. */
export const endingBy = (latest: number, leases: readonly Lease[]): Lease[] =>
  leases.map((lease) =>
    lease.expiresAt === undefined
      ? lease
      : { ...lease, expiresAt: Math.min(lease.expiresAt, latest) },
  );

export interface Binding {
  address: number;
  mac: number;
  /** hex of option 61, or undefined */
  clientId: string | undefined;
  hostname: string | undefined;
  /** Unix ms; Infinity: static */
  expiresAt: number;
  /** offered only, not yet requested */
  offered: boolean;
  /** where the client was when it was given the binding, last; -1: not in this run */
  port: number;
}

/** how long an offered address is kept for the client to request it */
const OFFER_MS = 60_000;
/** how long a declined address is not handed out */
const DECLINED_MS = 600_000;
/** leases in force of one port's clients, and addresses that they found in use */
const MAX_PER_PORT = 16;

export interface PoolPlan {
  /** every address that may be handed out, in order of preference; computed lazily for wide subnets */
  first: number;
  last: number;
  /** never handed out to clients without a static lease */
  excluded: ReadonlySet<number>;
  /** contains all addresses of leases; requests outside are refused */
  contains(address: number): boolean;
  /** a guest other than the one at this port uses it without a lease */
  isHeldByOther(address: number, port: number): boolean;
}

export class LeaseTable {
  readonly #plan: PoolPlan;
  readonly #byAddress = new Map<number, Binding>();
  readonly #byClient = new Map<string, Binding>();
  readonly #declined = new Map<number, { until: number; port: number }>();
  readonly #onPortLimit: () => void;
  /** the table differs from what was last stored */
  changed = false;

  /** onPortLimit: a port's oldest lease has given way to a new one */
  constructor(
    plan: PoolPlan,
    staticLeases: readonly Lease[],
    stored: readonly Lease[],
    onPortLimit: () => void,
  ) {
    this.#plan = plan;
    this.#onPortLimit = onPortLimit;
    for (const lease of staticLeases) this.#restore(lease, Infinity);
    // what is static is in the plan; a stored lease without an end was static in an earlier one
    for (const lease of stored)
      if (lease.expiresAt !== undefined) this.#restore(lease, lease.expiresAt);
  }

  #restore(lease: Lease, expiresAt: number): void {
    const address = parseIpv4(lease.ip);
    const mac = parseMac(lease.mac);
    if (address === undefined || mac === undefined || !this.#plan.contains(address)) return;
    const isStatic = expiresAt === Infinity;
    if ((!isStatic && this.#plan.excluded.has(address)) || this.#byAddress.has(address)) return;
    const { clientId, hostname } = lease;
    // clients with identifiers may share a hardware address, and each has a lease of its own
    if (this.of(mac, clientId) !== undefined) return;
    this.#insert({ address, mac, clientId, hostname, expiresAt, offered: false, port: -1 });
  }

  #insert(binding: Binding): void {
    this.#byAddress.set(binding.address, binding);
    this.#byClient.set(keyOf(binding.mac, binding.clientId), binding);
    if (binding.clientId !== undefined && !this.#byClient.has(keyOf(binding.mac, undefined))) {
      this.#byClient.set(keyOf(binding.mac, undefined), binding);
    }
  }

  #remove(binding: Binding): void {
    this.#byAddress.delete(binding.address);
    for (const key of [keyOf(binding.mac, binding.clientId), keyOf(binding.mac, undefined)]) {
      if (this.#byClient.get(key) === binding) this.#byClient.delete(key);
    }
    this.changed = true;
  }

  /** the client's binding, expired or not */
  of(mac: number, clientId: string | undefined): Binding | undefined {
    return this.#byClient.get(keyOf(mac, clientId)) ?? this.#staticOf(mac);
  }

  #staticOf(mac: number): Binding | undefined {
    const binding = this.#byClient.get(keyOf(mac, undefined));
    return binding?.expiresAt === Infinity || binding?.clientId === undefined ? binding : undefined;
  }

  at(address: number): Binding | undefined {
    return this.#byAddress.get(address);
  }

  /** hardware address of the client whose lease is in force; undefined: it is nobody's */
  leasedTo(now: number, address: number): number | undefined {
    const binding = this.#byAddress.get(address);
    return binding === undefined || binding.offered || binding.expiresAt < now
      ? undefined
      : binding.mac;
  }

  /** Finds an address for a client and keeps it for the time of an offer; undefined: the pool is used up. */
  offer(
    now: number,
    mac: number,
    clientId: string | undefined,
    requested: number | undefined,
    port: number,
  ): Binding | undefined {
    const known = this.of(mac, clientId);
    if (known !== undefined) {
      this.#admit(now, known, port);
      if (known.expiresAt < now) {
        known.offered = true;
        known.expiresAt = now + OFFER_MS;
      }
      return known;
    }
    this.#keepLimit(now, port);
    const address =
      requested !== undefined && this.isFree(now, requested, port)
        ? requested
        : (this.#firstFree(now, port) ?? this.#longestExpired(now));
    if (address === undefined) return undefined;
    const before = this.#byAddress.get(address);
    if (before !== undefined) this.#remove(before);
    const binding: Binding = {
      address,
      mac,
      clientId,
      hostname: undefined,
      expiresAt: now + OFFER_MS,
      offered: true,
      port,
    };
    this.#insert(binding);
    return binding;
  }

  /** The client of a binding is at this port, where the binding counts from now on, also one that was over. */
  #admit(now: number, binding: Binding, port: number): void {
    if (binding.expiresAt !== Infinity && !counts(now, binding, port)) this.#keepLimit(now, port);
    binding.port = port;
  }

  /** The client has requested, at this port, the address it was offered or had. */
  bind(
    now: number,
    binding: Binding,
    port: number,
    expiresAt: number,
    hostname: string | undefined,
  ): void {
    this.#admit(now, binding, port);
    binding.offered = false;
    if (hostname !== undefined) binding.hostname = hostname;
    if (binding.expiresAt !== Infinity) binding.expiresAt = expiresAt;
    this.changed = true;
  }

  /** The client gives the address back; it is kept for it as long as nobody else needs it. */
  release(now: number, binding: Binding): void {
    if (binding.expiresAt === Infinity) return;
    binding.expiresAt = now;
    this.changed = true;
  }

  /** The client found the address in use by somebody else. */
  decline(now: number, binding: Binding): void {
    if (binding.expiresAt === Infinity) return;
    this.#remove(binding);
    const { address, port } = binding;
    const ofPort = [...this.#declined].filter(([, declined]) => declined.port === port);
    if (ofPort.length >= MAX_PER_PORT) this.#declined.delete(ofPort[0]![0]);
    this.#declined.set(address, { until: now + DECLINED_MS, port });
  }

  /** The clients of a port that have as much as they may get no more: the lease that would end first gives way. */
  #keepLimit(now: number, port: number): void {
    const has = [...this.#byAddress.values()].filter((binding) => counts(now, binding, port));
    if (has.length < MAX_PER_PORT) return;
    this.#remove(has.reduce((first, next) => (next.expiresAt < first.expiresAt ? next : first)));
    this.#onPortLimit();
  }

  /** in the pool, and neither bound, offered, declined, excluded, nor used by another port's guest */
  isFree(now: number, address: number, port: number): boolean {
    const { first, last, excluded } = this.#plan;
    if (address < first || address > last || excluded.has(address) || this.#byAddress.has(address))
      return false;
    if (this.#plan.isHeldByOther(address, port)) return false;
    const declined = this.#declined.get(address);
    if (declined === undefined) return true;
    if (declined.until > now) return false;
    this.#declined.delete(address);
    return true;
  }

  #firstFree(now: number, port: number): number | undefined {
    for (let address = this.#plan.first; address <= this.#plan.last; address++) {
      if (this.isFree(now, address, port)) return address;
    }
    return undefined;
  }

  #longestExpired(now: number): number | undefined {
    let oldest: Binding | undefined;
    for (const binding of this.#byAddress.values()) {
      if (binding.expiresAt < now && (oldest === undefined || binding.expiresAt < oldest.expiresAt))
        oldest = binding;
    }
    return oldest?.address;
  }

  /** bindings for storing and showing; offers are left out */
  list(): Lease[] {
    const leases: Lease[] = [];
    for (const binding of [...this.#byAddress.values()].toSorted((a, b) => a.address - b.address)) {
      if (binding.offered) continue;
      leases.push({
        ip: formatIpv4(binding.address),
        mac: formatMac(binding.mac),
        ...(binding.clientId === undefined ? {} : { clientId: binding.clientId }),
        ...(binding.hostname === undefined ? {} : { hostname: binding.hostname }),
        ...(binding.expiresAt === Infinity ? {} : { expiresAt: binding.expiresAt }),
      });
    }
    return leases;
  }
}

/** The binding is one of those of which a port's clients have so many at most. */
const counts = (now: number, { port: of, expiresAt }: Binding, port: number): boolean =>
  of === port && expiresAt > now && expiresAt !== Infinity;

function keyOf(mac: number, clientId: string | undefined): string {
  return clientId === undefined ? `${mac}` : `${mac} ${clientId}`;
}
