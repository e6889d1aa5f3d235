/** Do the networks' addresses fit this host: its interfaces, routes and VPNs, each other; and may guests' pings leave? */
import { formatCidr, type Cidr } from "../addr/ipv4.ts";
import { overlaps, type TakenSubnet } from "../config/subnet-choice.ts";
import type { Check } from "./finding.ts";

export interface NetworkSubnet {
  name: string;
  mode: "default" | "user-v2" | "shared" | "host";
  subnet: Cidr;
  /** its own interface on this host: what that has is no obstacle */
  bridge?: string;
  /** on macOS nobody knows which interface is its own */
  runs: boolean;
}

export interface NetworkFacts {
  networks: readonly NetworkSubnet[];
  taken: readonly TakenSubnet[];
  /** sockets of others, by which instances say that they attach (`socket:`) */
  sockets: readonly {
    path: string;
    instances: readonly string[];
    state: "served" | "dead" | "denied";
  }[];
  /** Linux: net.ipv4.ping_group_range, and the groups of this process; undefined where everybody may ping */
  ping?: { first: number; last: number; groups: readonly number[] };
}

/** interfaces of VPNs by their usual names; what they take comes and goes */
const VPN = / (?:(?:u?tun|tap|wg|ppp|ipsec|cscotun|gpd)\d*|tailscale\d*|zt\w+|nordlynx|proton\w*)$/;

/** an own interface, or the route that comes with it */
const isOwn = (owner: string, { bridge }: NetworkSubnet): boolean =>
  bridge !== undefined && owner.endsWith(` ${bridge}`);

const isUserMode = ({ mode }: NetworkSubnet): boolean => mode === "default" || mode === "user-v2";

/** the first that takes each network's subnet */
const collisions = ({ networks, taken }: NetworkFacts) =>
  networks
    .filter(({ runs, mode }) => !runs || mode === "default" || mode === "user-v2")
    .flatMap((network) => {
      const other = taken.find(
        ({ subnet, owner }) => overlaps(network.subnet, subnet) && !isOwn(owner, network),
      );
      return other === undefined ? [] : { network, other };
    });

const ownerText = ({ owner, subnet }: TakenSubnet): string =>
  `${owner}${VPN.test(owner) ? " (a VPN)" : ""} has ${formatCidr(subnet)}`;

export const networkChecks: readonly Check<NetworkFacts>[] = [
  {
    id: "subnet-taken",
    severity: "fault",
    find: (facts) =>
      collisions(facts)
        .filter(({ network }) => !isUserMode(network))
        .map(({ network, other }) => ({
          problem: `The network ${network.name} cannot start on ${formatCidr(network.subnet)}: ${ownerText(other)}`,
          fix: [
            `give networks.${network.name} of networks.yaml another gateway, dhcpEnd and netmask (limanet network create NAME --mode ${network.mode} --gateway auto finds free ones), then make the sudoers file anew`,
          ],
        })),
  },
  {
    id: "subnet-hidden",
    severity: "limit",
    find: (facts) =>
      collisions(facts)
        .filter(({ network }) => isUserMode(network))
        .map(({ network, other }) => ({
          problem: `Guests of the network ${network.name} (${formatCidr(network.subnet)}) do not reach addresses of the same range outside: ${ownerText(other)}`,
          fix: [
            network.mode === "default"
              ? "start instances that need those addresses with --network lima:user-v2"
              : `give networks.${network.name} of networks.yaml another gateway (limanet network create NAME --gateway auto finds a free one)`,
          ],
        })),
  },
  {
    id: "networks-overlap",
    severity: "fault",
    find: ({ networks }) =>
      networks.flatMap((network, i) =>
        networks
          .slice(i + 1)
          .filter((other) => overlaps(network.subnet, other.subnet))
          .map((other) => ({
            problem: `An instance on both ${network.name} (${formatCidr(network.subnet)}) and ${other.name} (${formatCidr(other.subnet)}) reaches one of them only: they overlap`,
            fix: [`give one of them another gateway in networks.yaml`],
          })),
      ),
  },
  {
    id: "socket-unserved",
    severity: "fault",
    find: ({ sockets }) =>
      sockets
        .filter(({ state }) => state !== "served")
        .map(({ path, instances, state }) => {
          const who = `${instances.join(", ")} cannot attach to ${path}`;
          return state === "denied"
            ? {
                problem: `${who}: this user may not connect to it`,
                fix: [`ls -l ${path} tells whose it is; join its group, then log in anew`],
              }
            : {
                problem: `${who}: nobody serves that socket`,
                fix: [
                  "start what serves it (limanet vmnet, socket_vmnet or another switch), or correct socket in lima.yaml",
                ],
              };
        }),
  },
  {
    id: "ping-forbidden",
    severity: "limit",
    find: ({ ping }) => {
      if (ping === undefined) return undefined;
      const { first, last, groups } = ping;
      if (groups.some((group) => group >= first && group <= last)) return undefined;
      return {
        problem: `Guests of user-mode networks cannot ping the outside: net.ipv4.ping_group_range is ${first} ${last}, with none of this user's groups in it`,
        fix: [
          "echo 'net.ipv4.ping_group_range = 0 2147483647' | sudo tee /etc/sysctl.d/60-limanet-ping.conf && sudo sysctl --system",
        ],
      };
    },
  },
];
