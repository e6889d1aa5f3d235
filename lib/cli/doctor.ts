/** `limanet doctor`: what is wrong with this machine, why, and what to do; the exit code tells in which area. */
import { examineHost, type Examination } from "../daemon/doctor/examination.ts";
import type { Area } from "../doctor/area.ts";
import { limanetHome } from "../host/machine.ts";
import { colours, writeOut, type Colours } from "../host/terminal.ts";
import type { Log } from "../trace/log.ts";

export async function doctor(
  named: readonly Area[],
  options: { json?: true | undefined },
  log: Log,
): Promise<number> {
  const examination = await examineHost(limanetHome(), named, log);
  if (options.json) writeOut(`${JSON.stringify(examination)}\n`);
  else writeOut(examinationText(examination, colours("out")));
  return examination.exitCode;
}

export function examinationText(
  { areas, findings, unseen, exitCode }: Examination,
  { red, yellow, green, bold }: Colours,
): string {
  const lines = findings.flatMap(({ severity, area, id, problem, fix }) => [
    `${severity === "fault" ? red("fault") : yellow("limit")}  ${bold(`${area}/${id}`)}`,
    `  ${problem}`,
    ...fix.map((line) => `  fix: ${line}`),
  ]);
  const isSeen = unseen.map((what) => `not looked at: ${what}`);
  const looked = `looked at: ${areas.join(", ")}`;
  if (findings.length === 0) return [green("Nothing is wrong"), ...isSeen, looked, ""].join("\n");
  const faults = findings.filter(({ severity }) => severity === "fault").length;
  const sum = `${count(faults, "fault")}, ${count(findings.length - faults, "limit")}; exit code ${exitCode}`;
  return [...lines, ...isSeen, looked, sum, ""].join("\n");
}

const count = (number: number, word: string): string =>
  `${number} ${word}${number === 1 ? "" : "s"}`;
