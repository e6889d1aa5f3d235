/** An instance's network cards: which there are, and how the guest knows them (specification, sections 8.12, 11.2, 12). */
import type { InstanceNetwork } from "./instance-networks.ts";

export interface NetworkCard {
  /** in the guest */
  name: string;
  mac: string;
  metric: number;
  /** the entry of `networks` that it is for; undefined: the default network */
  network: InstanceNetwork | undefined;
}

/** so that any other card takes the default route */
const FIRST_METRIC = 200;

/**
 * The first card is on the first user-v2 network, else on the default one; what that entry says of interface, metric
 * and address does not count. `macOf` derives an address from a place, which counts all entries of `networks`.
 */
export function networkCards(
  networks: readonly InstanceNetwork[],
  isUserV2: (name: string) => boolean,
  place: { dir: string; config: string },
  macOf: (id: string) => string,
): [first: NetworkCard, ...others: NetworkCard[]] {
  const first = networks.find(({ lima }) => lima !== undefined && isUserV2(lima));
  const others = networks.flatMap((network, i) => {
    if (network === first) return [];
    const mac = network.macAddress ?? macOf(`${place.config}#${i}`);
    return [{ name: network.interface, mac, metric: network.metric, network }];
  });
  return [{ name: "eth0", mac: macOf(place.dir), metric: FIRST_METRIC, network: first }, ...others];
}
