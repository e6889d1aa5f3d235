import { formatDiagnostic } from "../config/document.ts";
import { readTextIfThere } from "../host/files.ts";
import { limanetHome } from "../host/machine.ts";
import { warn, writeError, writeOut } from "../host/terminal.ts";
import { checkSettings } from "../instance/settings.ts";

/** Checks lima.yaml files and tells all that is wrong with each. */
export async function validate(files: string[], json: boolean): Promise<number> {
  let code = 0;
  for (const file of files) {
    const text = readTextIfThere(file);
    if (text === undefined) {
      writeError(`limanet: Cannot check ${file}: there is no such file\n`);
      code = 1;
      continue;
    }
    const { config, diagnostics } = checkSettings(limanetHome(), text, file, warn);
    for (const diagnostic of diagnostics) {
      if (json) writeOut(`${JSON.stringify(diagnostic)}\n`);
      else writeError(`${formatDiagnostic(diagnostic)}\n`);
    }
    if (config === undefined) code = 1;
    else if (!json) writeOut(`${file}: OK\n`);
  }
  return code;
}
