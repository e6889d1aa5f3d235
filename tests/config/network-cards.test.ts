import { expect, test } from "bun:test";
import { parseInstance } from "../../lib/config/instance.ts";
import { networkCards } from "../../lib/config/network-cards.ts";

const place = { dir: "/h/vm", config: "/h/vm/lima.yaml" };
const cards = (networks: string) => {
  const { config } = parseInstance(
    `images: [{location: /x}]\nnetworks: ${networks}\n`,
    "lima.yaml",
  );
  const isUserV2 = (name: string) => name.startsWith("user");
  return networkCards(config!.networks, isUserV2, place, (id) => `<${id}>`).map(
    ({ name, mac, metric, network }) =>
      `${name} ${mac} ${metric} ${network?.lima ?? network?.socket ?? "-"}`,
  );
};

const EXPLICIT = "52:55:55:00:00:01";
test.each([
  ["[]", ["eth0 </h/vm> 200 -"]],
  ["[{lima: user-v2}]", ["eth0 </h/vm> 200 user-v2"]],
  // what it says of its card does not count
  [
    `[{lima: user-v2, interface: x, metric: 5, macAddress: "${EXPLICIT}"}]`,
    ["eth0 </h/vm> 200 user-v2"],
  ],
  // root's networks are further cards, and the index counts all entries
  [
    "[{lima: shared}, {lima: user-v2}, {socket: /s}]",
    [
      "eth0 </h/vm> 200 user-v2",
      "lima0 </h/vm/lima.yaml#0> 100 shared",
      "lima2 </h/vm/lima.yaml#2> 100 /s",
    ],
  ],
  [
    `[{lima: user-v2}, {lima: user-2, metric: 7, macAddress: "${EXPLICIT}"}, {lima: user-v2, interface: again}]`,
    [
      "eth0 </h/vm> 200 user-v2",
      `lima1 ${EXPLICIT} 7 user-2`,
      "again </h/vm/lima.yaml#2> 100 user-v2",
    ],
  ],
  ["[{socket: /s}]", ["eth0 </h/vm> 200 -", "lima0 </h/vm/lima.yaml#0> 100 /s"]],
])("%s makes %j", (networks, expected) => expect(cards(networks)).toEqual(expected));
