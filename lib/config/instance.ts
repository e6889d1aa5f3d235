/** lima.yaml (specification, section 3): an instance as typed, complete values. */
import { isScalar, type Node } from "yaml";
import { canonicalIp } from "../addr/ip-text.ts";
import { YamlReader, type Diagnostic, type Source } from "./document.ts";
import { readHostAccess, type HostAccess } from "./host-access.ts";
import { ARCHITECTURES, readImage, type Architecture, type Image } from "./images.ts";
import {
  readInstanceNetworks,
  type InstanceNetwork,
  type NetworkSurroundings,
} from "./instance-networks.ts";
import { mergeLayers } from "./merge.ts";
import { readProvision, type Provision } from "./provision.ts";
import { readPortForwards, type PortForward } from "./port-forward.ts";

/** drivers of Lima's; qemu and vz are built */
export const VM_TYPES = ["qemu", "vz", "wsl2", "krunkit"] as const;
export type VmType = (typeof VM_TYPES)[number];

export interface InstanceConfig {
  vmType: VmType;
  arch: Architecture;
  images: Image[];
  cpus: number;
  /** octets */
  memory: number;
  /** octets */
  disk: number;
  networks: InstanceNetwork[];
  hostResolver: {
    enabled: boolean;
    ipv6: boolean;
    hosts: Record<string, string>;
    /** our extension: may 8.8.8.8 and 1.1.1.1 be asked where the host names no name server (default: true) */
    publicFallback?: boolean;
    /** our extension: an outage of DNS is an empty answer, as in Lima, rather than SERVFAIL (default: false) */
    emptyOnOutage?: boolean;
  };
  dns: string[];
  /** our extension: what the guest reaches of the host's loopback by the default network */
  hostAccess: HostAccess;
  /** our extension: the guest reaches 169.254.0.0/16 by the default network */
  linkLocalAccess: boolean;
  /** our extension: frames of user-mode networks go through memory that the guest shares, not a socket (QEMU on Linux) */
  vhostUser: boolean;
  portForwards: PortForward[];
  ssh: {
    /** 0: any free one */
    localPort: number;
    loadDotSSHPubKeys: boolean;
    forwardAgent: boolean;
    forwardX11: boolean;
    forwardX11Trusted: boolean;
    /** undefined: as the driver does it */
    overVsock?: boolean;
  };
  propagateProxyEnv: boolean;
  env: Record<string, string>;
  param: Record<string, string>;
  provision: Provision[];
  plain: boolean;
  user: { name?: string; uid?: number; home?: string; shell: string };
}

const GIB = 1024 ** 3;
/** shown by `--help` and in docs/instances.md */
export const DEFAULTS = { cpus: 2, memory: 2 * GIB, disk: 20 * GIB } as const;

/** What counts for all instances: default.yaml and override.yaml of the home folder. */
export interface CommonSettings {
  defaults?: Source;
  override?: Source;
}

/** The machine on which the settings are read; what is left out is not checked. */
export interface Surroundings extends NetworkSurroundings {
  platform: "darwin" | "linux";
  architecture: Architecture;
}

/** Reads lima.yaml; the configuration is undefined when there are errors. */
export function parseInstance(
  text: string,
  file: string,
  common: CommonSettings = {},
  surroundings: Surroundings = { platform: "linux", architecture: "x86_64" },
): { config?: InstanceConfig; diagnostics: Diagnostic[] } {
  const reader = new YamlReader({ text, file });
  const include = (source: Source | undefined) =>
    source === undefined ? null : reader.include(source);
  reader.root = mergeLayers(
    {
      instance: reader.root,
      defaults: include(common.defaults),
      override: include(common.override),
    },
    (node, path, message) => reader.warn(node, path, message),
  );
  const arch = surroundings.architecture;
  const config: InstanceConfig = {
    vmType: "qemu",
    arch,
    images: [],
    cpus: DEFAULTS.cpus,
    memory: DEFAULTS.memory,
    disk: DEFAULTS.disk,
    networks: [],
    hostResolver: { enabled: true, ipv6: false, hosts: {} },
    dns: [],
    hostAccess: "all",
    linkLocalAccess: false,
    vhostUser: false,
    portForwards: [],
    ssh: {
      localPort: 0,
      loadDotSSHPubKeys: false,
      forwardAgent: false,
      forwardX11: false,
      forwardX11Trusted: false,
    },
    propagateProxyEnv: true,
    env: {},
    param: {},
    provision: [],
    plain: false,
    user: { shell: "/bin/sh" },
  };
  const skip = () => {};
  const size = (key: "memory" | "disk") => (node: Node, path: string) => {
    const given = reader.string(node, path) ?? "";
    const octets = parseSize(given);
    if (octets === undefined)
      reader.error(node, path, `a size such as 4GiB is needed, not ${JSON.stringify(given)}`);
    else config[key] = octets;
  };
  const sshFlag =
    (
      key: "loadDotSSHPubKeys" | "forwardAgent" | "forwardX11" | "forwardX11Trusted" | "overVsock",
    ) =>
    (node: Node, path: string) => {
      const value = reader.boolean(node, path);
      if (value !== undefined) config.ssh[key] = value;
    };
  let vmType: VmType | undefined;
  const nats: [Node, string][] = [];
  let dnsNode: Node | null = null;
  reader.map(reader.root, "", {
    vmType: (node, path) => {
      if (isDefault(node)) return;
      vmType = reader.oneOf(node, path, VM_TYPES, "is not a registered driver");
    },
    images: (node, path) =>
      reader.list(node, path, (item, at) => config.images.push(readImage(reader, item, at, arch))),
    arch: (node, path) => {
      if (!isDefault(node)) config.arch = reader.oneOf(node, path, ARCHITECTURES) ?? arch;
    },
    cpus: (node, path) => {
      config.cpus = reader.integer(node, path, 1, 512) ?? config.cpus;
    },
    memory: size("memory"),
    disk: size("disk"),
    networks: (node, path) => {
      config.networks = readInstanceNetworks(reader, node, path, surroundings, (value, at) =>
        nats.push([value, at]),
      );
    },
    network: (node, path) =>
      reader.warn(node, path, "has been removed in Lima 0.14 and has no effect: use networks"),
    useHostResolver: (node, path) =>
      reader.warn(
        node,
        path,
        "has been removed in Lima 0.14 and has no effect: use hostResolver.enabled",
      ),
    base: (node, path) =>
      reader.error(
        node,
        path,
        "must be empty: templates are embedded when an instance is made (limanet create)",
      ),
    hostResolver: (node, path) =>
      reader.map(node, path, {
        enabled: (value, at) => {
          config.hostResolver.enabled = reader.boolean(value, at) ?? true;
        },
        ipv6: (value, at) => {
          config.hostResolver.ipv6 = reader.boolean(value, at) ?? false;
        },
        hosts: (value, at) => {
          config.hostResolver.hosts = strings(reader, value, at);
        },
        publicFallback: (value, at) => {
          config.hostResolver.publicFallback = reader.boolean(value, at) ?? true;
        },
        emptyOnOutage: (value, at) => {
          config.hostResolver.emptyOnOutage = reader.boolean(value, at) ?? false;
        },
      }),
    dns: (node, path) => {
      dnsNode = node;
      reader.list(node, path, (item, at) => {
        const address = reader.string(item, at) ?? "";
        if (canonicalIp(address) === undefined)
          reader.error(item, at, `not an IP address: ${address}`);
        else config.dns.push(address);
      });
    },
    portForwards: (node, path) => {
      config.portForwards = readPortForwards(reader, node, path);
    },
    ssh: (node, path) =>
      reader.map(node, path, {
        localPort: (value, at) => {
          config.ssh.localPort = reader.integer(value, at, 0, 65535) ?? 0;
          if (config.ssh.localPort === 22)
            reader.error(value, at, "must not be 22, which is the guest's");
        },
        loadDotSSHPubKeys: sshFlag("loadDotSSHPubKeys"),
        forwardAgent: sshFlag("forwardAgent"),
        forwardX11: sshFlag("forwardX11"),
        forwardX11Trusted: sshFlag("forwardX11Trusted"),
        overVsock: sshFlag("overVsock"),
      }),
    hostAccess: (node, path) => {
      config.hostAccess = readHostAccess(reader, node, path) ?? "none";
    },
    linkLocalAccess: (node, path) => {
      config.linkLocalAccess = reader.boolean(node, path) ?? false;
    },
    vhostUser: (node, path) => {
      config.vhostUser = reader.boolean(node, path) ?? false;
    },
    propagateProxyEnv: (node, path) => {
      config.propagateProxyEnv = reader.boolean(node, path) ?? true;
    },
    env: (node, path) => {
      config.env = strings(reader, node, path);
    },
    param: (node, path) => {
      config.param = strings(reader, node, path);
    },
    provision: (node, path) => {
      config.provision = readProvision(reader, node, path);
    },
    plain: (node, path) => {
      config.plain = reader.boolean(node, path) ?? false;
    },
    user: (node, path) =>
      reader.map(node, path, {
        name: (value, at) => {
          const name = reader.string(value, at);
          if (name !== undefined && !/^[a-z_][a-z0-9_-]{0,31}$/.test(name))
            reader.error(value, at, `not a Linux user name: ${name}`);
          else if (name !== undefined) config.user.name = name;
        },
        uid: (value, at) => {
          const uid = reader.integer(value, at, 1, 2 ** 31 - 1);
          if (uid !== undefined) config.user.uid = uid;
        },
        home: (value, at) => {
          const home = reader.string(value, at);
          if (home !== undefined) config.user.home = home;
        },
        shell: (value, at) => {
          config.user.shell = reader.string(value, at) ?? config.user.shell;
        },
        comment: skip,
      }),
    // parts of Lima that have nothing to do with networks and are left to Lima
    containerd: skip,
    mounts: skip,
    mountInotify: skip,
    mountTypesUnsupported: skip,
    mountType: skip,
    minimumLimaVersion: skip,
    os: skip,
    message: skip,
    firmware: skip,
    video: skip,
    audio: skip,
    rosetta: skip,
    probes: skip,
    upgradePackages: skip,
    guestInstallPrefix: skip,
    timezone: skip,
    nestedVirtualization: skip,
    cpuType: skip,
    additionalDisks: skip,
    caCerts: skip,
    copyToHost: skip,
    vmOpts: skip,
  });
  // specification 3.5
  const isNative = config.arch === arch;
  config.vmType = vmType ?? (surroundings.platform === "darwin" && isNative ? "vz" : "qemu");
  // Lima reads such a file, too, and does not start it
  if (config.vmType !== "vz")
    for (const [node, path] of nats)
      reader.warn(
        node,
        path,
        `needs vmType: vz; with ${config.vmType} the instance does not start`,
      );
  const isUnread = reader.hasFailedAt("") || reader.hasFailedAt("images");
  if (config.images.length === 0 && !isUnread)
    reader.error(reader.root, "images", "at least one image is needed");
  if (config.dns.length > 0 && config.hostResolver.enabled) {
    reader.error(dnsNode, "dns", "must be empty when hostResolver.enabled is true");
  }
  return { ...(reader.failed ? {} : { config }), diagnostics: reader.sorted() };
}

/** "4GiB", "512MiB", "1000000" → octets */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const exponent = match[2] === undefined ? 0 : "KMGT".indexOf(match[2].toUpperCase()) + 1;
  // Lima's sizes are binary with or without the i
  const octets = Math.round(Number(match[1]) * 1024 ** exponent);
  return octets > 0 ? octets : undefined;
}

/** Lima takes "" and "default" for no choice */
const isDefault = (node: Node): boolean =>
  isScalar(node) && (node.value === "" || node.value === "default");

/** A mapping of words; what looks like a number, a truth value or nothing is the word that it is written as. */
function strings(reader: YamlReader, node: Node, path: string): Record<string, string> {
  const values: Record<string, string> = {};
  reader.entries(node, path, (key, value, at) => {
    const isWord = isScalar(value) && (value.value === null || typeof value.value === "boolean");
    const text = isWord ? (value.source ?? "") : reader.string(value, at);
    if (text !== undefined) values[key] = isWord && value.value === null ? "" : text;
  });
  return values;
}
