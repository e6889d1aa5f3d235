/** lima.yaml (specification, section 3): an instance as typed, complete values. */
import type { Node } from "yaml";
import { parseIpv4 } from "../addr/ipv4.ts";
import { formatMac, parseMac } from "../addr/mac.ts";
import { YamlReader, type Diagnostic, type Source } from "./document.ts";
import { mergeLayers } from "./merge.ts";
import { readPortForwards, type PortForward } from "./port-forward.ts";

export interface ImageFile {
  /** path or URL */
  location: string;
  /** "sha256:…" or "sha512:…" */
  digest?: string;
}

export interface Image {
  arch: Architecture;
  /** undefined: a guest without a disk, which boots from kernel and initrd alone (our extension) */
  disk?: ImageFile;
  kernel?: ImageFile & { cmdline?: string };
  initrd?: ImageFile;
}

export const ARCHITECTURES = ["x86_64", "aarch64"] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

export interface InstanceNetwork {
  /** exactly one of lima, socket, vzNAT */
  lima?: string;
  socket?: string;
  vzNAT?: boolean;
  macAddress?: string;
  /** name of the interface in the guest */
  interface: string;
  metric: number;
}

export interface Provision {
  mode: "system" | "user";
  script: string;
}

export interface InstanceConfig {
  vmType: "qemu" | "vz";
  images: Image[];
  cpus: number;
  /** octets */
  memory: number;
  /** octets */
  disk: number;
  networks: InstanceNetwork[];
  hostResolver: { enabled: boolean; ipv6: boolean; hosts: Record<string, string> };
  dns: string[];
  portForwards: PortForward[];
  ssh: { localPort: number; loadDotSSHPubKeys: boolean; forwardAgent: boolean };
  propagateProxyEnv: boolean;
  env: Record<string, string>;
  provision: Provision[];
  plain: boolean;
  user: { name?: string; uid?: number; home?: string; shell: string };
}

const GIB = 1024 ** 3;
/** shown by `--help` and in docs/instances.md */
export const DEFAULTS = { cpus: 2, memory: 2 * GIB, disk: 20 * GIB } as const;
const MAX_INTERFACE_NAME = 15;

/** What counts for all instances: default.yaml and override.yaml of the home folder. */
export interface CommonSettings {
  defaults?: Source;
  override?: Source;
}

/** Reads lima.yaml; the configuration is undefined when there are errors. */
export function parseInstance(
  text: string,
  file: string,
  common: CommonSettings = {},
): { config?: InstanceConfig; diagnostics: Diagnostic[] } {
  const reader = new YamlReader({ text, file });
  const include = (source: Source | undefined) =>
    source === undefined ? null : reader.include(source);
  reader.root = mergeLayers({
    instance: reader.root,
    defaults: include(common.defaults),
    override: include(common.override),
  });
  const config: InstanceConfig = {
    vmType: "qemu",
    images: [],
    cpus: DEFAULTS.cpus,
    memory: DEFAULTS.memory,
    disk: DEFAULTS.disk,
    networks: [],
    hostResolver: { enabled: true, ipv6: false, hosts: {} },
    dns: [],
    portForwards: [],
    ssh: { localPort: 0, loadDotSSHPubKeys: false, forwardAgent: false },
    propagateProxyEnv: true,
    env: {},
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
  let dnsNode: Node | null = null;
  reader.map(reader.root, "", {
    vmType: (node, path) => {
      config.vmType = reader.oneOf(node, path, ["qemu", "vz"]) ?? "qemu";
    },
    images: (node, path) =>
      reader.list(node, path, (item, at) => config.images.push(readImage(reader, item, at))),
    arch: (node, path) => void reader.oneOf(node, path, ARCHITECTURES),
    cpus: (node, path) => {
      config.cpus = reader.integer(node, path, 1, 512) ?? config.cpus;
    },
    memory: size("memory"),
    disk: size("disk"),
    networks: (node, path) =>
      reader.list(node, path, (item, at) => readNetworkEntry(reader, item, at, config)),
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
      }),
    dns: (node, path) => {
      dnsNode = node;
      reader.list(node, path, (item, at) => {
        const address = reader.string(item, at) ?? "";
        if (parseIpv4(address) === undefined)
          reader.error(item, at, `not an IPv4 address: ${address}`);
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
        loadDotSSHPubKeys: (value, at) => {
          config.ssh.loadDotSSHPubKeys = reader.boolean(value, at) ?? false;
        },
        forwardAgent: (value, at) => {
          config.ssh.forwardAgent = reader.boolean(value, at) ?? false;
        },
        forwardX11: skip,
        forwardX11Trusted: skip,
        overVsock: skip,
      }),
    propagateProxyEnv: (node, path) => {
      config.propagateProxyEnv = reader.boolean(node, path) ?? true;
    },
    env: (node, path) => {
      config.env = strings(reader, node, path);
    },
    provision: (node, path) =>
      reader.list(node, path, (item, at) => {
        const provision: Provision = { mode: "system", script: "" };
        reader.map(item, at, {
          mode: (value, where) => {
            provision.mode = reader.oneOf(value, where, ["system", "user"]) ?? "system";
          },
          script: (value, where) => {
            provision.script = reader.string(value, where) ?? "";
          },
        });
        config.provision.push(provision);
      }),
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
    mountType: skip,
    minimumLimaVersion: skip,
    os: skip,
    message: skip,
    firmware: skip,
    video: skip,
    audio: skip,
    rosetta: skip,
    param: skip,
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
  if (config.images.length === 0 && !reader.failed)
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

function strings(reader: YamlReader, node: Node, path: string): Record<string, string> {
  const values: Record<string, string> = {};
  reader.entries(node, path, (key, value, at) => {
    const text = reader.string(value, at);
    if (text !== undefined) values[key] = text;
  });
  return values;
}

function readImage(reader: YamlReader, node: Node, path: string): Image {
  const image: Image = { arch: "x86_64" };
  const digestOf = (value: Node, at: string): string | undefined => {
    const digest = reader.string(value, at);
    if (digest !== undefined && !/^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(digest)) {
      reader.error(value, at, "sha256: with 64 or sha512: with 128 hexadecimal digits is needed");
    }
    return digest;
  };
  const readFile = (
    value: Node,
    at: string,
    more: Record<string, (node: Node, path: string) => void> = {},
  ) => {
    const file: { location?: string; digest?: string } = {};
    reader.map(value, at, {
      location: (item, where) => {
        const location = reader.string(item, where);
        if (location !== undefined) file.location = location;
      },
      digest: (item, where) => {
        const digest = digestOf(item, where);
        if (digest !== undefined) file.digest = digest;
      },
      ...more,
    });
    if (file.location === undefined)
      reader.error(value, `${at}.location`, "a path or URL is needed");
    return { ...file, location: file.location ?? "" };
  };
  let location: string | undefined;
  let digest: string | undefined;
  reader.map(node, path, {
    location: (value, at) => {
      location = reader.string(value, at);
    },
    arch: (value, at) => {
      image.arch = reader.oneOf(value, at, ARCHITECTURES) ?? "x86_64";
    },
    digest: (value, at) => {
      digest = digestOf(value, at);
    },
    kernel: (value, at) => {
      let cmdline: string | undefined;
      const kernel = readFile(value, at, {
        cmdline: (item, where) => {
          cmdline = reader.string(item, where);
        },
      });
      image.kernel = { ...kernel, ...(cmdline === undefined ? {} : { cmdline }) };
    },
    initrd: (value, at) => {
      image.initrd = readFile(value, at);
    },
  });
  if (location !== undefined)
    image.disk = { location, ...(digest === undefined ? {} : { digest }) };
  else if (image.kernel === undefined || image.initrd === undefined) {
    reader.error(
      node,
      `${path}.location`,
      "a path or URL is needed (only a guest with kernel and initrd may do without)",
    );
  }
  return image;
}

function readNetworkEntry(
  reader: YamlReader,
  node: Node,
  path: string,
  config: InstanceConfig,
): void {
  const index = config.networks.length;
  const network: InstanceNetwork = { interface: `lima${index}`, metric: 100 };
  reader.map(node, path, {
    lima: (value, at) => {
      const name = reader.string(value, at);
      if (name !== undefined && name !== "") network.lima = name;
    },
    socket: (value, at) => {
      const socket = reader.string(value, at);
      if (socket !== undefined && socket !== "") network.socket = socket;
    },
    vzNAT: (value, at) => {
      if (reader.boolean(value, at) === true) network.vzNAT = true;
    },
    macAddress: (value, at) => {
      const text = reader.string(value, at);
      if (text === undefined || text === "") return;
      const mac = parseMac(text);
      if (mac === undefined)
        reader.error(
          value,
          at,
          `must be a 48 bit (6 bytes) MAC address, not ${JSON.stringify(text)}`,
        );
      // in the one form that QEMU and cloud-init know
      else network.macAddress = formatMac(mac);
    },
    interface: (value, at) => {
      const name = reader.string(value, at) ?? "";
      if (new TextEncoder().encode(name).length > MAX_INTERFACE_NAME)
        reader.error(value, at, "must be less than 16 bytes");
      else if (/[\s/]/.test(name))
        reader.error(value, at, "must not contain whitespace or slashes");
      else if (name === "eth0") reader.error(value, at, "eth0 is reserved for the first network");
      else if (name !== "") network.interface = name;
    },
    metric: (value, at) => {
      network.metric = reader.integer(value, at, 0, 2 ** 32 - 1) ?? 100;
    },
  });
  const kinds = [network.lima, network.socket, network.vzNAT].filter(
    (kind) => kind !== undefined,
  ).length;
  if (kinds === 0) reader.error(node, path, "lima, socket or vzNAT must be set");
  if (kinds > 1) reader.error(node, path, "lima, socket and vzNAT are mutually exclusive");
  const earlier = config.networks.findIndex((other) => other.interface === network.interface);
  if (earlier >= 0)
    reader.error(
      node,
      `${path}.interface`,
      `${network.interface} is used by networks[${earlier}] already`,
    );
  config.networks.push(network);
}
