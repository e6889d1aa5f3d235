/** Making instances from templates, changing their lima.yaml, and taking over those of Lima. */
import { formatDiagnostic, placedIn, type Diagnostic } from "../config/document.ts";
import type { InstanceConfig } from "../config/instance.ts";
import { instanceNameProblem } from "../config/names.ts";
import {
  SOCKET_PATH_LIMIT,
  instancePaths,
  longestSocket,
  type InstancePaths,
} from "../config/paths.ts";
import { editSettings, hasEdits, type SettingsOptions } from "../config/settings-edit.ts";
import { networksOf, usableNetwork } from "../daemon/reconcile.ts";
import {
  exists,
  listFolder,
  makeFolder,
  readTextIfThere,
  remove,
  writeFileAtomically,
} from "../host/files.ts";
import { withLock } from "../host/lock.ts";
import { hostEnvironment, hostPlatform, limanetHome } from "../host/machine.ts";
import { runInTerminal } from "../host/process.ts";
import { warn, writeError, writeOut } from "../host/terminal.ts";
import { isServed } from "../host/unix-http.ts";
import { checkSettings, loadNetworks } from "../instance/settings.ts";
import {
  inspectInstance,
  isAdopted,
  isOurs,
  loadConfig,
  markAsAdopted,
  markAsOurs,
  removeInstance,
  type Instance,
} from "../instance/store.ts";
import { loadTemplate, nameOfTemplate } from "../instance/template.ts";
import { VERSION } from "./version.ts";

export interface CreateOptions extends SettingsOptions {
  name?: string | undefined;
}

export async function create(template: string, options: CreateOptions): Promise<number> {
  writeOut(`${await makeInstance(limanetHome(), template, options)}\n`);
  return 0;
}

/** Makes an instance from a template and gives its name; nothing is left behind when that fails. */
export async function makeInstance(
  home: string,
  locator: string,
  options: CreateOptions,
): Promise<string> {
  const name = options.name ?? nameOfTemplate(locator);
  const problem = instanceNameProblem(name);
  if (problem !== undefined) throw new Error(`Cannot make the instance ${name}: ${problem}`);
  const paths = instancePaths(home, name);
  checkSocketPath(paths);
  const template = await loadTemplate(home, locator);
  const edited = editSettings(template.text, options);
  edited.warnings.forEach(warn);
  const { config, diagnostics } = checkSettings(home, edited.text, locator, warn);
  // what is wrong in a template is told where it stands there, not in the lima.yaml that will not be
  const originals = template.sources.flatMap(
    ({ file, text }) => checkSettings(home, text, file).diagnostics,
  );
  for (const diagnostic of placedIn(originals, diagnostics)) tell(diagnostic);
  if (config === undefined)
    throw new Error(`Cannot make the instance ${name}: ${locator} is not right (see above)`);
  const networks = loadNetworks(home);
  for (const network of networksOf(config.networks)) usableNetwork(networks, network);
  makeFolder(home);
  return withLock(home, async () => {
    if (exists(paths.config))
      throw new Error(
        `Cannot make the instance ${name}: it is there already (limanet start ${name} starts it)`,
      );
    // what was begun, or begun to be deleted, by somebody who was killed
    if (isOurs(paths)) removeInstance(paths);
    if (listFolder(paths.dir).some((file) => !file.endsWith(".tmp")))
      throw new Error(
        `Cannot make the instance ${name}: ${paths.dir} is there already and holds something else (choose another --name)`,
      );
    makeFolder(paths.dir, 0o700);
    markAsOurs(paths, VERSION);
    writeFileAtomically(paths.config, edited.text);
    return name;
  });
}

const tell = (diagnostic: Diagnostic): void => writeError(`${formatDiagnostic(diagnostic)}\n`);

function checkSocketPath(paths: InstancePaths): void {
  const longest = new TextEncoder().encode(longestSocket(paths)).length;
  const limit = SOCKET_PATH_LIMIT[hostPlatform()];
  if (longest >= limit) {
    throw new Error(
      `Cannot keep the instance in ${paths.dir}: socket paths in it would have ${longest} octets and the system takes ${limit - 1} (choose a shorter name or LIMANET_HOME)`,
    );
  }
}

/**
 * Makes sure that an instance is ours to change and start. One of Lima's is taken over when the user says so: all of
 * Lima's files stay as they are, beside a mark of ours.
 */
export async function claimInstance(
  instance: Instance,
  mayAdopt: boolean,
  verb: "start" | "edit",
): Promise<void> {
  const { name, paths } = instance;
  if (!isOurs(paths) && !mayAdopt) {
    throw new Error(
      `Cannot ${verb} the instance ${name}: it belongs to Lima, not to limanet (--adopt takes it over; limanet create makes one of your own)`,
    );
  }
  await refuseWhileLimaRuns(instance, verb);
  if (!isOurs(paths)) markAsAdopted(paths, VERSION);
}

/** Also one that was taken over may be started by Lima again, whose host agent holds no lock of ours. */
export async function refuseWhileLimaRuns(
  { name, paths, status }: Instance,
  verb: string,
): Promise<void> {
  const isOurRun = isOurs(paths) && (status === "Running" || !isAdopted(paths));
  if (!isOurRun && (status === "Running" || (await isServed(paths.hostAgentSocket))))
    throw new Error(`Cannot ${verb} the instance ${name}: Lima runs it (limactl stop ${name})`);
}

/** Changes lima.yaml as the options say; nothing is written unless all of it is right. */
export function changeSettings(home: string, instance: Instance, options: SettingsOptions): void {
  if (!hasEdits(options)) return;
  const { name, paths } = instance;
  const { text, warnings } = editSettings(readTextIfThere(paths.config) ?? "", options);
  warnings.forEach(warn);
  const { config, diagnostics } = checkSettings(home, text, paths.config, warn);
  diagnostics.forEach(tell);
  if (config === undefined)
    throw new Error(
      `Cannot change the instance ${name}: its settings would not be right (see above); lima.yaml is as it was`,
    );
  refuseWhileRunning(home, instance, config);
  writeFileAtomically(paths.config, text);
}

/** What a running instance follows is `hostResolver.hosts`; everything else counts from its next start on. */
function refuseWhileRunning(home: string, instance: Instance, changed: InstanceConfig): void {
  if (instance.status !== "Running") return;
  const { name } = instance;
  const rest = (config: InstanceConfig) =>
    JSON.stringify({ ...config, hostResolver: { ...config.hostResolver, hosts: {} } });
  if (rest(loadConfig(home, name)) !== rest(changed))
    throw new Error(
      `Cannot edit the instance ${name}: it runs, and only hostResolver.hosts changes under a running one (limanet stop ${name})`,
    );
}

export interface EditOptions extends SettingsOptions {
  adopt?: true | undefined;
}

/** By the options when there are any, else in the user's editor. */
export async function edit(name: string, options: EditOptions): Promise<number> {
  const home = limanetHome();
  const instance = inspectInstance(home, name);
  const { paths } = instance;
  await claimInstance(instance, options.adopt === true, "edit");
  if (hasEdits(options)) {
    changeSettings(home, instance, options);
    return 0;
  }
  const environment = hostEnvironment();
  const editor = environment["VISUAL"] ?? environment["EDITOR"] ?? "vi";
  const draft = `${paths.dir}/lima.yaml.draft`;
  writeFileAtomically(draft, readTextIfThere(paths.config) ?? "");
  const code = await runInTerminal(["sh", "-c", `${editor} "$1"`, "sh", draft]);
  const text = readTextIfThere(draft) ?? "";
  if (code !== 0) {
    remove(draft);
    throw new Error(
      `Cannot edit the instance ${name}: the editor ended with ${code}; lima.yaml is as it was`,
    );
  }
  const { config, diagnostics } = checkSettings(home, text, draft, warn);
  diagnostics.forEach(tell);
  if (config === undefined)
    throw new Error(
      `Cannot keep the changes: they are not right (see above; they are in ${draft}, lima.yaml is as it was)`,
    );
  refuseWhileRunning(home, instance, config);
  writeFileAtomically(paths.config, text);
  remove(draft);
  return 0;
}
