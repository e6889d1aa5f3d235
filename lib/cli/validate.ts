import { basename, dirname, resolve } from "node:path";
import { formatDiagnostic, placedIn, type Diagnostic } from "../config/document.ts";
import { instanceNameProblem } from "../config/names.ts";
import { instancePaths } from "../config/paths.ts";
import { readTextIfThere, realPath } from "../host/files.ts";
import { limanetHome } from "../host/machine.ts";
import { warn, writeError, writeOut } from "../host/terminal.ts";
import { checkSettings } from "../instance/settings.ts";
import { loadTemplate } from "../instance/template.ts";

/** Checks lima.yaml files and templates, and tells all that is wrong with each. */
export async function validate(files: string[], json: boolean): Promise<number> {
  const home = limanetHome();
  // what is odd in networks.yaml is told once
  const told = new Set<string>();
  const warnOnce = (sentence: string) => {
    if (!told.has(sentence)) warn(sentence);
    told.add(sentence);
  };
  let code = 0;
  for (const file of files) {
    try {
      const { isRight, diagnostics } = await check(home, file, warnOnce);
      for (const diagnostic of diagnostics) {
        if (json) writeOut(`${JSON.stringify(diagnostic)}\n`);
        else writeError(`${formatDiagnostic(diagnostic)}\n`);
      }
      if (!isRight) code = 1;
      else if (!json) writeOut(`${file}: OK\n`);
    } catch (error) {
      writeError(`limanet: ${(error as Error).message}\n`);
      code = 1;
    }
  }
  return code;
}

/** A template is checked as what an instance made from it would have, an instance's own lima.yaml as it is. */
async function check(
  home: string,
  file: string,
  warnOf: (sentence: string) => void,
): Promise<{ isRight: boolean; diagnostics: Diagnostic[] }> {
  const path = realPath(resolve(file));
  const name = basename(dirname(path));
  const isInstance =
    instancePaths(home, name).config === path && instanceNameProblem(name) === undefined;
  const own = readTextIfThere(file);
  if (isInstance && own !== undefined) {
    const { config, diagnostics } = checkSettings(home, own, file, warnOf);
    return { isRight: config !== undefined, diagnostics };
  }
  const { text, sources } = await loadTemplate(home, file);
  const label = sources.length === 1 ? file : `${file} with its base`;
  const { config, diagnostics } = checkSettings(home, text, label, warnOf);
  const originals = sources.flatMap(
    (source) => checkSettings(home, source.text, source.file).diagnostics,
  );
  return { isRight: config !== undefined, diagnostics: placedIn(originals, diagnostics) };
}
