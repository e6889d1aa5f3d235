/**
 * A vmnet network's part of a Linux host: made, and undone to the last setting. What undoing takes is written into a journal
 * before anything is changed; the journal of a daemon that was killed is carried out by the next one, or by `cleanUp`.
 *
 * Changes are made under one lock of all networks, which the programs that make them inherit: whoever has it sees the host
 * between two changes, never within one.
 */
import { cidrOf, formatCidr, parseCidr, parseIpv4, type Cidr } from "../../addr/ipv4.ts";
import { freeGateway, ownerOf } from "../../config/subnet-choice.ts";
import { dirname } from "node:path";
import {
  listFolder,
  makeFolder,
  readTextIfThere,
  remove,
  writeFileAtomically,
} from "../../host/files.ts";
import { hostAccounts, hostFiles } from "../../host/file-tree.ts";
import { hostSubnets } from "../../host/host-subnets.ts";
import { hostUser, userRuntimeFolder } from "../../host/machine.ts";
import { lockHolder, tryLockPidFile, withLock, type Lock } from "../../host/lock.ts";
import {
  networkNamespace,
  networkSetting,
  networkTool,
  runNetworkTool,
  setNetworkSetting,
  settingInterfaces,
} from "../../host/network-tools.ts";
import { checkPath } from "../../privilege/path-check.ts";
import { platform } from "../../instance/settings.ts";
import type { Log } from "../../trace/log.ts";
import {
  IP_FORWARD,
  needsForwarding,
  rememberForwarding,
  restoreForwarding,
  type Forwarding,
} from "../../vmnet/forwarding.ts";
import {
  bridgedSteps,
  ownSubnetSteps,
  partNames,
  type Change,
  type PartNames,
  type Step,
} from "../../vmnet/host-plan.ts";
import { hostInterfaces, interfaceFacts, readUplink } from "./uplink.ts";

/** root's alone: what stands in it is carried out */
export const STATE_FOLDER = "/run/limanet/vmnet";

export interface HostNetworkSettings {
  /** absolute path of the network's socket, by which it is known */
  name: string;
  mode: "shared" | "host" | "bridged";
  /** shared and host: the host's address and its subnet; none: one is chosen */
  own?: { gateway: number; subnet: Cidr };
  /** bridged: the host's interface */
  interface?: string;
  /** shared and host: largest IP packet */
  mtu?: number;
  isIsolated?: boolean;
}

export interface HostPlan {
  bridge: string;
  /** the TAP device that is to be made before `attach` */
  tap: string;
  mtu: number;
  /** none: the network is the host's own */
  own?: { gateway: number; subnet: Cidr; mac: number };
}

interface Journal {
  namespace: string;
  mode: HostNetworkSettings["mode"];
  /** in the order in which they are carried out */
  undoing: Change[];
}

const MTU = 1500;
const DEFAULT_SUBNET = cidrOf(parseIpv4("192.168.105.0")!, 24);

export class HostNetwork {
  readonly plan: HostPlan;
  readonly #state: State;
  readonly #lock: Lock;
  readonly #id: string;

  private constructor(id: string, plan: HostPlan, state: State, lock: Lock) {
    this.#id = id;
    this.plan = plan;
    this.#state = state;
    this.#lock = lock;
  }

  /** Makes the network; throws a sentence and leaves the host as it was when that cannot be done. */
  static async open(
    settings: HostNetworkSettings,
    log: Log,
    folder = stateFolder(),
  ): Promise<HostNetwork> {
    const state = new State(folder, log);
    const names = partNames(settings.name);
    const lock = tryLockPidFile(state.pidFile(names.bridge));
    if (lock === undefined)
      throw new Error(
        `Cannot make the network of ${settings.name}: process ${lockHolder(state.pidFile(names.bridge))} serves it already`,
      );
    try {
      const plan = await state.locked(async () => {
        await state.undoAbandoned(names.bridge);
        const made = planOf(names, settings);
        await state.make(names, settings.mode, made.steps);
        return made.plan;
      });
      return new HostNetwork(names.bridge, plan, state, lock);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** where its guests' leases are kept between the runs of its daemon */
  get leaseFile(): string {
    return this.#state.leaseFile(this.#id);
  }

  /** Makes the TAP device, which is there by now, a port of the bridge; it goes with the process that has it open. */
  async attach(): Promise<void> {
    const { tap, bridge, mtu } = this.plan;
    await this.#state.locked(async () => {
      this.#state.set({ [`ipv6/conf/${tap}/disable_ipv6`]: "1" });
      const complaint = await this.#state.carryOut({
        tool: "ip",
        lines: [`link set dev ${tap} mtu ${mtu} master ${bridge}`, `link set dev ${tap} up`],
      });
      if (complaint !== "") throw new Error(`Cannot attach ${tap} to ${bridge}: ${complaint}`);
    });
  }

  /** Everything as it was before `open`. */
  async close(): Promise<void> {
    await this.#state.locked(() => this.#state.undo(this.#id));
    this.#lock.release();
  }
}

/** Undoes what daemons that were killed have left; how many networks that were. */
export async function cleanUp(log: Log, folder = stateFolder()): Promise<number> {
  const state = new State(folder, log);
  return state.locked(() => state.undoAbandoned());
}

function stateFolder(): string {
  if (hostUser().uid === 0) return STATE_FOLDER;
  const folder = userRuntimeFolder();
  if (folder === undefined)
    throw new Error(
      "Cannot keep a journal of what is changed: there is no folder for it (set XDG_RUNTIME_DIR to one of yours)",
    );
  return `${folder}/vmnet`;
}

class State {
  readonly #folder: string;
  readonly #log: Log;
  #held: number | undefined;

  constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
    // others may enter what is above: networks' sockets are there
    makeFolder(dirname(folder));
    makeFolder(folder, 0o700);
    const { uid } = hostUser();
    const facts = hostFiles.lstat(folder);
    if (facts?.kind !== "folder" || (facts.mode & 0o077) !== 0 || facts.uid !== uid)
      throw new Error(
        `Cannot keep the networks' journal in ${folder}: it is not a folder of ours alone (remove it, or make it ours with mode 0700)`,
      );
    // nor may anybody put another in its place: what stands in the journal is carried out
    const problem =
      uid === 0
        ? checkPath(folder, "ordinary", hostFiles, hostAccounts(platform().rootGroup))
        : undefined;
    if (problem !== undefined)
      throw new Error(`Cannot keep the networks' journal in ${folder}: ${problem.message}`);
  }

  pidFile(id: string): string {
    return `${this.#folder}/${id}.pid`;
  }

  leaseFile(id: string): string {
    return `${this.#folder}/${id}.leases`;
  }

  #journal(id: string): string {
    return `${this.#folder}/${id}.json`;
  }

  /** the networks that have a journal */
  #journals(): string[] {
    return listFolder(this.#folder).flatMap((name) =>
      name.endsWith(".json") ? name.slice(0, -".json".length) : [],
    );
  }

  get #forwarding(): string {
    return `${this.#folder}/forwarding-${networkNamespace().replaceAll(/\D/g, "")}`;
  }

  locked<T>(work: () => Promise<T>): Promise<T> {
    return withLock(this.#folder, async (lock) => {
      this.#held = lock;
      try {
        return await work();
      } finally {
        this.#held = undefined;
      }
    });
  }

  async make(names: PartNames, mode: Journal["mode"], steps: readonly Step[]): Promise<void> {
    const id = names.bridge;
    const undoing = steps.flatMap((step) => step.undoing ?? []).toReversed();
    const journal: Journal = { namespace: networkNamespace(), mode, undoing };
    writeFileAtomically(this.#journal(id), `${JSON.stringify(journal)}\n`, 0o600);
    try {
      for (const step of steps) {
        this.#log.info?.(`making ${step.what}`);
        const complaint = await this.carryOut(step.doing);
        if (complaint !== "") throw new Error(`Cannot make ${step.what}: ${complaint}`);
      }
      if (mode === "shared") this.#forward();
    } catch (error) {
      await this.undo(id);
      throw error;
    }
  }

  /** Carries out a network's journal and forgets it. */
  async undo(id: string): Promise<void> {
    const journal = this.#read(id);
    if (journal === undefined) return;
    for (const change of journal.undoing) await this.carryOut(change, true);
    remove(this.#journal(id));
    this.#stopForwardingWhenUnused();
  }

  /** `own`: the network whose lock is ours */
  async undoAbandoned(own?: string): Promise<number> {
    let count = 0;
    for (const id of this.#journals()) {
      if (id !== own && lockHolder(this.pidFile(id)) !== 0) continue;
      if (this.#read(id)?.namespace !== networkNamespace()) continue;
      this.#log.info?.(`undoing what was left of ${id}`);
      await this.undo(id);
      count++;
    }
    this.#stopForwardingWhenUnused();
    return count;
  }

  #read(id: string): Journal | undefined {
    const text = readTextIfThere(this.#journal(id));
    return text === undefined ? undefined : (JSON.parse(text) as Journal);
  }

  #forward(): void {
    if (readTextIfThere(this.#forwarding) === undefined) {
      const before = rememberForwarding(settingInterfaces(), networkSetting);
      writeFileAtomically(this.#forwarding, `${JSON.stringify(before)}\n`, 0o600);
    }
    if (networkSetting(IP_FORWARD) !== "1") setNetworkSetting(IP_FORWARD, "1");
  }

  #stopForwardingWhenUnused(): void {
    const text = readTextIfThere(this.#forwarding);
    if (text === undefined) return;
    const namespace = networkNamespace();
    for (const id of this.#journals()) {
      const journal = this.#read(id);
      if (journal?.mode === "shared" && journal.namespace === namespace) return;
    }
    const before = JSON.parse(text) as Forwarding;
    const own = new Set(this.#journals());
    const others = hostInterfaces().filter(({ name }) => !own.has(name));
    const needs = before[IP_FORWARD] === undefined ? undefined : needsForwarding(before, others);
    if (needs !== undefined)
      this.#log.info?.(
        `the host goes on forwarding IPv4: ${needs} has come meanwhile and may need it (sysctl -w net.ipv4.ip_forward=0 ends it)`,
      );
    else
      for (const [key, value] of restoreForwarding(before, networkSetting))
        setNetworkSetting(key, value);
    remove(this.#forwarding);
  }

  set(values: Record<string, string>): void {
    for (const [key, value] of Object.entries(values))
      // a kernel without IPv6 has none of its settings
      if (networkSetting(key) !== undefined) setNetworkSetting(key, value);
  }

  /** What the tool complains of, "" for success; `isUndoing`: what is not there any more is passed over. */
  async carryOut(change: Change, isUndoing = false): Promise<string> {
    if (change.tool === "settings") {
      this.set(change.values);
      return "";
    }
    const file = `${this.#folder}/batch`;
    const text = change.tool === "nft" ? change.text : `${change.lines.join("\n")}\n`;
    writeFileAtomically(file, text, 0o600);
    const force = isUndoing ? ["-force"] : [];
    const command =
      change.tool === "nft"
        ? [networkTool("nft"), "-f", file]
        : [networkTool("ip"), ...force, "-batch", file];
    const complaint = await runNetworkTool(command, this.#held);
    if (complaint !== "" && isUndoing) this.#log.debug?.(`undoing: ${complaint}`);
    return complaint;
  }
}

function planOf(
  names: PartNames,
  settings: HostNetworkSettings,
): { plan: HostPlan; steps: Step[] } {
  if (interfaceFacts(names.bridge) !== undefined)
    throw new Error(
      `Cannot make the network: an interface ${names.bridge} is there already and not of a network that limanet knows (ip link del ${names.bridge})`,
    );
  const { mode } = settings;
  if (mode === "bridged") {
    const { bridge, uplink } = readUplink(settings.interface ?? "");
    if (bridge !== undefined)
      return { plan: { bridge: bridge.name, tap: names.tap, mtu: bridge.mtu }, steps: [] };
    return {
      plan: { bridge: names.bridge, tap: names.tap, mtu: uplink.mtu },
      steps: bridgedSteps(names, uplink),
    };
  }
  const own = settings.own ?? freeSubnet();
  const owner = ownerOf(own.subnet, hostSubnets());
  if (owner !== undefined)
    throw new Error(
      `Cannot make the network ${formatCidr(own.subnet)}: ${owner} has addresses of it (choose another subnet: --vmnet-gateway, or gateway in networks.yaml)`,
    );
  return {
    plan: {
      bridge: names.bridge,
      tap: names.tap,
      mtu: settings.mtu ?? MTU,
      own: { ...own, mac: names.mac },
    },
    steps: ownSubnetSteps(names, { mode, isIsolated: settings.isIsolated === true, ...own }),
  };
}

function freeSubnet(): { gateway: number; subnet: Cidr } {
  const taken = hostSubnets();
  if (ownerOf(DEFAULT_SUBNET, taken) === undefined)
    return { gateway: DEFAULT_SUBNET.network + 1, subnet: DEFAULT_SUBNET };
  const free = parseCidr(freeGateway(taken) ?? "");
  if (free === undefined) throw new Error("Cannot make the network: no private subnet is free");
  return { gateway: free.network + 1, subnet: free };
}
