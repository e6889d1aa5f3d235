/** A new instance's lima.yaml: the template's text with what the command line asked for, comments and layout kept. */
import { dirname, resolve } from "node:path";
import { applySetExpression } from "../config/set-expression.ts";
import { isMap, isScalar, isSeq, parseDocument, YAMLMap, YAMLSeq, type Document } from "yaml";

/** Options of `create` and `start` that change lima.yaml. */
export interface TemplateOptions {
  network?: string[] | undefined;
  dns?: string[] | undefined;
  vmType?: string | undefined;
  cpus?: number | undefined;
  memory?: string | undefined;
  disk?: string | undefined;
  sshPort?: number | undefined;
  portForward?: string[] | undefined;
  plain?: true | undefined;
  /** expressions of --set */
  set?: string[] | undefined;
}

/** Applies the options to a template; `file` is where it came from. Throws what cannot be applied. */
export function fillTemplate(text: string, file: string, options: TemplateOptions): string {
  const document = parseDocument(text);
  // what cannot be parsed is left for the parser of lima.yaml to explain
  if (document.errors.length > 0) return text;
  if (!isMap(document.contents)) document.contents = new YAMLMap() as never;
  makePathsAbsolute(document as Document, dirname(resolve(file)));
  for (const [key, value] of [
    ["vmType", options.vmType],
    ["cpus", options.cpus],
    ["memory", options.memory],
    ["disk", options.disk],
    ["plain", options.plain],
  ] as const) {
    if (value !== undefined) document.set(key, value);
  }
  if (options.sshPort !== undefined) document.setIn(["ssh", "localPort"], options.sshPort);
  for (const value of options.network ?? []) addNetwork(document as Document, value);
  if (options.dns !== undefined) {
    for (const address of options.dns) {
      const dns = document.get("dns");
      if (!isSeq(dns) || !(dns.toJSON() as unknown[]).includes(address))
        append(document as Document, "dns", address);
    }
    document.setIn(["hostResolver", "enabled"], false);
  }
  for (const rule of options.portForward ?? [])
    append(document as Document, "portForwards", portForward(rule));
  for (const expression of options.set ?? []) applySetExpression(document as Document, expression);
  // as the template has it: lines of any length, and lists indented or not
  return document.toString({ lineWidth: 0, indentSeq: !/^- /m.test(text) });
}

function addNetwork(document: Document, value: string): void {
  const entry =
    value === "vzNAT"
      ? { vzNAT: true }
      : value.startsWith("lima:")
        ? { lima: value.slice(5) }
        : undefined;
  if (entry === undefined)
    throw new Error(`Cannot use the network ${value}: network name must be vzNAT or lima:NAME`);
  const networks = document.get("networks");
  const isThere =
    isSeq(networks) &&
    networks.items.some(
      (item) => isMap(item) && (item.get("lima") ?? item.get("vzNAT")) === Object.values(entry)[0],
    );
  if (!isThere) append(document, "networks", entry);
}

function portForward(rule: string): Record<string, unknown> {
  const match = /^\s*(\d+)\s*:\s*(\d+)\s*(?:,\s*static=(true|false)\s*)?$/.exec(rule);
  if (match === null)
    throw new Error(
      `Cannot use the port forward ${rule}: not of the form HOST:GUEST[,static=true]`,
    );
  return {
    guestPort: Number(match[2]),
    hostPort: Number(match[1]),
    ...(match[3] === undefined ? {} : { static: match[3] === "true" }),
  };
}

function append(document: Document, key: string, value: unknown): void {
  if (!isSeq(document.get(key))) document.set(key, new YAMLSeq());
  document.addIn([key], document.createNode(value));
}

/** The template may be used from another folder later on. */
function makePathsAbsolute(document: Document, folder: string): void {
  const images = document.get("images");
  if (!isSeq(images)) return;
  for (const image of images.items) {
    if (!isMap(image)) continue;
    for (const holder of [image, image.get("kernel"), image.get("initrd")]) {
      if (!isMap(holder)) continue;
      const location = holder.get("location", true);
      if (
        !isScalar(location) ||
        typeof location.value !== "string" ||
        /^([a-z]+:\/\/|\/)/.test(location.value)
      )
        continue;
      location.value = resolve(folder, location.value);
    }
  }
}
