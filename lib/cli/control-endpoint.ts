/** Who answers for the network of an instance's first card. */
import { networkPaths } from "../config/paths.ts";
import { loadNetworks } from "../instance/settings.ts";
import type { Instance } from "../instance/store.ts";

/** The socket of its control API: of the first user-v2 network, or of the default network that the host agent carries. */
export function controlEndpoint(home: string, { config, paths }: Instance): string {
  const { networks } = loadNetworks(home);
  const first = config?.networks.find(
    ({ lima }) => lima !== undefined && networks[lima]?.mode === "user-v2",
  );
  return first === undefined ? paths.endpoint : networkPaths(home, first.lima!).endpoint;
}
