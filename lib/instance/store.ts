/** The instances of a home folder. */
import type { InstanceConfig } from "../config/instance.ts";
import { formatDiagnostic, nearest } from "../config/document.ts";
import { instanceNameProblem } from "../config/names.ts";
import { instancePaths, type InstancePaths } from "../config/paths.ts";
import { exists, listFolder, readTextIfThere, remove, writeFileAtomically } from "../host/files.ts";
import { lockHolder } from "../host/lock.ts";
import { livingProcess } from "../host/process.ts";
import { checkSettings, readSettings } from "./settings.ts";

export interface Instance {
  name: string;
  paths: InstancePaths;
  status: "Running" | "Stopped" | "Broken";
  /** pid of the host agent; 0: none */
  hostAgent: number;
  config: InstanceConfig | undefined;
  /** 0 while it does not run */
  sshPort: number;
}

/** marks instances that limanet has made; those of Lima itself are left alone */
const MARK = "limanet";

/** Did limanet make it, or take it over from Lima? */
export const isOurs = (paths: InstancePaths): boolean =>
  isAdopted(paths) || (readTextIfThere(paths.limaVersion) ?? "").startsWith(MARK);

export function markAsOurs(paths: InstancePaths, version: string): void {
  writeFileAtomically(paths.limaVersion, `${MARK} ${version}\n`);
}

export const isAdopted = (paths: InstancePaths): boolean => exists(paths.adopted);

/** What Lima says of itself in lima-version stays, so that Lima can still use the instance. */
export function markAsAdopted(paths: InstancePaths, version: string): void {
  writeFileAtomically(paths.adopted, `${MARK} ${version}\n`);
}

/** The port of ssh that an instance has always had: 60022, of one named default of a Lima before 2.0 (3.6). */
export function lastingSshPort({ limaVersion }: InstancePaths, name: string): number | undefined {
  const major = /^v?(\d+)\./.exec(readTextIfThere(limaVersion) ?? "")?.[1];
  return name === "default" && Number(major ?? 2) < 2 ? 60_022 : undefined;
}

/**
 * Removes an instance's folder. Without lima.yaml it is no instance any more; the mark goes last, so that what is left
 * when we are killed is still known as ours.
 */
export function removeInstance(paths: InstancePaths): void {
  const mark = isAdopted(paths) ? paths.adopted : paths.limaVersion;
  remove(paths.config);
  for (const file of listFolder(paths.dir)) {
    const path = `${paths.dir}/${file}`;
    if (path !== mark) remove(path);
  }
  remove(paths.dir);
}

export function instanceNames(home: string): string[] {
  return listFolder(home).filter(
    (name) =>
      !/^[._]/.test(name) &&
      instanceNameProblem(name) === undefined &&
      exists(`${home}/${name}/lima.yaml`),
  );
}

/** What is known of an instance; throws when there is none of that name. */
export function inspectInstance(home: string, name: string): Instance {
  const paths = instancePaths(home, name);
  const text = readTextIfThere(paths.config);
  if (text === undefined) {
    const near = nearest(name, instanceNames(home));
    throw new Error(
      `Cannot find the instance ${name}: there is none of that name${near === undefined ? " (limanet list shows all)" : ` (did you mean ${near}?)`}`,
    );
  }
  const { config } = readSettings(home, text, paths.config);
  // Lima's own host agents hold no lock of ours, only the number tells of them
  const hostAgent = isOurs(paths)
    ? lockHolder(paths.hostAgentPid)
    : livingProcess(readTextIfThere(paths.hostAgentPid));
  const port = /^\s*Port (\d+)$/m.exec(readTextIfThere(paths.sshConfig) ?? "");
  return {
    name,
    paths,
    status: config === undefined ? "Broken" : hostAgent === 0 ? "Stopped" : "Running",
    hostAgent,
    config,
    sshPort: hostAgent === 0 ? 0 : Number(port?.[1] ?? 0),
  };
}

/** The configuration of an instance; throws all that is wrong with it, and tells `warn` what is odd. */
export function loadConfig(
  home: string,
  name: string,
  warn: (sentence: string) => void = () => {},
): InstanceConfig {
  const paths = instancePaths(home, name);
  const text = readTextIfThere(paths.config) ?? "";
  const { config, diagnostics } = checkSettings(home, text, paths.config);
  if (config === undefined)
    throw new Error(
      `Cannot use the instance ${name}:\n${diagnostics.map(formatDiagnostic).join("\n")}`,
    );
  for (const diagnostic of diagnostics) warn(formatDiagnostic(diagnostic));
  return config;
}
