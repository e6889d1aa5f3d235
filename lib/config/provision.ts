/** `provision` of lima.yaml: scripts that the guest runs at every boot. */
import type { Node } from "yaml";
import type { YamlReader } from "./document.ts";

export interface Provision {
  mode: "system" | "user";
  script: string;
}

/** modes that need parts of Lima's guest which limanet does not have */
const LIMA_MODES = ["boot", "dependency", "ansible", "data", "yq"] as const;
/** keys that only those modes have */
const LIMA_KEYS = [
  "playbook",
  "path",
  "content",
  "owner",
  "permissions",
  "overwrite",
  "expression",
  "format",
  "skipDefaultDependencyResolution",
];

/** Reads the list; what limanet does not run is warned about and left out. */
export function readProvision(reader: YamlReader, node: Node, path: string): Provision[] {
  const all: Provision[] = [];
  reader.list(node, path, (item, at) => {
    let mode: Provision["mode"] | (typeof LIMA_MODES)[number] = "system";
    let script = "";
    let file: { node: Node; at: string } | undefined;
    reader.map(item, at, {
      ...Object.fromEntries(LIMA_KEYS.map((key) => [key, () => {}])),
      mode: (value, where) => {
        mode = reader.oneOf(value, where, ["system", "user", ...LIMA_MODES] as const) ?? mode;
        if (mode !== "system" && mode !== "user")
          reader.warn(value, where, `limanet runs none of mode ${mode}: it is left out`);
      },
      script: (value, where) => {
        script = reader.string(value, where) ?? "";
      },
      file: (value, where) => {
        file = { node: value, at: where };
      },
    });
    // what the callbacks have assigned
    const given = { mode, file } as { mode: string; file: { node: Node; at: string } | undefined };
    if (given.mode !== "system" && given.mode !== "user") return;
    if (given.file !== undefined) {
      reader.warn(
        given.file.node,
        given.file.at,
        "is read only when an instance is made: write the script here",
      );
    }
    all.push({ mode: given.mode, script });
  });
  return all;
}
