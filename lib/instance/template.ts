/** Templates of instances: found, read, and put together with those that their `base` names. */
import { basename, dirname, isAbsolute, resolve } from "node:path";
import { isMap, isScalar, isSeq, parseDocument, type Document } from "yaml";
import { combineNetworks, mergeBase, takeBases } from "../config/base-templates.ts";
import type { Source } from "../config/document.ts";
import { baseFile } from "../config/paths.ts";
import { yamlText } from "../config/settings-edit.ts";
import { exists, listFolder, readTextIfThere, realPath } from "../host/files.ts";
import { hostEnvironment } from "../host/machine.ts";
import { findProgram } from "../host/process.ts";
import { BUILT_IN_TEMPLATES } from "./built-in-templates.ts";

export interface Template {
  /** what becomes lima.yaml: without `base`, with paths that hold from any folder */
  text: string;
  /** the files it was made of, the template first, as they are */
  sources: Source[];
}

/** Templates that Lima has removed, and what took their place. */
const REMOVED: Record<string, string> = {
  vmnet: "limanet start --network lima:shared",
  "experimental/net-user-v2": "limanet start --network lima:user-v2",
};

export const isTemplateLocator = (text: string): boolean =>
  /\.ya?ml$/i.test(text) || /^(template|file|https?):/.test(text);

/** the instance's name when it is given no other */
export const nameOfTemplate = (locator: string): string =>
  basename(locator.replace(/^template:/, "").replace(/[?#].*$/, "")).replace(/\.ya?ml$/i, "");

/** Reads a template and all it builds on; `locator` is a path, file://, http(s):// or template:NAME. */
export async function loadTemplate(home: string, locator: string): Promise<Template> {
  const common = baseFile(home);
  const { document, text, sources } = await load(
    home,
    locator,
    [],
    new Set(),
    exists(common) ? [common] : [],
  );
  const unchanged = sources.length === 1 && document.errors.length > 0;
  if (!unchanged) combineNetworks(document);
  return { text: unchanged ? text : yamlText(document, text), sources };
}

interface Loaded {
  document: Document;
  text: string;
  sources: Source[];
}

/** `above`: the templates for the sake of which this one is read; `seen`: all that were read */
async function load(
  home: string,
  locator: string,
  above: readonly string[],
  seen: Set<string>,
  commonBases: readonly string[] = [],
): Promise<Loaded> {
  const place = locate(home, locator);
  seen.add(place);
  const text = await read(place, locator);
  const document = parseDocument(text) as unknown as Document;
  const sources = [{ file: place, text }];
  // what cannot be parsed is left for the parser of lima.yaml to explain
  if (document.errors.length > 0 && above.length === 0) return { document, text, sources };
  if (document.errors.length > 0)
    throw new Error(
      `Cannot use the template ${place}: ${document.errors[0]!.message.split("\n")[0]}`,
    );
  const cannot = (error: unknown) =>
    new Error(`Cannot use the template ${place}: ${(error as Error).message}`, { cause: error });
  let bases: string[] = [];
  try {
    bases = takeBases(document);
  } catch (error) {
    throw cannot(error);
  }
  makePathsAbsolute(document, place);
  await embedScripts(home, document, place);
  for (const base of [...commonBases, ...bases.map((name) => relativeTo(place, name))]) {
    const other = locate(home, base);
    const chain = [...above, place];
    if (chain.includes(other)) {
      throw new Error(
        `Cannot use the template ${chain[0]}: ${other} builds on itself (${[...chain, other].join(" -> ")})`,
      );
    }
    // one that was reached by another way already adds nothing
    if (seen.has(other)) continue;
    const below = await load(home, base, chain, seen);
    try {
      mergeBase(document, below.document);
    } catch (error) {
      throw cannot(error);
    }
    sources.push(...below.sources);
  }
  return { document, text, sources };
}

async function read(place: string, locator: string, what = "template"): Promise<string> {
  const builtIn = place.startsWith(BUILT_IN)
    ? BUILT_IN_TEMPLATES.get(place.slice(BUILT_IN.length))
    : undefined;
  if (builtIn !== undefined) return builtIn();
  // images and templates share one cache of downloads
  const path = isUrl(place)
    ? await (await import("./image-cache.ts")).localFile({ location: place })
    : place;
  const text = readTextIfThere(path);
  if (text === undefined)
    throw new Error(`Cannot read the ${what} ${locator}: there is no such file`);
  return text;
}

const isUrl = (place: string): boolean => /^https?:\/\//.test(place);

/** An absolute path or a URL. */
function locate(home: string, locator: string): string {
  const name = /^template:(?:\/\/)?(.+)$/.exec(locator)?.[1];
  if (name !== undefined) return namedTemplate(home, name);
  if (locator.startsWith("file:")) return decodeURIComponent(new URL(locator).pathname);
  return isUrl(locator) ? locator : resolve(locator);
}

function namedTemplate(home: string, name: string): string {
  const successor = REMOVED[name];
  if (successor !== undefined)
    throw new Error(`Cannot use template:${name}: Lima 1.0 has removed it (use ${successor})`);
  const folders = templateFolders(home);
  const paths = folders.flatMap((folder) => [`${folder}/${name}.yaml`, `${folder}/${name}`]);
  const found = paths.find((path) => exists(path) && /\.ya?ml$/i.test(path));
  if (found !== undefined && !name.split("/").includes("..")) return found;
  if (BUILT_IN_TEMPLATES.has(name)) return `${BUILT_IN}${name}`;
  throw new Error(
    `Cannot find template:${name}: it is in none of ${folders.join(", ")} (name other folders in LIMA_TEMPLATES_PATH), nor one of limanet's own: ${[...BUILT_IN_TEMPLATES.keys()].join(", ")}`,
  );
}

/** a place that is no file: the name of a template of limanet's own follows */
const BUILT_IN = "template:";

/** names of the templates that can be had on this machine */
export function templateNames(home: string): string[] {
  const inFolders = templateFolders(home).flatMap((folder) =>
    listFolder(folder).flatMap((file) => /^([^_].*)\.ya?ml$/i.exec(file)?.[1] ?? []),
  );
  return [...new Set([...BUILT_IN_TEMPLATES.keys(), ...inFolders])].toSorted();
}

/** Lima's own templates are where they were installed with limactl. */
function templateFolders(home: string): string[] {
  const given = hostEnvironment()["LIMA_TEMPLATES_PATH"];
  if (given !== undefined && given !== "") return given.split(":").filter((path) => path !== "");
  const limactl = findProgram("limactl");
  return [
    `${home}/_templates`,
    ...(limactl === undefined
      ? []
      : [resolve(dirname(realPath(limactl)), "../share/lima/templates")]),
    "/usr/local/share/lima/templates",
    "/usr/share/lima/templates",
    "/opt/homebrew/share/lima/templates",
  ];
}

/** A location as it is written in a template, from where the template is. */
function relativeTo(place: string, location: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(location) || isAbsolute(location)) return location;
  return isUrl(place) ? new URL(location, place).href : resolve(dirname(place), location);
}

/** Scripts that have a file of their own come into the template, as the instance may outlive the file. */
async function embedScripts(home: string, document: Document, place: string): Promise<void> {
  for (const key of ["provision", "probes"]) {
    const list = isMap(document.contents) ? document.get(key) : undefined;
    for (const entry of isSeq(list) ? list.items : []) {
      if (!isMap(entry) || entry.has("script")) continue;
      const file = entry.get("file");
      const location = isMap(file) ? file.get("url") : file;
      const mode = entry.get("mode") ?? "system";
      // what other modes have files for is Lima's
      if (typeof location !== "string" || !SCRIPT_MODES.some((word) => word === mode)) continue;
      const path = locate(home, relativeTo(place, location));
      entry.set("script", await read(path, path, "script"));
      entry.delete("file");
    }
  }
}

/** modes of `provision` and of `probes` whose files are scripts */
const SCRIPT_MODES = ["system", "user", "boot", "dependency", "readiness"];

/** The template may be used from another folder later on. */
function makePathsAbsolute(document: Document, place: string): void {
  const images = isMap(document.contents) ? document.get("images") : undefined;
  if (!isSeq(images)) return;
  for (const image of images.items) {
    if (!isMap(image)) continue;
    for (const holder of [image, image.get("kernel"), image.get("initrd")]) {
      const location = isMap(holder) ? holder.get("location", true) : undefined;
      if (
        isScalar(location) &&
        typeof location.value === "string" &&
        !location.value.startsWith("~")
      )
        location.value = relativeTo(place, location.value);
    }
  }
}
