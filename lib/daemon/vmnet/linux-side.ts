/** A network on Linux: bridge, TAP device and rules (`host-network.ts`), DHCP at the switch, DNS at the gateway. */
import { formatCidr, formatIpv4 } from "../../addr/ipv4.ts";
import { hostSearchDomains } from "../../host/host-naming.ts";
import type { Lease } from "../../service/dhcp/lease-table.ts";
import type { Log } from "../../trace/log.ts";
import type { VmnetSettings } from "../../vmnet/settings.ts";
import { LeaseStore, storedLeases } from "../stored-leases.ts";
import { warnOfBlocking } from "./blocking.ts";
import { serveGuestDns, type GuestDns } from "./guest-dns.ts";
import { HostNetwork, type HostPlan } from "./host-network.ts";
import type { HostSide } from "./host-side.ts";
import { startSwitch, type RunningSwitch } from "./running-switch.ts";
import { RINGS } from "./switch-protocol.ts";

const LEASE_SECONDS = 3600;

export class LinuxSide implements HostSide {
  readonly #socket: string;
  readonly #settings: VmnetSettings;
  readonly #host: HostNetwork;
  #dns: GuestDns | undefined;
  #leases: LeaseStore | undefined;

  private constructor(socket: string, settings: VmnetSettings, host: HostNetwork) {
    this.#socket = socket;
    this.#settings = settings;
    this.#host = host;
  }

  /** Makes the host's part of the network that is served at `socket`. */
  static async open(socket: string, settings: VmnetSettings, log: Log): Promise<LinuxSide> {
    const { mode, isIsolated, own, mtu, interface: taken } = settings;
    const host = await HostNetwork.open(
      {
        name: socket,
        mode,
        isIsolated,
        ...(own === undefined ? {} : { own }),
        ...(taken === undefined ? {} : { interface: taken }),
        ...(mtu === undefined ? {} : { mtu }),
      },
      log,
    );
    return new LinuxSide(socket, settings, host);
  }

  async start(log: Log): Promise<RunningSwitch> {
    const { plan, leaseFile } = this.#host;
    const store = new LeaseStore(leaseFile, log);
    this.#leases = store;
    const network = await startSwitch({ tap: plan.tap, ...RINGS }, log, (leases) => {
      this.#dns?.name(leases);
      return store.put(leases);
    });
    try {
      await this.#host.attach();
      await warnOfBlocking(this.#socket, this.#settings, plan, log);
      if (plan.own !== undefined) {
        const leases = storedLeases(leaseFile, log.warn);
        this.#dns = await serveGuestDns(plan.own, log);
        this.#dns.name(leases);
        await this.#serveDhcp(network, plan.own, leases);
      }
      return network;
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  /** The host's bridge is the gateway, and its address nobody else's. */
  async #serveDhcp(
    network: RunningSwitch,
    { gateway, subnet, mac }: NonNullable<HostPlan["own"]>,
    leases: Lease[],
  ): Promise<void> {
    const { mode, dhcp, own } = this.#settings;
    await network.request({ type: "pin", mac });
    if (!dhcp) return;
    await network.request({
      type: "serve-dhcp",
      gatewayMac: mac,
      leases,
      plan: {
        subnet,
        gateway,
        dns: gateway,
        reserved: [],
        first: gateway + 1,
        ...(own === undefined ? {} : { last: own.last }),
        isClosed: mode === "host",
        mtu: this.#host.plan.mtu,
        leaseSeconds: LEASE_SECONDS,
        domainName: undefined,
        searchDomains: hostSearchDomains(),
        staticLeases: [],
      },
    });
  }

  describe(): string {
    const { bridge, mtu, own } = this.#host.plan;
    const words = [`mode=${this.#settings.mode} bridge=${bridge} mtu=${mtu}`];
    if (own !== undefined)
      words.push(`gateway=${formatIpv4(own.gateway)} subnet=${formatCidr(own.subnet)}`);
    return words.join(" ");
  }

  async close(): Promise<void> {
    this.#dns?.close();
    this.#leases?.close();
    await this.#host.close();
  }
}
