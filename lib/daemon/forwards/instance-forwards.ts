/**
 * The port forwards of one instance: its rules with their paths filled in, what its guest listens on, the plan that follows
 * from both, and those who carry it out.
 */
import { hostnameOf } from "../../config/names.ts";
import type { InstanceConfig } from "../../config/instance.ts";
import { SOCKET_PATH_LIMIT, type InstancePaths } from "../../config/paths.ts";
import type { Listener } from "../../config/port-forward-matching.ts";
import type { PortForward } from "../../config/port-forward.ts";
import {
  fillSocketPath,
  hostSocketPath,
  type HostVariables,
} from "../../config/port-forward-sockets.ts";
import { makeFolder } from "../../host/files.ts";
import { hostEnvironment, hostPlatform, hostUser } from "../../host/machine.ts";
import type { Log } from "../../trace/log.ts";
import type { Forward, Transport } from "../network/engine-protocol.ts";
import { forwardFailure } from "./forward-failure.ts";
import { endOf, planForwards, type NetworkAbilities, type PlannedForward } from "./forward-plan.ts";
import type { ForwardRow } from "./forward-states.ts";
import { watchGuest } from "./guest-watch.ts";
import { PortForwarder, type Carrier, type ForwardEvent } from "./port-forwarder.ts";
import { SshForwards } from "./ssh-forwards.ts";

/** The instance's first network, as far as forwards need it. */
export interface ForwardingNetwork extends NetworkAbilities {
  expose(forward: Forward): Promise<void>;
  unexpose(local: string, protocol: Transport): Promise<void>;
}

export interface InstanceForwardsOptions {
  home: string;
  name: string;
  paths: InstancePaths;
  config: InstanceConfig;
  sshPort: number;
  guestUser: { name: string; uid: number; home: string };
  network: ForwardingNetwork;
  emit(event: ForwardEvent): void;
  log: Log;
}

export class InstanceForwards {
  readonly #options: InstanceForwardsOptions;
  readonly #forwarder: PortForwarder;
  readonly #rules: PortForward[] = [];
  /** about rules that cannot be used */
  readonly #problems: string[] = [];
  readonly #over = new AbortController();
  /** run until it is over */
  readonly #tasks: Promise<void>[] = [];

  constructor(options: InstanceForwardsOptions) {
    this.#options = options;
    const { home, name, paths, network, log } = options;
    for (const rule of options.config.portForwards) this.#fill(rule);
    const ssh = new SshForwards(paths, name);
    this.#forwarder = new PortForwarder({
      carriers: {
        network: networkCarrier(network),
        ssh: {
          open: (local, { way }) => ssh.open(inFolder(local), endOf(way)),
          close: (local, { way }) => ssh.close(local, endOf(way)),
        },
        "ssh-reverse": {
          open: (local, { way }) => ssh.openReverse(endOf(way), local),
          close: (local, { way }) => ssh.closeReverse(endOf(way), local),
        },
      },
      explain: (forward, local, error) => forwardFailure(home, name, forward, local, error),
      emit: (event) => options.emit(event),
      log,
    });
  }

  #fill(rule: PortForward): void {
    const { config, name, paths, guestUser } = this.#options;
    const host = hostUser();
    const environment = hostEnvironment();
    const hostVariables: HostVariables = {
      Dir: paths.dir,
      Name: name,
      UID: String(host.uid),
      User: host.name,
      Home: environment["HOME"] ?? "/",
      TempDir: environment["TMPDIR"] ?? "/tmp",
      GlobalTempDir: "/tmp",
      Param: config.param,
    };
    const guestVariables = {
      Name: name,
      Hostname: hostnameOf(name),
      UID: String(guestUser.uid),
      User: guestUser.name,
      Home: guestUser.home,
      Param: config.param,
    };
    const { guestSocket, hostSocket, ...ports } = rule;
    try {
      this.#rules.push({
        ...ports,
        ...(guestSocket === undefined
          ? {}
          : { guestSocket: absolute(fillSocketPath(guestSocket, guestVariables)) }),
        ...(hostSocket === undefined
          ? {}
          : { hostSocket: withinLimit(hostSocketPath(hostSocket, hostVariables)) }),
      });
    } catch (error) {
      this.#problems.push((error as Error).message);
    }
  }

  /** Makes what does not depend on what the guest does, and begins to follow the guest; what could not be made. */
  async start(address: string): Promise<string[]> {
    await this.#apply(address, undefined);
    const errors = [...this.#problems, ...this.#forwarder.errors()];
    const { signal } = this.#over;
    this.#tasks.push(this.#forwarder.retry(signal));
    if (this.#dependsOnGuest()) {
      const { paths, name, log } = this.#options;
      const watching = watchGuest({
        command: ["ssh", "-F", paths.sshConfig, "-T", hostnameOf(name), "sh"],
        signal,
        onListeners: (listeners) => void this.#apply(address, listeners),
        onReconnect: () => void this.#forwarder.restoreSsh(),
        log,
      });
      this.#tasks.push(watching.catch((error: Error) => log.error(error.message)));
    }
    return errors;
  }

  /**
   * Plain instances have static forwards only; of TCP ports the guest's listeners tell which way leads there, and what
   * goes by ssh is to be there again after ssh's connection was broken.
   */
  #dependsOnGuest(): boolean {
    if (!this.#options.config.plain) return true;
    return this.#rules.some(
      (rule) => rule.static && (rule.guestSocket !== undefined || rule.proto !== "udp"),
    );
  }

  #apply(address: string, listeners: readonly Listener[] | undefined): Promise<void> {
    const { config, sshPort, network } = this.#options;
    return this.#forwarder.apply(
      planForwards({
        rules: this.#rules,
        plain: config.plain,
        sshPort,
        address,
        listeners,
        network,
      }),
    );
  }

  rows(): ForwardRow[] {
    return this.#forwarder.rows();
  }

  async close(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#tasks);
    await this.#forwarder.close();
  }
}

function networkCarrier(network: ForwardingNetwork): Carrier {
  const transport = (local: string, { protocol }: PlannedForward): Transport =>
    local.startsWith("/") ? "unix" : protocol;
  return {
    open: (local, forward) =>
      network.expose({
        local: inFolder(local),
        remote: endOf(forward.way),
        protocol: transport(local, forward),
      }),
    close: (local, forward) => network.unexpose(local, transport(local, forward)),
  };
}

/** A socket's folder is made when it is not there. */
function inFolder(local: string): string {
  if (local.startsWith("/")) makeFolder(local.slice(0, local.lastIndexOf("/")) || "/", 0o700);
  return local;
}

function absolute(path: string): string {
  if (!path.startsWith("/"))
    throw new Error(
      `Cannot forward the guest's socket ${path}: it is not an absolute path (begin guestSocket with / or {{.Home}})`,
    );
  return path;
}

function withinLimit(path: string): string {
  const limit = SOCKET_PATH_LIMIT[hostPlatform()];
  const { length } = new TextEncoder().encode(path);
  if (length >= limit)
    throw new Error(
      `Cannot forward to the host's socket ${path}: it has ${length} octets and the system takes ${limit - 1} (choose a shorter hostSocket)`,
    );
  return path;
}
