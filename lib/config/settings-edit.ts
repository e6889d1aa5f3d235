/** What the options of `create`, `start` and `edit` change in lima.yaml (specification, section 3.9). */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  type Document,
  type Node,
  type Scalar,
  type YAMLSeq,
} from "yaml";
import { applySetExpression } from "./set-expression.ts";

/** Options that change lima.yaml. */
export interface SettingsOptions {
  network?: string[] | undefined;
  dns?: string[] | undefined;
  vmType?: string | undefined;
  cpus?: number | undefined;
  memory?: string | undefined;
  disk?: string | undefined;
  sshPort?: number | undefined;
  portForward?: string[] | undefined;
  plain?: true | undefined;
  /** KEY=VALUE */
  param?: string[] | undefined;
  /** expressions of --set */
  set?: string[] | undefined;
}

type Edit = (document: Document, options: SettingsOptions) => void;

/** One edit for each option, in the order in which they are made: what --set says is said before --ssh-port and so on. */
const EDITS: Record<keyof SettingsOptions, Edit> = {
  cpus: (document, { cpus }) => document.set("cpus", cpus),
  dns: (document, { dns = [] }) => {
    appendAll(document, "dns", dns);
    const list = document.get("dns") as YAMLSeq<Scalar>;
    const isFirst = ({ value }: Scalar, i: number) =>
      list.items.findIndex((item) => item.value === value) === i;
    list.items = list.items.filter(isFirst);
    setBelow(document, "hostResolver", "enabled", false);
  },
  memory: (document, { memory }) => document.set("memory", gibibytes(memory!)),
  network: (document, { network = [] }) => {
    appendAll(document, "networks", network.map(networkEntry));
    const list = document.get("networks") as YAMLSeq<Node>;
    const labels = list.items.map(networkLabel);
    list.items = list.items.filter(
      (_item, i) => labels[i] === undefined || labels.indexOf(labels[i]) === i,
    );
  },
  set: (document, { set = [] }) => {
    for (const expression of set) applySetExpression(document, expression);
  },
  disk: (document, { disk }) => document.set("disk", gibibytes(disk!)),
  vmType: (document, { vmType }) => document.set("vmType", vmType),
  sshPort: (document, { sshPort }) => setBelow(document, "ssh", "localPort", sshPort),
  portForward: (document, { portForward = [] }) =>
    appendAll(document, "portForwards", portForward.map(portForwardRule)),
  plain: (document) => document.set("plain", true),
  param: (document, { param = [] }) => {
    for (const [key, value] of param.map(assignment)) setBelow(document, "param", key, value);
  },
};

/** Do the options ask for any change? */
export const hasEdits = (options: SettingsOptions): boolean =>
  Object.keys(EDITS).some((key) => options[key as keyof SettingsOptions] !== undefined);

/**
 * The text with the changes made, its comments and layout kept, and what the user is to be warned of. Throws what cannot
 * be changed; text that is no YAML comes back as it is, for the parser of lima.yaml to explain.
 */
export function editSettings(
  text: string,
  options: SettingsOptions,
): { text: string; warnings: string[] } {
  const document = parseDocument(text) as unknown as Document;
  if (document.errors.length > 0 || !hasEdits(options)) return { text, warnings: [] };
  if (!isMap(document.contents)) document.contents = document.createNode({}) as never;
  for (const [key, edit] of Object.entries(EDITS))
    if (options[key as keyof SettingsOptions] !== undefined) edit(document, options);
  const warnings =
    options.dns === undefined
      ? []
      : [
          `warning: the host resolver is disabled, as --dns ${options.dns.join(",")} takes its place`,
        ];
  return { text: yamlText(document, text), warnings };
}

/** A document as text in the manner of another: lines of any length, and lists indented or not. */
export const yamlText = (document: Document, manner: string): string =>
  document.toString({ lineWidth: 0, indentSeq: !/^- /m.test(manner) });

/** Lima's options take numbers of GiB; a size with a unit is taken too. */
const gibibytes = (size: string): string => (/^[\d.]+$/.test(size) ? `${size}GiB` : size);

function networkEntry(value: string): Record<string, unknown> {
  if (value === "vzNAT") return { vzNAT: true };
  const name = /^lima:(.+)$/.exec(value)?.[1];
  if (name !== undefined) return { lima: name };
  throw new Error(
    `Cannot use --network ${value}: network name must be \`vzNAT\` or \`lima:*\`, got \`${value}\``,
  );
}

/** Entries of one label are there once; undefined: this entry is like no other (specification, section 21). */
function networkLabel(entry: Node): string | undefined {
  if (!isMap(entry)) return undefined;
  const lima = entry.get("lima");
  if (typeof lima === "string" && lima !== "") return `lima:${lima}`;
  return entry.get("vzNAT") === true && entry.items.length === 1 ? "vzNAT" : undefined;
}

function portForwardRule(rule: string): Record<string, unknown> {
  const match = /^\s*(\d+)\s*:\s*(\d+)\s*(?:,\s*static\s*=\s*(true|false)\s*)?$/.exec(rule);
  if (match === null) {
    throw new Error(
      `Cannot use --port-forward ${rule}: not of the form HOST:GUEST[,static=true|false]`,
    );
  }
  const [, host, guest, isStatic] = match;
  return {
    guestPort: Number(guest),
    hostPort: Number(host),
    ...(isStatic === undefined ? {} : { static: isStatic === "true" }),
  };
}

function assignment(text: string): [key: string, value: string] {
  const match = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(text);
  if (match === null) throw new Error(`Cannot use --param ${text}: not of the form KEY=VALUE`);
  return [match[1]!, match[2]!];
}

function setBelow(document: Document, key: string, below: string, value: unknown): void {
  if (!isMap(ownNode(document, key, {}))) throw new Error(`Cannot change ${key}: it is no mapping`);
  document.setIn([key, below], value);
}

function appendAll(document: Document, key: string, values: readonly unknown[]): void {
  if (!isSeq(ownNode(document, key, []))) throw new Error(`Cannot add to ${key}: it is no list`);
  for (const value of values) document.addIn([key], document.createNode(value));
}

/** What stands at a key, made when there is nothing; a copy in the place of an alias, whose original stays as it is. */
function ownNode(document: Document, key: string, otherwise: object): unknown {
  const node = document.get(key, true) as Node | undefined;
  const copy = isAlias(node) ? (node.resolve(document as never)?.clone() as Node) : undefined;
  if (copy !== undefined && !isAlias(copy)) delete copy.anchor;
  const isNothing = node === undefined || (isScalar(node) && node.value === null);
  if (isNothing || copy !== undefined) document.set(key, copy ?? document.createNode(otherwise));
  return document.get(key, true);
}
