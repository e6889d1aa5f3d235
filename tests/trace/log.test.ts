import { expect, test } from "bun:test";
import { lineLog, type Level } from "../../lib/trace/log.ts";

const said = (level: Level, format: "text" | "json", message: string) => {
  const lines: string[] = [];
  const log = lineLog(
    level,
    format,
    () => 1_700_000_000_250,
    (line) => lines.push(line),
  );
  for (const which of ["error", "warn", "info", "debug"] as const) log[which]?.(message);
  return { log, lines };
};

test.each<[Level, Level[]]>([
  ["error", ["error"]],
  ["warn", ["error", "warn"]],
  ["info", ["error", "warn", "info"]],
  ["debug", ["error", "warn", "info", "debug"]],
])(
  "lineLog(%s) writes %p; info and debug do not exist when they are not wanted",
  (level, written) => {
    const { log, lines } = said(level, "text", "port up");
    expect(lines).toEqual(
      written.map((which) => `time="2023-11-14T22:13:20.250Z" level=${which} msg="port up"\n`),
    );
    expect([log.info !== undefined, log.debug !== undefined]).toEqual([
      written.includes("info"),
      written.includes("debug"),
    ]);
  },
);

test("lineLog() writes one line of text, whatever the message holds", () => {
  const { lines } = said("warn", "text", 'a "b"\nlevel=error \\');
  expect(lines[1]).toBe(
    String.raw`time="2023-11-14T22:13:20.250Z" level=warn msg="a \"b\"\nlevel=error \\"` + "\n",
  );
});

test("lineLog() writes one JSON object a line, whatever the message holds", () => {
  const { lines } = said("info", "json", 'a "b"\nc');
  expect(lines[2]).toBe(
    String.raw`{"time":"2023-11-14T22:13:20.250Z","level":"info","msg":"a \"b\"\nc"}` + "\n",
  );
  expect(lines).toHaveLength(3);
});
