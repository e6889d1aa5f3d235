/** A network of vmnet.framework, which makes it, serves DHCP and DNS there, and takes all of it back with its interface. */
import { formatIpv4 } from "../../addr/ipv4.ts";
import { sleep } from "../../host/clock.ts";
import { hostUser } from "../../host/machine.ts";
import type { VmnetInterfaceSettings } from "../../host/shim.ts";
import type { Log } from "../../trace/log.ts";
import type { VmnetSettings } from "../../vmnet/settings.ts";
import type { HostSide } from "./host-side.ts";
import { NotPermittedError } from "./privileges.ts";
import { startSwitch, type RunningSwitch } from "./running-switch.ts";
import { RINGS } from "./switch-protocol.ts";

/** Soon after boot there is no com.apple.NetworkSharing yet; Lima waits as long (specification of vmnet, section 1.4). */
const AGAIN_AFTER_MS = [1000, 2000, 4000, 8000];

/** what an ordinary user is told before macOS 26, or by an executable without the entitlement (section 1.5) */
const REFUSALS = ["VMNET_FAILURE", "VMNET_NOT_AUTHORIZED"];

/** What is said of the interface, in the words of native/vmn.h. */
export function interfaceSettings(settings: VmnetSettings): VmnetInterfaceSettings {
  const { mode, own, interfaceId, networkIdentifier, nat66Prefix, mtu } = settings;
  const isOff = mode !== "bridged" && networkIdentifier === undefined && !settings.dhcp;
  return {
    mode,
    ...(own === undefined
      ? {}
      : {
          gateway: formatIpv4(own.gateway),
          end: formatIpv4(own.last),
          mask: formatIpv4(own.subnet.netmask),
        }),
    ...(settings.interface === undefined ? {} : { interface: settings.interface }),
    ...(interfaceId === undefined ? {} : { uuid: interfaceId }),
    ...(networkIdentifier === undefined ? {} : { identifier: networkIdentifier }),
    ...(nat66Prefix === undefined ? {} : { nat66: nat66Prefix }),
    ...(mtu === undefined ? {} : { net_mtu: mtu }),
    // from guests of other daemons on the same subnet; our own are kept apart by the switch
    ...(settings.isIsolated && mode !== "bridged" ? { isolation: true } : {}),
    // not said where it is on: with a network of one's own it costs the interface's identifier
    ...(isOff ? { dhcp: false } : {}),
  };
}

export class AppleSide implements HostSide {
  readonly #settings: VmnetSettings;

  constructor(settings: VmnetSettings) {
    this.#settings = settings;
  }

  async start(log: Log): Promise<RunningSwitch> {
    const start = { ...interfaceSettings(this.#settings), ...RINGS };
    // without root's permission it says the same at any time
    const isRoot = hostUser().uid === 0;
    const again = isRoot ? [...AGAIN_AFTER_MS] : [];
    for (;;) {
      try {
        const network = await startSwitch(start, log, async () => {});
        if (this.#settings.dhcp) await network.request({ type: "refuse-dhcp-servers" });
        return network;
      } catch (error) {
        const { code = "", message } = error as { code?: string; message: string };
        if (!isRoot && REFUSALS.includes(code)) throw new NotPermittedError(message);
        const after = again.shift();
        if (code !== "VMNET_FAILURE" || after === undefined) throw error;
        log.warn(`${message}; tried again in ${after / 1000} s`);
        await sleep(after);
      }
    }
  }

  describe({ facts }: RunningSwitch): string {
    const known = [...facts].filter(([, value]) => value !== "");
    return [`mode=${this.#settings.mode}`, ...known.map((pair) => pair.join("="))].join(" ");
  }

  async close(): Promise<void> {
    // the interface has gone with the engine
  }
}
