/** What the YAML files of a home folder say. */
import { formatDiagnostic } from "../config/document.ts";
import type { NetworkSurroundings } from "../config/instance-networks.ts";
import { parseInstance } from "../config/instance.ts";
import {
  defaultNetworksText,
  parseNetworks,
  type NetworksConfig,
  type NetworksDefaults,
} from "../config/networks.ts";
import { configFolder, defaultsFile, networksFile, overrideFile } from "../config/paths.ts";
import {
  exists,
  fileKind,
  makeFolder,
  readTextIfThere,
  realPath,
  writeFileAtomically,
} from "../host/files.ts";
import { hostArchitecture, hostGroup, hostPlatform } from "../host/machine.ts";
import { findProgram } from "../host/process.ts";
import { platformFacts, type Platform } from "../privilege/platform.ts";

/**
 * An instance's settings: its lima.yaml between what default.yaml and override.yaml say for all. What stands outside of
 * them, networks.yaml and the sockets of others, is looked at by `checkSettings()` only.
 */
export function readSettings(
  home: string,
  text: string,
  file: string,
  outside: NetworkSurroundings = {},
): ReturnType<typeof parseInstance> {
  const source = (path: string) => ({ file: path, text: readTextIfThere(path) ?? "" });
  const common = { defaults: source(defaultsFile(home)), override: source(overrideFile(home)) };
  return parseInstance(text, file, common, {
    platform: hostPlatform(),
    architecture: hostArchitecture(),
    ...outside,
  });
}

/** The settings, checked as before a start (specification 3.8); `warn` is told what is odd in networks.yaml. */
export function checkSettings(
  home: string,
  text: string,
  file: string,
  warn: (sentence: string) => void = () => {},
): ReturnType<typeof parseInstance> {
  const networks = Object.keys(loadNetworks(home, warn).networks);
  return readSettings(home, text, file, { networks, fileKind });
}

/** networks.yaml, made with its default content if it is not there; `warn` is told what is odd but not wrong. */
export function loadNetworks(
  home: string,
  warn: (sentence: string) => void = () => {},
): NetworksConfig {
  const file = networksFile(home);
  if (!exists(file)) {
    makeFolder(configFolder(home), 0o700);
    writeFileAtomically(file, defaultNetworksText(networksDefaults()));
  }
  return readNetworks(home, warn);
}

/** The same without making the file: where there is none, what would be in it counts. */
export function readNetworks(
  home: string,
  warn: (sentence: string) => void = () => {},
): NetworksConfig {
  const file = networksFile(home);
  const text = readTextIfThere(file) ?? defaultNetworksText(networksDefaults());
  const { config, diagnostics } = parseNetworks(text, file);
  if (config === undefined)
    throw new Error(`Cannot use the networks:\n${diagnostics.map(formatDiagnostic).join("\n")}`);
  for (const diagnostic of diagnostics) warn(formatDiagnostic(diagnostic));
  return config;
}

export const platform = (): Platform => platformFacts(hostPlatform(), hostGroup());

/**
 * Programs that serve networks, the best first (specification 4.3), and a copy of limanet last: under this name it takes
 * socket_vmnet's command line, and the folder is one that only root writes to.
 */
const PROGRAMS = [
  "/opt/socket_vmnet/bin/socket_vmnet",
  "socket_vmnet",
  "/usr/local/opt/socket_vmnet/bin/socket_vmnet",
  "/opt/homebrew/opt/socket_vmnet/bin/socket_vmnet",
  "/opt/limanet/bin/socket_vmnet",
];

function networksDefaults(): NetworksDefaults {
  const { varRun, sudoers, socketVMNet, bridgedInterface, group } = platform();
  const found = PROGRAMS.map(findProgram).find((path) => path !== undefined);
  return {
    paths: { socketVMNet: found === undefined ? socketVMNet : realPath(found), varRun, sudoers },
    // as Lima's documentation shows it for macOS; who reads the file is warned about it
    group: hostPlatform() === "darwin" ? "everyone" : group,
    bridgedInterface,
  };
}
