/** What `limanet network delete` and `show` do, which look at instances and daemons; each gives the exit code. */
import { formatCidr, formatIpv4, parseCidr } from "../addr/ipv4.ts";
import { derivedMac } from "../config/mac-address.ts";
import { networkCards } from "../config/network-cards.ts";
import { subnetOf, type NetworkConfig, type NetworksConfig } from "../config/networks.ts";
import { removeNetworks } from "../config/networks-edit.ts";
import { identifierProblem } from "../config/names.ts";
import { configFolder, networkPaths, networksFile } from "../config/paths.ts";
import { managedDaemon } from "../daemon/managed-daemon.ts";
import { stopManagedNetwork } from "../daemon/managed-network.ts";
import { networksOf, removeNetwork, userV2Network } from "../daemon/reconcile.ts";
import { whileEditing } from "../host/edit-lock.ts";
import { makeFolder, readTextIfThere, writeFileAtomically } from "../host/files.ts";
import { lockHolder } from "../host/lock.ts";
import { limanetHome, machineId, sha256 } from "../host/machine.ts";
import { placeOf } from "../daemon/vmnet-place.ts";
import { warn, writeOut } from "../host/terminal.ts";
import { requestUnixHttp } from "../host/unix-http.ts";
import { loadNetworks } from "../instance/settings.ts";
import { inspectInstance, instanceNames, type Instance } from "../instance/store.ts";
import { isManaged, socketOf } from "../privilege/commands.ts";
import type { Log } from "../trace/log.ts";

export async function deleteNetworks(
  names: string[],
  options: { force?: true | undefined },
  log: Log,
): Promise<number> {
  const home = limanetHome();
  makeFolder(configFolder(home), 0o700);
  // out of the file first, so that a running instance does not start its network again
  const { config, known } = await whileEditing(configFolder(home), async () =>
    removeFromFile(home, names, options.force === true),
  );
  for (const name of known) {
    if (isManaged(config.networks[name]!))
      await stopManagedNetwork(home, name, config, () => false, log);
    else if (identifierProblem(name) === undefined) await removeNetwork(home, name);
  }
  return 0;
}

/** Takes networks out of networks.yaml; `config` is what it said before, `known` the names that were in it. */
function removeFromFile(
  home: string,
  names: string[],
  force: boolean,
): { config: NetworksConfig; known: string[] } {
  const config = loadNetworks(home, warn);
  // what is not defined has nothing to delete, least of all a folder
  const known = names.filter((name) => Object.hasOwn(config.networks, name));
  for (const name of known) {
    const why = whyKept(home, name);
    if (why !== undefined && !force) {
      throw new Error(
        `Cannot delete the network ${name}: ${why} (limanet network delete --force deletes it all the same)`,
      );
    }
  }
  const file = networksFile(home);
  writeFileAtomically(file, removeNetworks(readTextIfThere(file) ?? "", names));
  return { config, known };
}

const allInstances = (home: string): Instance[] =>
  instanceNames(home).map((name) => inspectInstance(home, name));

const uses = (network: string, { config }: Instance): boolean =>
  networksOf(config?.networks ?? []).includes(network);

/** What speaks against the deletion of a network; undefined: nothing. */
function whyKept(home: string, network: string): string | undefined {
  const instances = allInstances(home);
  const namesOf = (some: Instance[]) => some.map(({ name }) => name).join(", ");
  const users = instances.filter((instance) => uses(network, instance));
  if (users.length > 0) return `${namesOf(users)} would be without it`;
  const unread = instances.filter(({ config }) => config === undefined);
  return unread.length === 0
    ? undefined
    : `${namesOf(unread)} may be using it, whose lima.yaml cannot be read`;
}

/** A guest's card on the network. */
interface CardView {
  /** in the guest */
  interface: string;
  mac: string;
  /** as far as it is known */
  address?: string;
}

interface NetworkView {
  name: string;
  mode: string;
  subnet: string;
  /** what guests are told; undefined: the network's own router says */
  gateway: string | undefined;
  mtu: number | undefined;
  /** unix socket to which guests are attached */
  socket: string;
  daemon: "running" | "stopped";
  pid: number | undefined;
  members: { name: string; status: string; cards: CardView[] }[];
  leases: Record<string, string>;
  forwards: { local: string; remote: string; protocol: string }[];
}

export async function showNetwork(
  name: string,
  options: { json?: true | undefined },
): Promise<number> {
  const home = limanetHome();
  const networks = loadNetworks(home, warn);
  const network = networks.networks[name];
  if (network === undefined) {
    throw new Error(
      `Cannot show the network ${name}: it is not defined (networks.yaml has ${Object.keys(networks.networks).join(", ")})`,
    );
  }
  const paths = networkPaths(home, name);
  const managed = isManaged(network);
  const place = placeOf(home, networks, name);
  const pid = managed ? (await managedDaemon(place, name)).pid : lockHolder(paths.pid);
  const ask = async <T>(route: string, nothing: T): Promise<T> =>
    pid === 0 || managed
      ? nothing
      : (JSON.parse((await requestUnixHttp(paths.endpoint, "GET", route)).body) as T);
  const userV2 = managed ? undefined : userV2Network(networks, name);
  const subnet = userV2 === undefined ? undefined : parseCidr(userV2.subnet)!;
  // while nothing runs, the addresses are those that its machines will get again
  const kept = managed || pid !== 0 ? undefined : readTextIfThere(paths.leases);
  const leases = await ask("/services/dhcp/leases", leasesOf(kept ?? "{}"));
  const view: NetworkView = {
    name,
    mode: network.mode,
    subnet: userV2?.subnet ?? managedSubnet(network),
    gateway: subnet === undefined ? network.gateway : formatIpv4(subnet.network + 2),
    socket: managed ? socketOf(place, name) : paths.qemu,
    mtu: userV2 === undefined ? undefined : (userV2.mtu ?? 1500),
    daemon: pid === 0 ? "stopped" : "running",
    pid: pid === 0 ? undefined : pid,
    members: allInstances(home)
      .filter((instance) => uses(name, instance))
      .map((instance) => ({
        name: instance.name,
        status: instance.status,
        cards: cardsOn(networks, name, instance).map((card) => {
          const address = Object.keys(leases).find((ip) => leases[ip] === card.mac);
          return { ...card, ...(address === undefined ? {} : { address }) };
        }),
      })),
    leases,
    forwards: await ask<NetworkView["forwards"]>("/services/forwarder/all", []),
  };
  if (options.json) writeOut(`${JSON.stringify(view)}\n`);
  else writeOut(viewText(view));
  return 0;
}

/** the subnet of a network of root's; a bridged one has the local network's */
function managedSubnet(network: NetworkConfig): string {
  return network.gateway === undefined ? "-" : formatCidr(subnetOf(network.gateway, network));
}

/** An instance's cards on a network. */
function cardsOn(networks: NetworksConfig, name: string, { config, paths }: Instance): CardView[] {
  const isUserV2 = (other: string) => {
    const network = networks.networks[other];
    return network !== undefined && !isManaged(network);
  };
  const mac = (id: string) => derivedMac(sha256, machineId(), id);
  return networkCards(config?.networks ?? [], isUserV2, paths, mac)
    .filter(({ network }) => network?.lima === name)
    .map((card) => ({ interface: card.name, mac: card.mac }));
}

/** Lima's file of leases, address → MAC; a damaged one tells nothing. */
function leasesOf(text: string): Record<string, string> {
  try {
    return JSON.parse(text) as Record<string, string>;
  } catch {
    return {};
  }
}

const memberText = ({ name, status, cards }: NetworkView["members"][number]): string =>
  `${name} (${status}): ${cards.map((card) => `${card.interface} ${card.mac} ${card.address ?? "-"}`).join(", ")}`;

function viewText(view: NetworkView): string {
  const list = (items: string[]) => (items.length === 0 ? "none" : items.join("\n            "));
  const lines = [
    ["mode", view.mode],
    ["subnet", view.subnet],
    ["gateway", view.gateway ?? "-"],
    ...(view.mtu === undefined ? [] : [["mtu", String(view.mtu)]]),
    ["socket", view.socket],
    ["daemon", view.pid === undefined ? view.daemon : `${view.daemon} (pid ${view.pid})`],
    ["members", list(view.members.map(memberText))],
    ["leases", list(Object.entries(view.leases).map(([ip, mac]) => `${ip} ${mac}`))],
    [
      "forwards",
      list(view.forwards.map(({ local, remote, protocol }) => `${protocol} ${local} -> ${remote}`)),
    ],
  ];
  return `${view.name}\n${lines.map(([key, value]) => `  ${`${key}:`.padEnd(10)}${value}\n`).join("")}`;
}
