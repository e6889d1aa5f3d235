import { expect, test } from "bun:test";
import { interfaceSettings } from "../../../lib/daemon/vmnet/apple-side.ts";
import type { VmnetInterfaceSettings } from "../../../lib/host/shim.ts";
import { vmnetSettings, type VmnetOptions } from "../../../lib/vmnet/settings.ts";

const UUID = "4C1F5F6E-2B1A-4D0C-9A43-0F3F7E0D6A11";

const rows: [string, VmnetOptions, VmnetInterfaceSettings][] = [
  ["nothing is said where the system is to choose", { vmnetMode: "shared" }, { mode: "shared" }],
  [
    "a gateway goes with mask and last address, which are all or none",
    { vmnetMode: "host", vmnetGateway: "10.1.0.1" },
    { mode: "host", gateway: "10.1.0.1", end: "10.1.0.254", mask: "255.255.255.0" },
  ],
  [
    "an interface to bridge to",
    { vmnetMode: "bridged", vmnetInterface: "en0" },
    { mode: "bridged", interface: "en0" },
  ],
  [
    "identifiers and prefix",
    { vmnetMode: "shared", vmnetInterfaceId: UUID, vmnetNat66Prefix: "fd00:1::" },
    { mode: "shared", uuid: UUID, nat66: "fd00:1::" },
  ],
  [
    "a network of its own has no DHCP, which is not said",
    { vmnetMode: "host", vmnetNetworkIdentifier: UUID },
    { mode: "host", identifier: UUID },
  ],
  ["a larger packet", { vmnetMode: "shared", mtu: 9000 }, { mode: "shared", net_mtu: 9000 }],
  ["isolation", { vmnetMode: "host", isolate: true }, { mode: "host", isolation: true }],
  [
    "DHCP that is switched off",
    { vmnetMode: "shared", vmnetDisableDhcp: true },
    { mode: "shared", dhcp: false },
  ],
];
test.each(rows)("interfaceSettings(): %s", (_what, options, said) => {
  const settings = vmnetSettings(options);
  if (typeof settings === "string") throw new Error(settings);
  expect(interfaceSettings(settings)).toEqual(said);
});
