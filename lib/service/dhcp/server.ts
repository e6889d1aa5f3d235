/** The DHCP server of a network (RFC 2131 section 4.3): one message and the time in, at most one reply out. */
import { LIMITED_BROADCAST, type Cidr } from "../../addr/ipv4.ts";
import { BROADCAST_MAC } from "../../addr/mac.ts";
import type { Counters } from "../../trace/counters.ts";
import {
  ACK,
  addressOption,
  DECLINE,
  DISCOVER,
  emitDhcp,
  encodeClasslessRoutes,
  encodeSearchList,
  INFORM,
  NAK,
  OFFER,
  OPTION_CLASSLESS_ROUTES,
  OPTION_CLIENT_IDENTIFIER,
  OPTION_DNS,
  OPTION_DOMAIN_NAME,
  OPTION_DOMAIN_SEARCH,
  OPTION_HOST_NAME,
  OPTION_LEASE_TIME,
  OPTION_MTU,
  OPTION_REBINDING_TIME,
  OPTION_RENEWAL_TIME,
  OPTION_REQUESTED_ADDRESS,
  OPTION_ROUTER,
  OPTION_SERVER_IDENTIFIER,
  OPTION_SUBNET_MASK,
  parseDhcp,
  RELEASE,
  REQUEST,
  words,
  type DhcpMessage,
} from "../../wire/dhcpv4.ts";
import { LeaseTable, type Binding, type Lease } from "./lease-table.ts";

export interface DhcpPlan {
  subnet: Cidr;
  /** server identifier and router */
  gateway: number;
  dns: number;
  /** addresses of the gateway that no client may get */
  reserved: readonly number[];
  /** first address to hand out */
  first: number;
  /** last address to hand out; the subnet's last when none is given */
  last?: number;
  /** there is no way out of the network: no router is told, so that a client's other networks keep theirs */
  isClosed?: boolean;
  mtu: number;
  leaseSeconds: number;
  domainName: string | undefined;
  searchDomains: readonly string[];
  staticLeases: readonly Lease[];
  /** a guest other than the one at this port uses the address without a lease */
  isHeldByOther?(address: number, port: number): boolean;
}

export interface DhcpReply {
  message: Uint8Array;
  /** where to (RFC 2131 4.1) */
  address: number;
  mac: number;
}

export type DhcpCounter =
  | "dhcp-pool-used-up"
  | "dhcp-nak"
  | "dhcp-relayed"
  | "dhcp-wrong-hardware-address"
  | "dhcp-port-limit";

export class DhcpServer {
  readonly leases: LeaseTable;
  readonly #plan: DhcpPlan;
  readonly #counters: Counters;

  /** stored: leases of an earlier run */
  constructor(plan: DhcpPlan, stored: readonly Lease[], counters: Counters) {
    this.#plan = plan;
    this.#counters = counters;
    const { subnet } = plan;
    this.leases = new LeaseTable(
      {
        first: plan.first,
        last: Math.min(plan.last ?? Infinity, subnet.broadcast - 1),
        excluded: new Set([plan.gateway, plan.dns, ...plan.reserved, subnet.network]),
        contains: (address) => address > subnet.network && address < subnet.broadcast,
        isHeldByOther: (address, port) => plan.isHeldByOther?.(address, port) ?? false,
      },
      plan.staticLeases,
      stored,
      () => counters.count("dhcp-port-limit" satisfies DhcpCounter),
    );
  }

  /** A client's message, its frame's source address, the port it came in at, and the time in Unix ms. */
  onMessage(
    now: number,
    octets: Uint8Array,
    sourceMac: number,
    port: number,
  ): DhcpReply | undefined {
    const message = parseDhcp(octets);
    if (typeof message === "string") {
      this.#counters.count(message);
      return undefined;
    }
    if (message.giaddr !== 0) {
      // nothing leads to networks behind a guest; who says that it speaks for others there may mean others here
      this.#counters.count("dhcp-relayed" satisfies DhcpCounter);
      return undefined;
    }
    if (message.chaddr !== sourceMac) {
      // one guest speaks for another: not answered, so that it can neither take nor free the other's lease
      this.#counters.count("dhcp-wrong-hardware-address" satisfies DhcpCounter);
      return undefined;
    }
    const id = message.options.get(OPTION_CLIENT_IDENTIFIER);
    const clientId = id === undefined ? undefined : hex(id);
    switch (message.type) {
      case DISCOVER:
        return this.#onDiscover(now, message, clientId, port);
      case REQUEST:
        return this.#onRequest(now, message, clientId, port);
      case DECLINE: {
        const declined = addressOption(message, OPTION_REQUESTED_ADDRESS);
        const binding = this.leases.of(message.chaddr, clientId);
        if (binding !== undefined && binding.address === declined)
          this.leases.decline(now, binding);
        return undefined;
      }
      case RELEASE: {
        const binding = this.leases.of(message.chaddr, clientId);
        if (binding !== undefined && binding.address === message.ciaddr)
          this.leases.release(now, binding);
        return undefined;
      }
      case INFORM:
        // RFC 2131 4.3.5: parameters only, no lease, to the address the client has
        return this.#reply(message, ACK, 0, this.#parameters());
      default:
        return undefined;
    }
  }

  #onDiscover(
    now: number,
    message: DhcpMessage,
    clientId: string | undefined,
    port: number,
  ): DhcpReply | undefined {
    const binding = this.leases.offer(
      now,
      message.chaddr,
      clientId,
      addressOption(message, OPTION_REQUESTED_ADDRESS),
      port,
    );
    if (binding === undefined) {
      this.#counters.count("dhcp-pool-used-up" satisfies DhcpCounter);
      return undefined;
    }
    return this.#reply(message, OFFER, binding.address, this.#leaseOptions());
  }

  /** RFC 2131 4.3.2 tells the four situations of a REQUEST by three fields. */
  #onRequest(
    now: number,
    message: DhcpMessage,
    clientId: string | undefined,
    port: number,
  ): DhcpReply | undefined {
    const server = addressOption(message, OPTION_SERVER_IDENTIFIER);
    const requested = addressOption(message, OPTION_REQUESTED_ADDRESS);
    const known = this.leases.of(message.chaddr, clientId);
    if (server !== undefined) {
      // SELECTING: for another server, or for what we offered
      if (server !== this.#plan.gateway) {
        if (known?.offered) this.leases.release(now, known);
        return undefined;
      }
      return this.#confirm(now, message, known, requested, port);
    }
    // INIT-REBOOT: the client remembers an address; else RENEWING or REBINDING
    const wanted = message.ciaddr === 0 ? requested : message.ciaddr;
    if (wanted === undefined) return undefined;
    // a client of an earlier life of this network may keep an address that nobody has
    const isFree = known === undefined && this.leases.isFree(now, wanted, port);
    const binding = isFree ? this.leases.offer(now, message.chaddr, clientId, wanted, port) : known;
    return this.#confirm(now, message, binding, wanted, port);
  }

  /** Binds what the client wants where that is its own. */
  #confirm(
    now: number,
    message: DhcpMessage,
    binding: Binding | undefined,
    wanted: number | undefined,
    port: number,
  ): DhcpReply {
    if (binding === undefined || binding.address !== wanted) return this.#nak(message);
    const name = message.options.get(OPTION_HOST_NAME);
    const hostname = name === undefined ? undefined : printable(name);
    const expiresAt = now + this.#plan.leaseSeconds * 1000;
    this.leases.bind(now, binding, port, expiresAt, hostname);
    return this.#reply(message, ACK, binding.address, this.#leaseOptions());
  }

  #nak(message: DhcpMessage): DhcpReply {
    this.#counters.count("dhcp-nak" satisfies DhcpCounter);
    const options = new Map([[OPTION_SERVER_IDENTIFIER, words(this.#plan.gateway)]]);
    return this.#reply(message, NAK, 0, options);
  }

  #leaseOptions(): Map<number, Uint8Array> {
    const { leaseSeconds } = this.#plan;
    return new Map([
      ...this.#parameters(),
      [OPTION_LEASE_TIME, words(leaseSeconds)],
      // RFC 2131 4.4.5
      [OPTION_RENEWAL_TIME, words(Math.floor(leaseSeconds / 2))],
      [OPTION_REBINDING_TIME, words(Math.floor((leaseSeconds * 7) / 8))],
    ]);
  }

  #parameters(): Map<number, Uint8Array> {
    const { gateway, dns, subnet, mtu, domainName, searchDomains } = this.#plan;
    const options = new Map<number, Uint8Array>([
      [OPTION_SERVER_IDENTIFIER, words(gateway)],
      [OPTION_SUBNET_MASK, words(subnet.netmask)],
      [OPTION_DNS, words(dns)],
      [OPTION_MTU, new Uint8Array([mtu >>> 8, mtu & 255])],
    ]);
    if (this.#plan.isClosed !== true) {
      options.set(OPTION_ROUTER, words(gateway));
      // RFC 3442: clients that know this option ignore option 3, so the default route stands here too
      const everywhere = { network: 0, prefix: 0, router: gateway };
      options.set(OPTION_CLASSLESS_ROUTES, encodeClasslessRoutes([everywhere]));
    }
    if (domainName !== undefined)
      options.set(OPTION_DOMAIN_NAME, new TextEncoder().encode(domainName));
    const search = encodeSearchList(searchDomains);
    if (search.length > 0) options.set(OPTION_DOMAIN_SEARCH, search);
    return options;
  }

  #reply(
    message: DhcpMessage,
    type: number,
    yiaddr: number,
    options: Map<number, Uint8Array>,
  ): DhcpReply {
    const { chaddr, broadcast } = message;
    // RFC 6842 3: an identifier comes back unaltered
    const clientId = message.options.get(OPTION_CLIENT_IDENTIFIER);
    if (clientId !== undefined) options.set(OPTION_CLIENT_IDENTIFIER, clientId);
    // RFC 2131 table 3: only an ACK has the client's own address
    const ciaddr = type === ACK ? message.ciaddr : 0;
    const octets = emitDhcp({ ...message, ciaddr, type, yiaddr, options, secs: 0 });
    // RFC 2131 4.1: to the address the client has, to all, or to the address it is about to have
    if (ciaddr !== 0) return { message: octets, address: ciaddr, mac: chaddr };
    if (broadcast || type === NAK)
      return { message: octets, address: LIMITED_BROADCAST, mac: BROADCAST_MAC };
    return { message: octets, address: yiaddr, mac: chaddr };
  }
}

function hex(octets: Uint8Array): string {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

/** a name as it may be shown and stored; anything else is not kept */
function printable(octets: Uint8Array): string | undefined {
  const text = String.fromCharCode(...octets.subarray(0, 255)).replace(/\0+$/, "");
  return /^[A-Za-z0-9._-]+$/.test(text) ? text : undefined;
}
