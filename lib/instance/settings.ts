/** What the YAML files of a home folder say. */
import { formatDiagnostic } from "../config/document.ts";
import { parseInstance } from "../config/instance.ts";
import { defaultNetworksText, parseNetworks, type NetworksConfig } from "../config/networks.ts";
import { defaultsFile, networksFile, overrideFile } from "../config/paths.ts";
import { exists, makeFolder, readTextIfThere, writeFileAtomically } from "../host/files.ts";
import { hostGroup, hostPlatform } from "../host/machine.ts";

/** An instance's settings: its lima.yaml between what default.yaml and override.yaml say for all. */
export function readSettings(
  home: string,
  text: string,
  file: string,
): ReturnType<typeof parseInstance> {
  const source = (path: string) => ({ file: path, text: readTextIfThere(path) ?? "" });
  return parseInstance(text, file, {
    defaults: source(defaultsFile(home)),
    override: source(overrideFile(home)),
  });
}

/** networks.yaml, made with its default content if it is not there; `warn` is told what is odd but not wrong. */
export function loadNetworks(
  home: string,
  warn: (sentence: string) => void = () => {},
): NetworksConfig {
  const file = networksFile(home);
  if (!exists(file)) {
    makeFolder(`${home}/_config`);
    const group = hostPlatform() === "darwin" ? "everyone" : hostGroup();
    writeFileAtomically(file, defaultNetworksText(hostPlatform(), group));
  }
  const { config, diagnostics } = parseNetworks(readTextIfThere(file) ?? "", file);
  if (config === undefined)
    throw new Error(`Cannot use the networks:\n${diagnostics.map(formatDiagnostic).join("\n")}`);
  for (const diagnostic of diagnostics) warn(formatDiagnostic(diagnostic));
  return config;
}
