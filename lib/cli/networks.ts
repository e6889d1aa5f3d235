/** What `limanet network list`, `create` and `choose` do, which need no daemon; each gives the exit code. */
import {
  cidrOf,
  formatCidr,
  formatIpv4,
  isLoopback,
  parseCidr,
  parseIpv4,
  prefixOfNetmask,
} from "../addr/ipv4.ts";
import { identifierProblem } from "../config/names.ts";
import { addNetwork } from "../config/networks-edit.ts";
import {
  DEFAULT_PREFIX,
  gatewayText,
  NETWORK_MODES,
  type NetworkConfig,
  type NetworkMode,
  type NetworksConfig,
} from "../config/networks.ts";
import {
  chooseNetwork,
  HOW_REACHED,
  REACHED_FROM,
  WHENCE,
  WHICH_DRIVER,
  type ChoiceVmType,
  type Question,
  type ReachedFrom,
} from "../config/network-choice.ts";
import { configFolder, networksFile } from "../config/paths.ts";
import { freeGateway, ownerOf, type TakenSubnet } from "../config/subnet-choice.ts";
import { whileEditing } from "../host/edit-lock.ts";
import { makeFolder, readTextIfThere, writeFileAtomically } from "../host/files.ts";
import { hostSubnets } from "../host/host-subnets.ts";
import { hostPlatform, limanetHome } from "../host/machine.ts";
import {
  colours,
  converse,
  isTerminal,
  warn,
  writeError,
  writeOut,
  type ReadAnswer,
} from "../host/terminal.ts";
import { loadNetworks } from "../instance/settings.ts";
import { table } from "./table.ts";

export async function listNetworks(
  names: string[],
  options: { json?: true | undefined },
): Promise<number> {
  const { networks } = loadNetworks(limanetHome(), warn);
  const shown =
    names.length === 0
      ? Object.keys(networks).toSorted()
      : names.filter((name) => known(networks, name));
  for (const name of names)
    if (!known(networks, name)) writeError(`warning: No network matching ${name} found.\n`);
  if (options.json) {
    for (const name of shown) writeOut(`${JSON.stringify(inOrder(name, networks[name]!))}\n`);
    return 0;
  }
  const rows = shown.map((name) => {
    const { mode, interface: interfaceName } = networks[name]!;
    return [name, mode, gatewayText(networks[name]!), interfaceName ?? "-"];
  });
  const { bold } = colours("out");
  writeOut(
    table([["NAME", "MODE", "GATEWAY", "INTERFACE"], ...rows], (cell, row) =>
      row === 0 ? bold(cell) : cell,
    ),
  );
  return 0;
}

const known = (networks: NetworksConfig["networks"], name: string): boolean =>
  Object.hasOwn(networks, name);

/** the keys in the order of Lima's JSON (specification, section 5) */
function inOrder(
  name: string,
  { mode, interface: interfaceName, gateway, dhcpEnd, netmask }: NetworkConfig,
): object {
  return { name, mode, interface: interfaceName, gateway, dhcpEnd, netmask };
}

export interface CreateNetworkOptions {
  mode: string;
  gateway?: string | undefined;
  interface?: string | undefined;
}

export async function createNetwork(name: string, options: CreateNetworkOptions): Promise<number> {
  const home = limanetHome();
  const refuse = (why: string) => new Error(`Cannot create the network ${name}: ${why}`);
  const problem = identifierProblem(name);
  if (problem !== undefined) throw refuse(problem);
  makeFolder(configFolder(home), 0o700);
  return whileEditing(configFolder(home), async () => {
    add(home, name, options, refuse);
    return 0;
  });
}

function add(home: string, name: string, options: CreateNetworkOptions, refuse: Refuse): void {
  const { networks } = loadNetworks(home, warn);
  if (known(networks, name))
    throw refuse(`network \`${name}\` already exists (limanet network list shows all)`);
  const mode = NETWORK_MODES.find((word) => word === options.mode);
  if (mode === undefined)
    throw refuse(`its mode must be one of ${NETWORK_MODES.join(", ")}, not ${options.mode}`);
  const network =
    mode === "bridged" ? bridged(options, refuse) : addressed(mode, options, networks, refuse);
  const file = networksFile(home);
  writeFileAtomically(file, addNetwork(readTextIfThere(file) ?? "", name, network));
}

/** the first address from which on none is one machine's (RFC 5771, RFC 1112) */
const MULTICAST = 0xe0000000;

type Refuse = (why: string) => Error;

function bridged(
  { gateway, interface: interfaceName }: CreateNetworkOptions,
  refuse: Refuse,
): NetworkConfig {
  if (gateway !== undefined)
    throw refuse("mode bridged does not support specifying gateway: leave --gateway out");
  if (interfaceName === undefined)
    throw refuse("mode bridged requires specifying interface: --interface eth0, for one");
  const problem = identifierProblem(interfaceName);
  if (problem !== undefined) throw refuse(`--interface: ${problem}`);
  return { mode: "bridged", interface: interfaceName };
}

function addressed(
  mode: NetworkMode,
  options: CreateNetworkOptions,
  networks: NetworksConfig["networks"],
  refuse: Refuse,
): NetworkConfig {
  if (options.interface !== undefined)
    throw refuse(`mode ${mode} does not support specifying interface: leave --interface out`);
  if (options.gateway === undefined)
    throw refuse(
      `mode ${mode} requires specifying gateway: --gateway ADDRESS, ADDRESS/PREFIX or auto`,
    );
  const taken = [...hostSubnets(), ...subnetsOf(networks)];
  const text = options.gateway === "auto" ? freeGateway(taken) : options.gateway;
  if (text === undefined)
    throw refuse("all private subnets are taken (give --gateway ADDRESS/PREFIX)");
  const [address = "", prefixText = String(DEFAULT_PREFIX)] = text.split("/");
  const gateway = parseIpv4(address);
  const subnet = parseCidr(`${address}/${prefixText}`);
  if (gateway === undefined || subnet === undefined)
    throw refuse(`failed to parse CIDR \`${text}\`: not of the form ADDRESS/PREFIX`);
  if (gateway === 0 || isLoopback(gateway) || gateway >= MULTICAST)
    throw refuse(`invalid IP address: ${address} cannot be a gateway`);
  if (subnet.prefix > 29 || subnet.prefix < 8)
    throw refuse(`a prefix from 8 to 29 is needed, not ${subnet.prefix}`);
  // a daemon of root's takes this address itself; of user-v2 it only tells the subnet
  if (mode !== "user-v2" && (gateway === subnet.network || gateway === subnet.broadcast))
    throw refuse(
      `${address} stands for the whole of ${formatCidr(subnet)} (its first address is ${formatIpv4(subnet.network + 1)})`,
    );
  const owner = ownerOf(subnet, taken);
  if (owner !== undefined)
    throw refuse(`${formatCidr(subnet)} overlaps with ${owner} (--gateway auto finds a free one)`);
  return {
    mode,
    gateway: address,
    // Lima's own create leaves this out, and its daemons then guess (specification, section 21)
    ...(mode === "user-v2" ? {} : { dhcpEnd: formatIpv4(subnet.broadcast - 1) }),
    netmask: formatIpv4(subnet.netmask),
  };
}

function subnetsOf(networks: NetworksConfig["networks"]): TakenSubnet[] {
  return Object.entries(networks).flatMap(([name, network]) => {
    const gateway = parseIpv4(network.gateway ?? "");
    const prefix = prefixOfNetmask(parseIpv4(network.netmask ?? "") ?? -1);
    if (gateway === undefined || prefix === undefined) return [];
    return [{ subnet: cidrOf(gateway, prefix), owner: `the network ${name}` }];
  });
}

/** Goes through the flowchart, by questions on a terminal or by options. */
export async function chooseForMe(options: {
  from?: string | undefined;
  vmType?: string | undefined;
  json?: true | undefined;
}): Promise<number> {
  const system = hostPlatform();
  const given = WHICH_DRIVER.answers.find(({ word }) => word === options.vmType)?.word;
  const from = REACHED_FROM.find((word) => word === options.from);
  const [whence, vmType] =
    from === undefined ? await askAll(system, given) : ([from, given ?? "qemu"] as const);
  const choice = chooseNetwork(whence, vmType, system);
  if (options.json) {
    writeOut(`${JSON.stringify(choice)}\n`);
    return 0;
  }
  const { network, flag, yaml, needs, why } = choice;
  writeOut(`network: ${network} (${why})\n`);
  writeOut(flag === "" ? "flag:    none is needed\n" : `flag:    limanet start ${flag} …\n`);
  writeOut(
    yaml === ""
      ? "yaml:    nothing is needed\n"
      : `yaml:\n${yaml.replaceAll(/^/gm, "  ").trimEnd()}\n`,
  );
  for (const need of needs) writeOut(`needs:   ${need}\n`);
  return 0;
}

async function askAll(
  system: "darwin" | "linux",
  given: ChoiceVmType | undefined,
): Promise<readonly [ReachedFrom, ChoiceVmType]> {
  if (!isTerminal("in"))
    throw new Error(`Cannot choose a network: say --from ${REACHED_FROM.join(", ")}`);
  return converse(async (read) => {
    const isLocal = (await ask(HOW_REACHED, read)) === "localhost";
    const from = isLocal ? "localhost" : await ask(WHENCE, read);
    // the driver matters for one answer only, and there is a choice of them on macOS only
    const isAsked = given === undefined && from === "host" && system === "darwin";
    return [from, isAsked ? await ask(WHICH_DRIVER, read) : (given ?? "qemu")] as const;
  });
}

/** Asks until there is an answer: its number, or its word. */
async function ask<Word extends string>(
  { text, answers }: Question<Word>,
  read: ReadAnswer,
): Promise<Word> {
  writeError(`${text}\n`);
  answers.forEach((answer, i) => writeError(`  ${i + 1}  ${answer.text}\n`));
  for (;;) {
    const line = (await read(`1 to ${answers.length}: `))?.trim();
    if (line === undefined) throw new Error("Cannot choose a network: there was no answer");
    const chosen = answers.find(({ word }, i) => line === word || line === String(i + 1));
    if (chosen !== undefined) return chosen.word;
  }
}
