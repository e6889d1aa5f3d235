/** Facts for `limanet doctor`: addresses of the networks and of the host, sockets, ping. */
import { parseCidr, parseIpv4 } from "../../addr/ipv4.ts";
import { networkProblem, subnetOf } from "../../config/networks.ts";
import type { NetworkFacts, NetworkSubnet } from "../../doctor/network.ts";
import { hostSubnets } from "../../host/host-subnets.ts";
import { groupIds, hostPlatform } from "../../host/machine.ts";
import { networkSetting } from "../../host/network-tools.ts";
import { tryUnixSocket } from "../../host/unix-http.ts";
import { isManaged, socketOf } from "../../privilege/commands.ts";
import { partNames } from "../../vmnet/host-plan.ts";
import { DEFAULT_SUBNET } from "../first-network.ts";
import { managedDaemon } from "../managed-daemon.ts";
import { placeOf } from "../vmnet-place.ts";
import type { Surroundings } from "./surroundings.ts";

export async function networkFacts(surroundings: Surroundings): Promise<NetworkFacts> {
  const { home, networks, managed } = surroundings;
  const subnets: NetworkSubnet[] = [
    { name: "default", mode: "default", subnet: parseCidr(DEFAULT_SUBNET)!, runs: false },
  ];
  for (const [name, network] of Object.entries(networks?.networks ?? {})) {
    const { mode, gateway } = network;
    const isUsable = networkProblem(name, network) === undefined;
    if (!isUsable || gateway === undefined || parseIpv4(gateway) === undefined) continue;
    if (isManaged(network) && !managed.includes(name)) continue;
    const isOfHost = mode === "shared" || mode === "host";
    const place = placeOf(home, networks!, name);
    subnets.push({
      name,
      mode: isOfHost ? mode : "user-v2",
      subnet: subnetOf(gateway, network),
      ...(isOfHost ? { bridge: partNames(socketOf(place, name)).bridge } : {}),
      runs:
        isOfHost &&
        (await managedDaemon(place, name).then(
          ({ pid }) => pid !== 0,
          () => false,
        )),
    });
  }
  return {
    networks: subnets,
    taken: hostSubnets(),
    sockets: await socketFacts(surroundings),
    ...pingFacts(),
  };
}

async function socketFacts({ instances }: Surroundings): Promise<NetworkFacts["sockets"]> {
  const users = new Map<string, string[]>();
  for (const { name, config } of instances)
    for (const { socket } of config?.networks ?? [])
      if (socket !== undefined) users.set(socket, [...(users.get(socket) ?? []), name]);
  return Promise.all(
    [...users].map(async ([path, names]) => ({
      path,
      instances: names,
      state: await tryUnixSocket(path),
    })),
  );
}

/** ping sockets are for the groups of a range (icmp(7)); on macOS for everybody */
function pingFacts(): Pick<NetworkFacts, "ping"> {
  if (hostPlatform() === "darwin") return {};
  const [first, last] = (networkSetting("ipv4/ping_group_range") ?? "").split(/\s+/).map(Number);
  if (first === undefined || last === undefined) return {};
  return { ping: { first, last, groups: groupIds() } };
}
