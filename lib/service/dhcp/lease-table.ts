/**
 * Which client has which address of a subnet. A client is known by its identifier (option 61), else by its hardware
 * address, and keeps its address as long as that is free; hardware address and identifier of one client are the same lease.
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
}

/** how long an offered address is kept for the client to request it */
const OFFER_MS = 60_000;
/** how long a declined address is not handed out */
const DECLINED_MS = 600_000;

export interface PoolPlan {
  /** every address that may be handed out, in order of preference; computed lazily for wide subnets */
  first: number;
  last: number;
  /** never handed out to clients without a static lease */
  excluded: ReadonlySet<number>;
  /** contains all addresses of leases; requests outside are refused */
  contains(address: number): boolean;
}

export class LeaseTable {
  readonly #plan: PoolPlan;
  readonly #byAddress = new Map<number, Binding>();
  readonly #byClient = new Map<string, Binding>();
  readonly #declined = new Map<number, number>();
  /** the table differs from what was last stored */
  changed = false;

  constructor(plan: PoolPlan, staticLeases: readonly Lease[], stored: readonly Lease[]) {
    this.#plan = plan;
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
    this.#insert({ address, mac, clientId, hostname, expiresAt, offered: false });
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

  /** Finds an address for a client and keeps it for the time of an offer; undefined: the pool is used up. */
  offer(
    now: number,
    mac: number,
    clientId: string | undefined,
    requested: number | undefined,
  ): Binding | undefined {
    const known = this.of(mac, clientId);
    if (known !== undefined) {
      if (known.expiresAt < now) {
        known.offered = true;
        known.expiresAt = now + OFFER_MS;
      }
      return known;
    }
    const address =
      requested !== undefined && this.isFree(now, requested)
        ? requested
        : (this.#firstFree(now) ?? this.#longestExpired(now));
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
    };
    this.#insert(binding);
    return binding;
  }

  /** The client has requested the address it was offered or had. */
  bind(binding: Binding, expiresAt: number, hostname: string | undefined): void {
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
    this.#declined.set(binding.address, now + DECLINED_MS);
  }

  /** in the pool, and neither bound, offered, declined nor excluded */
  isFree(now: number, address: number): boolean {
    const { first, last, excluded } = this.#plan;
    if (address < first || address > last || excluded.has(address) || this.#byAddress.has(address))
      return false;
    const declinedUntil = this.#declined.get(address);
    if (declinedUntil === undefined) return true;
    if (declinedUntil > now) return false;
    this.#declined.delete(address);
    return true;
  }

  #firstFree(now: number): number | undefined {
    for (let address = this.#plan.first; address <= this.#plan.last; address++) {
      if (this.isFree(now, address)) return address;
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

function keyOf(mac: number, clientId: string | undefined): string {
  return clientId === undefined ? `mac ${mac}` : `id ${clientId}`;
}
